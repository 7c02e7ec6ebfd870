"""Turns what a job sends into requests, and stops at the first thing that is not ours to take."""

from __future__ import annotations

import contextlib
import enum

import httptools
import msgspec

from .head import (
    HEADERS_TOO_LARGE,
    JUDGED,
    MALFORMED,
    TOO_LARGE,
    WRONG_METHOD,
    Refusal,
    judge_head,
)
from .parser import HEADER_OVERHEAD_BYTES, MAX_HEAD_BYTES, MAX_HEADERS, Overhead, Stop, reason


class Request(msgspec.Struct, frozen=True):
    """A whole POST; header names in lower case, in the order they came, repeated ones kept."""

    headers: list[tuple[str, str]]
    body: bytes
    keep_alive: bool
    """False: close the connection once this is answered."""


class Continue(msgspec.Struct, frozen=True):
    """The peer waits for `CONTINUE` before it sends the body."""


Event = Request | Refusal | Continue


class Part(enum.Enum):
    """Which part of a message is awaited."""

    START = enum.auto()
    HEAD = enum.auto()
    BODY = enum.auto()
    END = enum.auto()


class _Refused(Stop):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


class RequestReader:
    """Turns the parser's callbacks into events, and stops the parser at the first thing that is not ours to take.

    `part` is what is awaited, `turns` counts its changes; `old`: the peer has spoken HTTP/1.0.
    """

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
        self.part = Part.START
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
        """Let go of the parser; only between two requests."""
        with contextlib.suppress(AttributeError):
            del self._parser

    def read(self, data: bytes) -> list[Event]:
        """Take what has arrived; return what came of it, a refusal always last."""
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
                if self.part is not Part.END:
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

    def _turn(self, part: Part) -> None:
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
        """A request's first byte has come."""
        if not self._resuming:
            self._turn(Part.HEAD)

    def on_url(self, url: bytes) -> None:
        """A piece of the target has come."""
        self._method = self._parser.get_method()
        if not self._resuming:
            self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header has come whole, or a trailer."""
        if self._resuming:
            return
        self._headers_seen += 1
        self._count_head(len(name) + len(value) + HEADER_OVERHEAD_BYTES)
        if self.part is not Part.HEAD:
            return  # httptools reports a trailer like any header, after the body
        word = name.decode("latin-1").lower()
        text = value.decode("latin-1").strip(" \t")
        self._headers.append((word, text))
        if word in JUDGED:
            self._judged[word] = f"{self._judged[word]}, {text}" if word in self._judged else text

    def on_headers_complete(self) -> None:
        """The head is whole: judge it."""
        if self._resuming:
            return
        self._judge()
        self._keep_alive = self._parser.should_keep_alive()
        self._upgrading = self._parser.should_upgrade()
        if self._judged.get("expect", "").lower() == "100-continue" and not self.old:
            self._events.append(Continue())
        self._turn(Part.BODY)

    def on_body(self, chunk: bytes) -> None:
        """A piece of the body has come."""
        self._body_bytes += len(chunk)
        if self._body_bytes > self._max_body_bytes:
            raise _Refused(TOO_LARGE)
        self._body.append(chunk)

    def on_message_complete(self) -> None:
        """The request is whole; llhttp says so too where it takes what follows for another protocol."""
        if self._upgrading:
            return
        self._events.append(Request(self._headers, b"".join(self._body), self._keep_alive))
        self._turn(Part.START if self._keep_alive else Part.END)
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
