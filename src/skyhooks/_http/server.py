"""The instance's end of a connection: takes POSTs of JSON, refuses everything else, keeps all limits and timers."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from .head import Headers, Refusal
from .requests import Event, Part, RequestReader

HEAD_SECONDS = 10.0
"""From the first byte of a request to the end of its head."""
BODY_SECONDS = 10.0
"""From the end of the head to the end of the body."""
IDLE_SECONDS = 75.0
"""From one request's end, or the connection's beginning, to the first byte of the next."""
LINGER_SECONDS = 2.0
"""How long a refused peer may take to read the refusal: closed at once, its unread bytes would become a reset."""

_SECONDS = {Part.START: IDLE_SECONDS, Part.HEAD: HEAD_SECONDS, Part.BODY: BODY_SECONDS, Part.END: IDLE_SECONDS}

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    405: "Method Not Allowed",
    410: "Gone",
    411: "Length Required",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Response(msgspec.Struct, frozen=True):
    """An answer to a request, before it is bytes."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Headers = ()


class ServerConnection:
    """One connection, seen from the instance: feed it what arrives, and send what `respond` makes, in order.

    `now` is any monotonic clock in seconds. A pump looks at `expired` about once a second for all its connections
    and closes those that are; it needs no timer of its own.
    """

    __slots__ = ("_ended", "_expires", "_reader", "_refused")

    def __init__(self, *, max_body_bytes: int, now: float) -> None:
        self._reader = RequestReader(max_body_bytes)
        self._expires = now + IDLE_SECONDS
        self._refused = False
        self._ended = False

    def feed(self, data: bytes, now: float) -> list[Event]:
        """Take what has arrived; return what came of it, in order. After a refusal nothing does any more."""
        if self.closing:
            return []
        reader = self._reader
        turns = reader.turns
        events = reader.read(data)
        if events and isinstance(events[-1], Refusal):
            self._refused = True
            self._expires = now + LINGER_SECONDS
        elif reader.turns != turns:
            self._expires = now + _SECONDS[reader.part]
        return events

    def eof(self) -> None:
        """Take note that the peer has ended; a request that is not complete is forgotten."""
        self._ended = True
        self._reader.rest()

    def rest(self) -> None:
        """Free what an idle connection can do without; it is made again with the next byte."""
        if self.idle:
            self._reader.rest()

    @property
    def closing(self) -> bool:
        """Nothing more will be taken: close the connection when what is to be answered has been."""
        return self._refused or self._ended or self._reader.part is Part.END

    @property
    def lingering(self) -> bool:
        """A refusal was the last word: end writing, and go on reading until the peer ends or the deadline comes."""
        return self._refused

    @property
    def idle(self) -> bool:
        """Between two requests, or before the first."""
        return self._reader.part is Part.START

    @property
    def deadline(self) -> float:
        """When the connection is overdue, whatever is waited for; also when only the peer's reading is."""
        return self._expires

    def expired(self, now: float) -> bool:
        """Tell whether to close the connection now, whatever it is doing."""
        return now >= self._expires

    def respond(
        self,
        status: int,
        body: bytes,
        *,
        content_type: str = "application/json",
        headers: Iterable[tuple[str, str]] = (),
        close: bool = False,
    ) -> bytes:
        """Make the bytes of an answer; `close` says in it that the connection ends."""
        head = (
            f"HTTP/1.1 {status} {REASONS.get(status, '')}\r\n"
            f"content-type: {content_type}\r\ncontent-length: {len(body)}\r\n"
        )
        for name, value in headers:
            head += f"{name}: {value}\r\n"
        if close:
            head += "connection: close\r\n"
        elif self._reader.old:
            head += "connection: keep-alive\r\n"
        return f"{head}\r\n".encode("latin-1") + body

    def refuse(self, refusal: Refusal, body: bytes, *, headers: Headers = ()) -> bytes:
        """Make the bytes of the answer to what was refused; `body` is the problem as JSON."""
        data = self.respond(
            refusal.status,
            body,
            content_type="application/problem+json",
            headers=refusal.headers + headers,
            close=True,
        )
        return data[: -len(body)] if refusal.head_only and body else data
