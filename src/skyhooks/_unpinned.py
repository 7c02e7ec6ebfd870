"""The URL policy for clients that people bring along: they resolve names themselves, so what they reach is not pinned."""

from __future__ import annotations

from collections.abc import Sequence

from ._urls import UrlPolicy
from .exceptions import UrlBlocked


def check_all(policy: UrlPolicy, host: str, addresses: Sequence[str]) -> None:
    """Judge every address of a host: the client may take any of them.

    A name that changes its answer between this and the client's own look-up escapes; our own clients connect to
    what was judged, and have no such gap.

    Raises:
        UrlBlocked: one of them may not be connected to.
    """
    permitted = policy.select(host, addresses)
    for address in addresses:
        if address not in permitted:
            raise UrlBlocked(host, f"{address}, one of its addresses, is forbidden by the URL policy")
