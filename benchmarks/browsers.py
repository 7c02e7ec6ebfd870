"""A process that is as many browsers as you like, on raw sockets: what they cost is not in what is measured."""

from __future__ import annotations

import select
import socket
import sys
import time
from collections.abc import Callable

from benchmarks.serving import raise_file_limit

AT_ONCE = 200
"""How many connections are being made at a time."""
LIMIT_SECONDS = 120.0
EVENT = b'"text":"xxx'
"""In each event once."""


class Browser:
    """One connection; `is_there` once it has been greeted."""

    __slots__ = ("fileno", "is_there", "socket", "tail")

    def __init__(self, port: int, request: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.sendall(request)
        self.socket.setblocking(False)
        self.fileno = self.socket.fileno()
        self.is_there = False
        self.tail = b""


def hear_events(browser: Browser, data: bytes) -> int:
    """Count the events of an EventSource; what is cut waits for its rest."""
    data = browser.tail + data
    if not browser.is_there:
        if b"event: hello" in data:
            browser.is_there = True
        elif data.startswith(b"HTTP/1.1") and not data.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(data.decode(errors="replace"))
    browser.tail = data[-len(EVENT) + 1 :] if browser.is_there else data
    return data.count(EVENT)


def hear_socketio(browser: Browser, data: bytes) -> int:
    """Count the events of a Socket.IO client on a WebSocket, and say what it says: that it comes, and pongs."""
    data = browser.tail + data
    if data.startswith(b"HTTP/1.1"):
        head, end, rest = data.partition(b"\r\n\r\n")
        if end and not head.startswith(b"HTTP/1.1 101"):
            raise RuntimeError(head.decode(errors="replace"))
        data = rest if end else data
    count = 0
    while (message := _first_message(data)) is not None:
        data = data[len(message) + (4 if len(message) > 125 else 2) :]
        if message.startswith(b"42"):
            count += 1
        elif message.startswith(b"40"):
            browser.is_there = True
        elif message.startswith(b"0"):
            browser.socket.send(_frame(b"40"))
        elif message == b"2":
            browser.socket.send(_frame(b"3"))
    browser.tail = data
    return count


def _first_message(data: bytes) -> bytes | None:
    if len(data) < 3 or data.startswith(b"HTTP"):
        return None
    size, begin = (int.from_bytes(data[2:4]), 4) if data[1] == 126 else (data[1], 2)
    return data[begin : begin + size] if len(data) >= begin + size else None


def _frame(message: bytes) -> bytes:
    return bytes((0x81, 0x80 | len(message), 0, 0, 0, 0)) + message  # a mask of zeros


KINDS: dict[str, tuple[str, Callable[[Browser, bytes], int]]] = {
    "events": ("/events?key={key}", hear_events),
    "socketio": ("/socket.io/?EIO=4&transport=websocket&key={key}", hear_socketio),
}
UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


class Crowd:
    """All browsers of this process."""

    def __init__(self, port: int, kind: str, sharing: str) -> None:
        path, self._hear = KINDS[kind]
        upgrade = UPGRADE if kind == "socketio" else ""
        self._port = port
        self._request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{upgrade}\r\n"
        self._is_shared = sharing == "shared"
        self._browsers: dict[int, Browser] = {}
        self._coming: set[Browser] = set()
        self._poll = select.epoll()
        self._events = 0

    def connect(self, count: int) -> None:
        """Add so many, and wait until all of them have been greeted."""
        until = time.monotonic() + LIMIT_SECONDS
        wanted = len(self._browsers) + count
        while len(self._browsers) < wanted or self._coming:
            while len(self._browsers) < wanted and len(self._coming) < AT_ONCE:
                self._add()
            self._listen(until)

    def wait(self, count: int) -> None:
        """Wait for so many more events."""
        until = time.monotonic() + LIMIT_SECONDS
        while self._events < count:
            self._listen(until)
        self._events -= count
        if self._events:
            raise RuntimeError(f"{self._events} events came too many")

    def _add(self) -> None:
        key = 0 if self._is_shared else len(self._browsers)
        browser = Browser(self._port, self._request.format(key=key).encode())
        self._browsers[browser.fileno] = browser
        self._coming.add(browser)
        self._poll.register(browser.fileno, select.EPOLLIN)

    def _listen(self, until: float) -> None:
        ready = self._poll.poll(max(until - time.monotonic(), 0), 1000)
        if not ready:
            raise RuntimeError(
                f"waited {LIMIT_SECONDS:g} s; {len(self._coming)} wait for hello, {self._events} events came"
            )
        for fileno, _ in ready:
            browser = self._browsers[fileno]
            data = browser.socket.recv(65536)
            if not data:
                raise RuntimeError("the server has closed a connection")
            self._events += self._hear(browser, data)
            if browser.is_there:
                self._coming.discard(browser)


def main() -> None:
    raise_file_limit()
    port, kind, sharing = sys.argv[1:]
    crowd = Crowd(int(port), kind, sharing)
    for line in sys.stdin:
        command, count = line.split()
        {"connect": crowd.connect, "wait": crowd.wait}[command](int(count))
        print("done", flush=True)


if __name__ == "__main__":
    main()
