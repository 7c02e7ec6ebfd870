"""The server's end of a WebSocket, on a connection whose handshake is done: `SocketWire` over gevent's sockets."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from gevent import Timeout
from gevent.lock import RLock

from .._bridge.messages import Close
from .._bridge.options import STALL_COMMENTS
from .._bridge.socket import SocketWire

PIECE_BYTES = 16_384


class Frames:
    """One greenlet runs `read`, another sends; whatever ends the connection, `left` is called, once."""

    def __init__(
        self, sock: Any, *, stall_seconds: float, heard: Callable[[str], None], left: Callable[[], None]
    ) -> None:
        self.is_broken = False
        """Whether nothing more can be sent or heard."""
        self._sock = sock
        self._stall_seconds = stall_seconds
        self._heard = heard
        self._left: Callable[[], None] | None = left
        self._wire = SocketWire()
        self._writing = RLock()
        self._unanswered = 0

    @property
    def is_left(self) -> bool:
        """Whether either side has ended it."""
        return self._left is None

    def send(self, message: bytes) -> bool:
        """Send a text, and wait until it is read; False: the client has gone, or takes too long."""
        return self._send(lambda: self._wire.send(message))

    def ping(self) -> bool:
        """Ask whether the client is there; False: it has not answered for too long."""
        if self._unanswered >= STALL_COMMENTS:
            return False
        self._unanswered += 1
        return self._send(self._wire.ping)

    def close(self, code: Close) -> None:
        """Say goodbye; `read` goes on until the client has said so too, or has gone."""
        self._send(lambda: self._wire.close(code))
        self._leave()

    def read(self) -> None:
        """Hear the client, until it has gone or both have said goodbye."""
        with contextlib.suppress(OSError):  # however it went
            while not self._wire.ended:
                data = self._sock.recv(PIECE_BYTES)
                if not data:
                    break
                self._hear(data)
        self.is_broken = True
        self._leave()

    def _hear(self, data: bytes) -> None:
        for message in self._wire.receive(data):
            if message is None:
                self._unanswered = 0
            elif not self.is_left:
                self._heard(message)
        if self._wire.reply:
            self._send(self._take_reply)
        if self._wire.close_code is not None:
            self._leave()

    def _take_reply(self) -> bytes:
        reply, self._wire.reply = self._wire.reply, b""
        return reply

    def _send(self, make: Callable[[], bytes]) -> bool:
        """Make bytes and send them, in the order in which they are made."""
        try:
            with Timeout(self._stall_seconds, TimeoutError), self._writing:
                data = b"" if self.is_broken else make()
                if not data:
                    return False
                self._sock.sendall(data)
        except OSError:
            self.is_broken = True
            self._leave()
        return not self.is_broken

    def _leave(self) -> None:
        left, self._left = self._left, None
        if left is not None:
            left()
