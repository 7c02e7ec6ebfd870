"""Many connections at once, which one thread looks after."""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from .clients import Transport, close_socket, connect

CROWD_SECONDS = 30.0
"""How long a crowd is waited for."""
_ASKS: dict[str, str] = {
    "events": "accept: text/event-stream\r\n",
    "poll": "",
    "socket": "upgrade: websocket\r\nconnection: Upgrade\r\n"
    "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
}
_BEGUN = re.compile(rb'\nid: |"hello"')
_ENDED = re.compile(rb"reconnect|^HTTP/1.1 204")


class Crowd:
    """So many connections, each of which has asked for the same."""

    def __init__(self, url: str, count: int, transport: Transport = "poll") -> None:
        place = urlsplit(url)
        target = f"{place.path}?{place.query}" if place.query else place.path
        request = f"GET {target} HTTP/1.1\r\nhost: {place.netloc}\r\n{_ASKS[transport]}\r\n".encode()
        self._got: dict[socket.socket, bytes] = {}
        for _ in range(count):
            sock = connect(url)
            sock.sendall(request)
            self._got[sock] = b""

    def connected(self) -> None:
        """Wait until all have been told where they are."""
        assert len(self._wait(_BEGUN.search)) == len(self._got)

    def ends(self) -> list[float]:
        """Wait until all have been told to go elsewhere, and say when each was, by the monotonic clock."""
        return self._wait(_ENDED.search)

    def heard(self, text: bytes) -> int:
        """Wait until all have been told this, and count them."""
        return len(self._wait(lambda got: text in got))

    def statuses(self) -> list[int]:
        """Return what they were answered."""
        return [int(got.split()[1]) for got in self._got.values()]

    def close(self) -> None:
        for sock in self._got:
            close_socket(sock)

    def _wait(self, told: Callable[[bytes], object]) -> list[float]:
        times: list[float] = []
        deadline = time.monotonic() + CROWD_SECONDS
        with selectors.DefaultSelector() as selector:
            for sock, got in self._got.items():
                if told(got):
                    times.append(time.monotonic())
                else:
                    selector.register(sock, selectors.EVENT_READ)
            while selector.get_map() and time.monotonic() < deadline:
                for key, _ in selector.select(1.0):
                    if self._receive(key.fileobj, told, times):
                        selector.unregister(key.fileobj)
        return times

    def _receive(self, sock: object, told: Callable[[bytes], object], times: list[float]) -> bool:
        """Take what has come; True: there is nothing more to wait for."""
        assert isinstance(sock, socket.socket)
        piece = sock.recv(65_536)
        self._got[sock] += piece
        if told(self._got[sock]):
            times.append(time.monotonic())
            return True
        return not piece
