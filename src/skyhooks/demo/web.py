"""What all web processes do alike, whatever their framework: whom they answer, what he may have, and where they listen."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from .orders import WebOrder

HOST = "127.0.0.1"
HOSTS = (HOST, "localhost")
REFUSAL = b"this is for the demo's own page"
BACKLOG = 128


def may_ask(host: str | None, origin: str | None, origins: Sequence[str]) -> bool:
    """Keep out pages of other sites, also those whose name has been made to mean this machine."""
    return (host or "").rpartition(":")[0] in HOSTS and (
        origin is None or origin == f"http://{host}" or origin in origins
    )


def keys_for(order: WebOrder, host: str | None, origin: str | None) -> dict[str, str]:
    """Return which keys a request may have: the demo's own, if it comes from the demo's own page.

    Raises:
        PermissionError: it comes from elsewhere.
    """
    if not may_ask(host, origin, order.origins):
        raise PermissionError(REFUSAL.decode())
    return order.keys


def listening_socket(order: WebOrder) -> socket.socket:
    """Listen at the port that the parent has reserved, by being bound to it without listening.

    Raises:
        OSError: somebody else has it.
    """
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((order.host, order.port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener
