"""`Receiver`: a peer on loopback that answers as it is told, request by request, and remembers what it was sent."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Self

import msgspec

_PIECE_BYTES = 65_536


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One answer, and how it is given."""

    status: int | None = 200
    """None: no answer at all; `end` says what happens instead."""
    body: bytes = b""
    headers: Mapping[str, str] = {}
    delay_seconds: float = 0.0
    """Between the request and the first byte of the answer."""
    drip_seconds: float = 0.0
    """Between one byte of the answer and the next; 0: all at once."""
    declared_bytes: int | None = None
    """What `content-length` says, where it is not the truth."""
    end: str = "keep"
    """Afterwards: `keep` the connection, `close` it, `reset` it, or `hang`: keep it, and read nothing more."""


class Received(msgspec.Struct, frozen=True):
    """One request, as it came."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    """Names in lower case."""
    body: bytes
    connection: int
    """Counts the connections, from 0."""
    at: float
    """Unix seconds."""

    def header(self, name: str) -> str:
        """Return a header's only value."""
        (value,) = (value for given, value in self.headers if given == name)
        return value


class Receiver:
    """Listens on loopback, in threads of its own, from `with` to the end of it.

    `script` queues replies, one for each request to come; when they are used up, `default` is the answer. To be rung,
    its `url` must stand in an instance's row: `store.join(Instance(id, receiver.url, …), lease_seconds)` and
    `store.add_hooks(id, keys, 1)`.
    """

    def __init__(self, default: Reply | None = None) -> None:
        self.default = default or Reply()
        self.requests: list[Received] = []
        self.closed = 0
        self._script: deque[Reply] = deque()
        self._arrived = threading.Condition()
        self._over = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listening.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """What to POST to."""
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def connections(self) -> int:
        """How many were opened so far."""
        return len(self._sockets)

    def script(self, *replies: Reply) -> None:
        """Answer the next requests like this, one each."""
        self._script.extend(replies)

    def wait_for(self, count: int, seconds: float = 10.0) -> None:
        """Block until so many requests have come.

        Raises:
            TimeoutError: they have not.

        """
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.requests) >= count, seconds):
                raise TimeoutError(f"{len(self.requests)} requests came within {seconds:g} s, not {count}")

    def wait_until_closed(self, count: int, seconds: float = 10.0) -> None:
        """Block until so many connections have been closed from this side.

        Raises:
            TimeoutError: they have not.

        """
        with self._arrived:
            if not self._arrived.wait_for(lambda: self.closed >= count, seconds):
                raise TimeoutError(f"{self.closed} connections were closed within {seconds:g} s, not {count}")

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._listening.close()

    # -- inside -----------------------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            self._sockets.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock, len(self._sockets) - 1), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, connection: int) -> None:
        try:
            self._converse(sock, connection)
        finally:
            with self._arrived:
                self.closed += 1
                self._arrived.notify_all()

    def _converse(self, sock: socket.socket, connection: int) -> None:
        with sock, contextlib.suppress(OSError):
            while (request := _read(sock, connection)) is not None:
                with self._arrived:
                    reply = self._script.popleft() if self._script else self.default
                    self.requests.append(request)
                    self._arrived.notify_all()
                if not self._reply(sock, reply):
                    return

    def _reply(self, sock: socket.socket, reply: Reply) -> bool:
        if self._over.wait(reply.delay_seconds):
            return False
        if reply.status is not None:
            self._send(sock, _encode(reply), reply.drip_seconds)
        if reply.end == "hang":
            self._over.wait()
        elif reply.end == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return reply.end == "keep"

    def _send(self, sock: socket.socket, data: bytes, drip_seconds: float) -> None:
        if not drip_seconds:
            sock.sendall(data)
            return
        for index in range(len(data)):
            sock.sendall(data[index : index + 1])
            if self._over.wait(drip_seconds):
                return


def _encode(reply: Reply) -> bytes:
    length = len(reply.body) if reply.declared_bytes is None else reply.declared_bytes
    headers = {"content-type": "application/json", "content-length": str(length), **reply.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {reply.status} As Told\r\n{lines}\r\n".encode() + reply.body


def _read(sock: socket.socket, connection: int) -> Received | None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(_PIECE_BYTES)
        if not piece:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines)
    headers = tuple((name.strip().lower(), value.strip()) for name, _, value in pairs)
    length = int(dict(headers).get("content-length", "0"))
    while len(body) < length:
        piece = sock.recv(_PIECE_BYTES)
        if not piece:
            return None
        body += piece
    return Received(method, target, headers, body, connection, time.time())
