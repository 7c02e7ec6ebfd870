"""Which client a registry or notifier under gevent posts by: our own, or the `requests.Session` that it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._policy import MAX_CONNECTIONS
from .._tls import client_context
from .._urls import UrlPolicy
from ._client import Client
from ._runtime import Poster

if TYPE_CHECKING:
    import requests


def check_client(client: requests.Session | None) -> None:
    """Refuse what is no session.

    Raises:
        TypeError: saying what to give.
    """
    if client is not None:
        from .._requests import check_session

        check_session(client)


def make_client(
    client: requests.Session | None, policy: UrlPolicy, *, cafile: str | None, max_connections: int = MAX_CONNECTIONS
) -> Poster:
    """Make what posts; a session's threads are greenlets in a process that gevent has patched."""
    if client is None:
        return Client(policy, max_connections=max_connections, ssl_context=client_context(cafile))
    from .._requests import RequestsClient

    return RequestsClient(client, policy)
