"""Real peers for clients and listeners: scripted ones on threads, our own listener on a loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator

from skyhooks._asyncio.io import Listener
from skyhooks._http import Response

SECONDS = 10.0
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"

Script = Callable[[socket.socket, int], None]
"""Serves one connection; the number counts them from 0."""


class Peer:
    """Listens, and runs a script in a thread for each connection; `hold` keeps a script until the test is over."""

    def __init__(self, script: Script, host: str = "127.0.0.1") -> None:
        self.accepted = 0
        self._script = script
        self._over = threading.Event()
        self._listening = socket.create_server((host, 0), backlog=512)
        self.port = self._listening.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def hold(self) -> None:
        assert self._over.wait(SECONDS)

    def __enter__(self) -> Peer:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(SECONDS)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(sock, self.accepted))
            self.accepted += 1
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        sock.settimeout(SECONDS)
        with sock, contextlib.suppress(ConnectionError):
            self._script(sock, number)


def read_request(sock: socket.socket) -> bytes:
    """Read one request with a length; nothing where the client has closed."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = sock.recv(65_536)
        if not chunk:
            return data
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += sock.recv(65_536)
    return head + b"\r\n\r\n" + body


def answering(*answers: bytes) -> Script:
    """Script: answer each request with the next of these, the last one again and again."""

    def script(sock: socket.socket, number: int) -> None:
        left = list(answers)
        while read_request(sock):
            sock.sendall(left.pop(0) if len(left) > 1 else left[0])

    return script


class SkippingLoop(asyncio.SelectorEventLoop):
    """A loop whose clock a test can put forward."""

    skipped = 0.0

    def time(self) -> float:
        return super().time() + self.skipped


class Served:
    """Our listener on a thread of its own: counts what it received, and when `dispatch` was called."""

    def __init__(self, receive=None, dispatch=None, *, ssl=None, host="127.0.0.1", **options) -> None:
        self.requests: list[tuple[list[tuple[str, str]], bytes]] = []
        self.dispatched = 0
        self.loop = SkippingLoop()
        self._receive = receive or (lambda headers, body: Response(200, b'{"status":"ok"}'))
        self._dispatch = dispatch or (lambda: None)
        self.listener = Listener(
            self._take, self._count, **{"max_body_bytes": 1_048_576, "ssl_context": ssl, **options}
        )
        self._address = (host, 0)
        self._ssl = ssl
        self._thread = threading.Thread(target=self._run)
        self._started = threading.Event()

    @property
    def url(self) -> str:
        return f"{'https' if self._ssl else 'http'}://127.0.0.1:{self.listener.port}/hook"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.listener.port), timeout=SECONDS)

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(SECONDS)

    def close(self) -> None:
        """Close the listener before its time."""
        self.call(self.listener.close())

    def skip(self, seconds: float) -> None:
        """Let that much time have passed for the listener."""

        async def forward() -> None:
            self.loop.skipped += seconds

        self.call(forward())

    def __enter__(self) -> Served:
        self._thread.start()
        assert self._started.wait(SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(SECONDS)
        self.loop.close()

    def _run(self) -> None:
        self.loop.run_until_complete(self.listener.start(*self._address))
        self._started.set()
        self.loop.run_forever()

    def _take(self, headers, body):
        self.requests.append((headers, body))
        return self._receive(headers, body)

    def _count(self) -> None:
        self.dispatched += 1
        self._dispatch()


def read_answer(sock: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one answer: status, headers, body."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = sock.recv(65_536)
        if not chunk:
            raise ConnectionError(f"closed after {data!r}")
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    while len(body) < int(headers.get("content-length", 0)):
        body += sock.recv(65_536)
    return int(status.split()[1]), headers, body


def is_closed(sock: socket.socket) -> bool:
    """Wait until the peer closes, whatever it still sends."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and select.select([sock], [], [], SECONDS)[0]:
        try:
            if not sock.recv(65_536):
                return True
        except ConnectionError:
            return True
    return False


def within(seconds: float) -> Iterator[float]:
    """Yield until the time is over, with short rests: for what can only be looked at."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield deadline
        time.sleep(0.005)
