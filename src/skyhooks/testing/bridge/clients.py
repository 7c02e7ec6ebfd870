"""What a browser does, blocking and with a time limit: EventSource, long poll, and how to open any of the three."""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, Literal, Protocol
from urllib.parse import urlencode, urlsplit

import msgspec

from ..adapter.raw import RawAnswer

SECONDS = 10.0
"""How long anything is waited for."""
CURSOR = "skyhooks-cursor"

Transport = Literal["events", "socket", "poll"]
Headers = Sequence[tuple[str, str]]


class Item(msgspec.Struct, frozen=True):
    """What a browser is told."""

    kind: str
    """`notification`, `gap`, or `reconnect`."""
    cursor: str
    raw: bytes = b"null"
    """A notification's data; of a gap all that is told."""
    name: str | None = None
    """What an EventSource calls it."""

    @property
    def data(self) -> Any:
        return msgspec.json.decode(self.raw)


class Ended(Exception):
    """The peer has ended the connection."""

    def __init__(self, code: int | None = None) -> None:
        self.code = code
        """Why, where a WebSocket said so."""
        super().__init__(f"the connection was ended ({code})")


class NotOpened(Exception):
    """The answer was not what a browser goes on with."""

    def __init__(self, answer: RawAnswer) -> None:
        self.answer = answer
        super().__init__(f"answered {answer.status}: {answer.body!r}")


class Browser(Protocol):
    """One connection of a tab, whatever it is made of."""

    cursor: str

    def next(self) -> Item:
        """Wait for what comes next.

        Raises:
            Ended: nothing will.
            TimeoutError: nothing does.
        """

    def close(self) -> None:
        """Go."""


def open_browser(transport: Transport, url: str, since: str | None = None, **details: Any) -> Browser:
    """Open a tab, and wait until it knows where it is.

    Raises:
        NotOpened: it was refused.
    """
    from .sockets import Socket

    kinds: dict[str, type[Any]] = {"events": Events, "socket": Socket, "poll": Poll}
    browser: Browser = kinds[transport](url if since is None else with_query(url, since=since), **details)
    return browser


def with_query(url: str, **query: str) -> str:
    """Add to a URL's query."""
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"


def connect(url: str, receive_bytes: int | None = None) -> socket.socket:
    """Connect; with `receive_bytes` little is under way to one that does not read."""
    place = urlsplit(url)
    sock = socket.socket()
    sock.settimeout(SECONDS)
    if receive_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.connect((str(place.hostname), place.port or 80))
    return sock


def get(url: str, headers: Headers = (), method: str = "GET") -> RawAnswer:
    """Ask, and wait for all of the answer."""
    sock = connect(url)
    with sock, request(sock, url, [*headers, ("connection", "close")], method) as response:
        return answer_of(response)


def request(sock: socket.socket, url: str, headers: Headers = (), method: str = "GET") -> HTTPResponse:
    """Send a request on a connection, and wait for the answer's head."""
    place = urlsplit(url)
    connection = HTTPConnection(str(place.hostname), place.port)
    connection.sock = sock
    connection.putrequest(method, f"{place.path}?{place.query}" if place.query else place.path or "/")
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders()
    return connection.getresponse()


def answer_of(response: HTTPResponse) -> RawAnswer:
    """Read the rest of an answer."""
    headers = {name.lower(): value for name, value in response.getheaders()}
    return RawAnswer(response.status, headers, response.read(), closed=False)


class Events:
    """An EventSource, as WHATWG HTML 9.2 has it read a stream."""

    def __init__(self, url: str, *, headers: Headers = (), receive_bytes: int | None = None) -> None:
        self.cursor = ""
        self.comments = 0
        self.retry_ms: int | None = None
        self._sock = connect(url, receive_bytes)
        self._response = request(self._sock, url, [("accept", "text/event-stream"), *headers])
        self.headers = {name.lower(): value for name, value in self._response.getheaders()}
        self.status = self._response.status
        if self.status != 200:
            with self._sock, self._response:
                raise NotOpened(answer_of(self._response))
        self._blocks = self._read_blocks()
        assert next(self._blocks) == ("hello", b"{}")

    def next(self) -> Item:
        for name, data in self._blocks:
            if data is not None:
                kind = name if name in ("gap", "reconnect") else "notification"
                return Item(kind, self.cursor, data, name)
        raise Ended

    def next_block(self) -> None:
        """Wait for whatever comes next, be it a comment."""
        next(self._blocks)

    def close(self) -> None:
        close_socket(self._sock)
        self._response.close()

    def _read_blocks(self) -> Iterator[tuple[str | None, bytes | None]]:
        name: str | None = None
        lines: list[bytes] = []
        cursor = ""
        for line in self._lines():
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if not line:
                self.cursor = cursor  # not before: an event that was cut off is to come again
                yield name, b"\n".join(lines) if lines else None
                name, lines = None, []
            elif not field:
                self.comments += 1
            elif field == b"data":
                lines.append(value)
            elif field == b"event":
                name = value.decode()
            elif field == b"id":
                cursor = value.decode()
            elif field == b"retry":
                self.retry_ms = int(value)

    def _lines(self) -> Iterator[bytes]:
        with contextlib.suppress(ConnectionError, HTTPException):
            while (line := self._response.readline()).endswith(b"\n"):
                yield line.rstrip(b"\r\n")


class Poll:
    """A page that polls: it asks again with the cursor of the last answer."""

    def __init__(self, url: str, *, headers: Headers = (), timeout_seconds: float = 5.0) -> None:
        self.cursor = ""
        """Behind the last item that was read; `_next` is behind the last answer."""
        self._next = ""
        self.timeout_seconds = timeout_seconds
        self._url = url
        self._headers = headers
        self._items: deque[Item] = deque()
        self.ask(0)

    def next(self) -> Item:
        while not self._items:
            self.ask(self.timeout_seconds)
        item = self._items.popleft()
        self.cursor = item.cursor
        return item

    def ask(self, timeout_seconds: float) -> RawAnswer:
        """Poll once."""
        url = with_query(self._url.partition("?")[0], since=self._next) if self._next else self._url
        answer = get(with_query(url, timeout=str(timeout_seconds)), self._headers)
        if answer.status not in (200, 204):
            raise NotOpened(answer)
        if answer.status == 200:
            told = msgspec.json.decode(answer.body, type=_Told)
            self._items += [item_of(bytes(one)) for one in told.notifications]
            assert told.cursor == answer.headers[CURSOR]
        self._next = answer.headers[CURSOR]
        if not self._items:
            self.cursor = self._next
        return answer

    def close(self) -> None:
        """Do nothing: each poll had its own connection."""


class _Told(msgspec.Struct):
    notifications: list[msgspec.Raw]
    cursor: str


class _Message(msgspec.Struct):
    type: str
    cursor: str
    data: msgspec.Raw = msgspec.Raw(b"null")


def item_of(message: bytes) -> Item:
    """Read a message of a WebSocket, or one of a poll's answer."""
    told = msgspec.json.decode(message, type=_Message)
    return Item(told.type, told.cursor, bytes(told.data) if told.type == "notification" else message)


def close_socket(sock: socket.socket) -> None:
    """End a connection, though somebody reads from it."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
