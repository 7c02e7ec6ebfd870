"""What all web processes do alike, whatever their framework: whom they answer, with which head, and who they are."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from http import HTTPStatus

from ..exceptions import InvalidCursor, StoreUnavailable
from .events import MEDIA_TYPE, Hello, encode_hello
from .orders import WebOrder

HOST = "127.0.0.1"
HOSTS = (HOST, "localhost")
REFUSAL = b"this is for the demo's own page"
BACKLOG = 128
FAULTS = (InvalidCursor, StoreUnavailable)
"""What a subscription may be refused with."""


def may_ask(host: str | None, origin: str | None, origins: Sequence[str]) -> bool:
    """Keep out pages of other sites, also those whose name has been made to mean this machine."""
    return (host or "").rpartition(":")[0] in HOSTS and (
        origin is None or origin == f"http://{host}" or origin in origins
    )


def since(last_event_id: str | None, asked: str | None) -> str | None:
    """Return where to begin: an EventSource that connects again knows better than the URL it was made with."""
    return last_event_id or asked or None


def events_head(origin: str | None) -> dict[str, str]:
    """Return the header fields of a stream of events."""
    return {
        "Content-Type": MEDIA_TYPE,
        "Cache-Control": "no-store",
        "Access-Control-Allow-Origin": origin or "null",
    }


def status_of(fault: InvalidCursor | StoreUnavailable) -> HTTPStatus:
    """Say whose fault it is; a page whose EventSource gave up asks again."""
    return HTTPStatus.BAD_REQUEST if isinstance(fault, InvalidCursor) else HTTPStatus.SERVICE_UNAVAILABLE


def hello(order: WebOrder, framework: str, instance_id: str) -> bytes:
    """Return the first event of a stream."""
    return encode_hello(Hello(order.name, framework, os.getpid(), instance_id))


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
