"""The instance's end of a connection: takes POSTs of JSON, refuses everything else, keeps all limits and timers."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterable

import httptools
import msgspec

from ._http_head import (
    HEADERS_TOO_LARGE,
    JUDGED,
    MALFORMED,
    TOO_LARGE,
    WRONG_METHOD,
    Headers,
    Refusal,
    judge_head,
)
from ._http_parser import HEADER_OVERHEAD_BYTES, MAX_HEAD_BYTES, MAX_HEADERS, Overhead, Stop, reason

HEAD_SECONDS = 10.0
"""From the first byte of a request to the end of its head."""
BODY_SECONDS = 10.0
"""From the end of the head to the end of the body."""
IDLE_SECONDS = 75.0
"""From one request's end, or the connection's beginning, to the first byte of the next."""
LINGER_SECONDS = 2.0
"""How long a refused peer may take to read the refusal: closed at once, its unread bytes would become a reset."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_REASONS = {
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


class Request(msgspec.Struct, frozen=True):
    """A whole POST; header names in lower case, in the order they came, repeated ones kept."""

    headers: list[tuple[str, str]]
    body: bytes
    keep_alive: bool
    """False: close the connection once this is answered."""


class Continue(msgspec.Struct, frozen=True):
    """The peer waits for `CONTINUE` before it sends the body."""


class Response(msgspec.Struct, frozen=True):
    """An answer to a request, before it is bytes."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Headers = ()


Event = Request | Refusal | Continue


class ServerConnection:
    """One connection, seen from the instance: feed it what arrives, and send what `respond` makes, in order.

    `now` is any monotonic clock in seconds. A pump looks at `expired` about once a second for all its connections
    and closes those that are; it needs no timer of its own.
    """

    __slots__ = ("_ended", "_expires", "_reader", "_refused")

    def __init__(self, *, max_body_bytes: int, now: float) -> None:
        self._reader = _Reader(max_body_bytes)
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
        return self._refused or self._ended or self._reader.part is _Part.END

    @property
    def lingering(self) -> bool:
        """A refusal was the last word: end writing, and go on reading until the peer ends or the deadline comes."""
        return self._refused

    @property
    def idle(self) -> bool:
        """Between two requests, or before the first."""
        return self._reader.part is _Part.START

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
            f"HTTP/1.1 {status} {_REASONS.get(status, '')}\r\n"
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


class _Part(enum.Enum):
    """Which part of a message is awaited."""

    START = enum.auto()
    HEAD = enum.auto()
    BODY = enum.auto()
    END = enum.auto()


_SECONDS = {_Part.START: IDLE_SECONDS, _Part.HEAD: HEAD_SECONDS, _Part.BODY: BODY_SECONDS, _Part.END: IDLE_SECONDS}


class _Refused(Stop):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


class _Reader:
    """Turns the parser's callbacks into events, and stops the parser at the first thing that is not ours to take."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_events",
        "_head_bytes",
        "_headers",
        "_headers_seen",
        "_judged",
        "_keep_alive",
        "_max_body_bytes",
        "_method",
        "_overhead",
        "_parser",
        "_resuming",
        "_upgrading",
        "old",
        "part",
        "turns",
    )

    def __init__(self, max_body_bytes: int) -> None:
        self.part = _Part.START
        self.turns = 0
        self.old = False
        self._max_body_bytes = max_body_bytes
        self._overhead = Overhead()
        self._events: list[Event] = []
        self._upgrading = False
        self._resuming = False
        self._forget()

    def __getattr__(self, name: str) -> httptools.HttpRequestParser:
        # Reached only while the slot is empty: idle connections are many, and a parser is half of what one costs.
        if name != "_parser":
            raise AttributeError(name)
        self._parser = httptools.HttpRequestParser(self)
        return self._parser

    def rest(self) -> None:
        with contextlib.suppress(AttributeError):
            del self._parser

    def read(self, data: bytes) -> list[Event]:
        turns = self.turns
        try:
            self._parse(data)
            if self.turns == turns:
                self._count_silent(len(data))
        except _Refused as refused:
            self._events.append(msgspec.structs.replace(refused.refusal, head_only=self._method == b"HEAD"))
        events, self._events = self._events, []  # kept here, the last body would live as long as the connection
        return events

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                self._resume()
            except httptools.HttpParserError as error:
                if self.part is not _Part.END:
                    raise _why(error) from None
                return
            else:
                return

    def _resume(self) -> None:
        """Ignore an upgrade that was offered: llhttp takes what follows for another protocol, so begin anew there."""
        self.rest()
        length = self._judged.get("content-length")
        framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
        self._upgrading = False
        self._resuming = True
        self._parser.feed_data(f"POST / HTTP/1.1\r\n{framing}\r\n\r\n".encode())
        self._resuming = False

    def _turn(self, part: _Part) -> None:
        self.part = part
        self.turns += 1
        self._overhead.restart()

    def _forget(self) -> None:
        self._headers: list[tuple[str, str]] = []
        self._headers_seen = 0
        self._head_bytes = 0
        self._judged: dict[str, str] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._keep_alive = False
        self._method = b""

    # -- what httptools calls ---------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if not self._resuming:
            self._turn(_Part.HEAD)

    def on_url(self, url: bytes) -> None:
        self._method = self._parser.get_method()
        if not self._resuming:
            self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._resuming:
            return
        self._headers_seen += 1
        self._count_head(len(name) + len(value) + HEADER_OVERHEAD_BYTES)
        if self.part is not _Part.HEAD:
            return  # httptools reports a trailer like any header, after the body
        word = name.decode("latin-1").lower()
        text = value.decode("latin-1").strip(" \t")
        self._headers.append((word, text))
        if word in JUDGED:
            self._judged[word] = f"{self._judged[word]}, {text}" if word in self._judged else text

    def on_headers_complete(self) -> None:
        if self._resuming:
            return
        self._judge()
        self._keep_alive = self._parser.should_keep_alive()
        self._upgrading = self._parser.should_upgrade()
        if self._judged.get("expect", "").lower() == "100-continue" and not self.old:
            self._events.append(Continue())
        self._turn(_Part.BODY)

    def on_body(self, chunk: bytes) -> None:
        self._body_bytes += len(chunk)
        if self._body_bytes > self._max_body_bytes:
            raise _Refused(TOO_LARGE)
        self._body.append(chunk)

    def on_message_complete(self) -> None:
        if self._upgrading:
            return
        self._events.append(Request(self._headers, b"".join(self._body), self._keep_alive))
        self._turn(_Part.START if self._keep_alive else _Part.END)
        self._forget()

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._headers_seen > MAX_HEADERS or self._head_bytes > MAX_HEAD_BYTES:
            raise _Refused(HEADERS_TOO_LARGE)

    def _count_silent(self, size: int) -> None:
        if self._overhead.exceeded(size, self._body_bytes):
            raise _Refused(HEADERS_TOO_LARGE)

    # -- limits first, then the headers -----------------------------------------------------------

    def _judge(self) -> None:
        version = self._parser.get_http_version()
        self.old = version == "1.0"
        refusal = judge_head(self._method.decode("latin-1"), version, self._judged, max_body_bytes=self._max_body_bytes)
        if refusal is not None:
            raise _Refused(refusal)


def _why(error: httptools.HttpParserError) -> _Refused:
    stop = reason(error)
    if isinstance(stop, _Refused):
        return stop
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        return _Refused(WRONG_METHOD)
    return _Refused(MALFORMED)
