"""Tornado: `Registry` and `Notifier` as coroutines, and `WebhookHandler` to mount in an application."""

from __future__ import annotations

from typing import Any

try:
    from tornado.httpclient import AsyncHTTPClient
except ImportError as error:
    raise ImportError('skyhooks.tornado needs Tornado; install it with: pip install "skyhooks[tornado]"') from error

from . import _asyncio, _asyncio_notifier
from ._asyncio_notifier import Submission
from ._asyncio_runtime import Poster
from ._asyncio_stream import Subscription
from ._registration import Registration
from ._tornado_client import TornadoClient
from ._tornado_handler import WebhookHandler

__all__ = ["Notifier", "Registration", "Registry", "Submission", "Subscription", "WebhookHandler"]


class Registry(_asyncio.Registry):
    """This process's callbacks, and its place among those who are rung.

    By default it opens its own listener, which works under pre-forking servers and behind load balancers. With `url=`
    mount `WebhookHandler` in your application instead, `(r"/webhook", WebhookHandler, {"registry": registry})`, and
    start the registry once the application listens. `client` may be a `tornado.httpclient.AsyncHTTPClient`.
    """

    framework = "tornado"

    def _make_client(self) -> Poster:
        return _own_or(self._client, self._settings.url_policy) or super()._make_client()


class Notifier(_asyncio_notifier.Notifier):
    """Brings results to whoever waits for them, from Tornado code. `client` may be an `AsyncHTTPClient`."""

    def _make_client(self) -> Poster:
        return _own_or(self._client, self._url_policy) or super()._make_client()


def _own_or(client: Any, policy: Any) -> Poster | None:
    if client is None:
        return None
    if not isinstance(client, AsyncHTTPClient):
        raise TypeError(f"client= takes a tornado.httpclient.AsyncHTTPClient, not {type(client).__name__}")
    return TornadoClient(client, policy)
