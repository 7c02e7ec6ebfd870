"""The server's end of a WebSocket, on a connection whose handshake is done: frames by wsproto, bytes by gevent."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from gevent import Timeout
from gevent.lock import RLock
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import CloseConnection, Event, Message, Ping, Pong, TextMessage

from ._bridge import MAX_MESSAGE_BYTES, STALL_COMMENTS
from ._bridge_messages import Close

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
        self._protocol = Connection(ConnectionType.SERVER)
        self._writing = RLock()
        self._unanswered = 0
        self._pieces: list[str] = []
        self._size = 0

    @property
    def is_left(self) -> bool:
        """Whether either side has ended it."""
        return self._left is None

    def send(self, message: bytes) -> bool:
        """Send a text, and wait until it is read; False: the client has gone, or takes too long."""
        return self._send(TextMessage(message.decode()))

    def ping(self) -> bool:
        """Ask whether the client is there; False: it has not answered for too long."""
        if self._unanswered >= STALL_COMMENTS:
            return False
        self._unanswered += 1
        return self._send(Ping())

    def close(self, code: Close) -> None:
        """Say goodbye; `read` goes on until the client has said so too, or has gone."""
        self._send(CloseConnection(code))
        self._leave()

    def read(self) -> None:
        """Hear the client, until it has gone or both have said goodbye."""
        with contextlib.suppress(OSError):  # however it went
            while self._protocol.state is not ConnectionState.CLOSED:
                data = self._sock.recv(PIECE_BYTES)
                if not data:
                    break
                self._protocol.receive_data(data)
                for event in self._protocol.events():
                    self._hear(event)
        self.is_broken = True
        self._leave()

    def _hear(self, event: Event) -> None:
        if isinstance(event, Message):
            self._collect(event)
        elif isinstance(event, Ping):
            self._send(event.response())
        elif isinstance(event, Pong):
            self._unanswered = 0
        elif isinstance(event, CloseConnection):  # the client's; or wsproto's, which could not read what it sent
            self._send(event.response())
            self._leave()

    def _collect(self, event: Message[Any]) -> None:
        if self.is_left:
            return
        self._pieces.append(event.data if isinstance(event, TextMessage) else "")
        self._size += len(event.data.encode() if isinstance(event, TextMessage) else event.data)
        if self._size > MAX_MESSAGE_BYTES:
            self.close(Close.TOO_BIG)
        elif event.message_finished:
            message = "".join(self._pieces)
            self._pieces, self._size = [], 0
            if isinstance(event, TextMessage):
                self._heard(message)
            else:
                self.close(Close.POLICY)

    def _may_send(self, event: Event) -> bool:
        states = [ConnectionState.OPEN]
        if isinstance(event, CloseConnection):
            states.append(ConnectionState.REMOTE_CLOSING)
        return self._protocol.state in states

    def _send(self, event: Event) -> bool:
        try:
            with Timeout(self._stall_seconds, TimeoutError), self._writing:
                if self.is_broken or not self._may_send(event):
                    return False
                self._sock.sendall(self._protocol.send(event))
        except OSError:
            self.is_broken = True
            self._leave()
        return not self.is_broken

    def _leave(self) -> None:
        left, self._left = self._left, None
        if left is not None:
            left()
