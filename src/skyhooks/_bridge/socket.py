"""The server's side of a WebSocket as bytes (RFC 6455): handshake, messages within their limit, pings, the end. No I/O."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from .messages import Close
from .options import MAX_MESSAGE_BYTES
from .refusals import NO_UPGRADE, Refused

VERSION = "13"
BAD_VERSION = Refused(NO_UPGRADE.status, NO_UPGRADE.code, (*NO_UPGRADE.headers, ("sec-websocket-version", VERSION)))
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def judge_upgrade(header: Callable[[str], str | None]) -> Refused | None:
    """Refuse a request that does not ask for a WebSocket of this version; `header` gives a header's value by its name."""
    if not (_names("websocket", header("upgrade")) and _names("upgrade", header("connection"))):
        return NO_UPGRADE
    if header("sec-websocket-version") != VERSION or not _is_nonce(header("sec-websocket-key") or ""):
        return BAD_VERSION
    return None


def shake_hands(key: str) -> bytes:
    """Return the answer with which a connection becomes a WebSocket, given the key that was asked with.

    No extension is taken: compression would keep 64 KiB and more for each client.
    """
    accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
        b"sec-websocket-accept: " + accept + b"\r\n\r\n"
    )


class SocketWire:
    """One WebSocket: bytes in, bytes out; of a message that is too long nothing is kept."""

    def __init__(self) -> None:
        self.close_code: int | None = None
        """With which code this side has begun to close, or has answered; from then on only the peer's end is heard."""
        self.ended = False
        """Whether the connection is over: both sides have said so."""
        self.reply = b""
        """What is due to the peer after `receive`; the caller takes it, and sends it once there is room."""
        self._connection = Connection(ConnectionType.SERVER)
        self._pieces: list[str] = []
        self._size = 0
        self._deaf = False

    def receive(self, data: bytes) -> Iterator[str | None]:
        """Yield whole messages, and None for a ping that was answered.

        A message that is too long or of bytes, and what is no WebSocket's, closes it with the code for that.
        """
        if self._deaf or self.ended:
            return
        self._connection.receive_data(data)
        for event in self._connection.events():
            if isinstance(event, CloseConnection):
                self._end(event)
                return
            if self.close_code is not None:
                continue
            if isinstance(event, Ping):
                self.reply = self._connection.send(event.response())  # of several the last will do (section 5.5.3)
            elif isinstance(event, Pong):
                yield None
            elif isinstance(event, BytesMessage):
                self.reply = self.close(Close.POLICY)
            elif isinstance(event, TextMessage):
                yield from self._gather(event)

    def send(self, message: bytes) -> bytes:
        """Return a message as bytes to send; it is JSON, and so UTF-8. Nothing, where this side has closed."""
        return b"" if self.close_code is not None else self._connection.send(TextMessage(message.decode()))

    def ping(self) -> bytes:
        """Return a ping."""
        return b"" if self.close_code is not None else self._connection.send(Ping())

    def close(self, code: int) -> bytes:
        """Begin to close; twice is fine."""
        if self.close_code is not None:
            return b""
        self.close_code = code
        self._pieces.clear()
        return self._connection.send(CloseConnection(code))

    def _gather(self, event: TextMessage) -> Iterator[str]:
        self._size += len(event.data.encode())
        if self._size > MAX_MESSAGE_BYTES:
            self.reply = self.close(Close.TOO_BIG)
            return
        self._pieces.append(event.data)
        if event.message_finished:
            whole = "".join(self._pieces)
            self._pieces.clear()
            self._size = 0
            yield whole

    def _end(self, event: CloseConnection) -> None:
        if self._connection.state is ConnectionState.OPEN:  # the peer has not closed: what it sent is no WebSocket's
            self._deaf = True
            self.reply = self.close(event.code)
            return
        if self.close_code is None:
            self.close_code = event.code
            self.reply = self._connection.send(event.response())
        self.ended = True


def _names(token: str, value: str | None) -> bool:
    return token in [part.strip().lower() for part in (value or "").split(",")]


def _is_nonce(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except ValueError:
        return False
