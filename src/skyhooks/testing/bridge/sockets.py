"""A WebSocket as a browser has it (RFC 6455), blocking and with a time limit."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import struct

from .clients import Ended, Headers, Item, NotOpened, answer_of, close_socket, connect, item_of, request

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Socket:
    """A connection that is open and has been told where it is; with `first`, after it has sent that message."""

    def __init__(
        self,
        url: str,
        *,
        headers: Headers = (),
        first: bytes | None = None,
        hello: bool = True,
        answers_pings: bool = True,
        receive_bytes: int | None = None,
    ) -> None:
        self.cursor = ""
        self.pings = 0
        self.answers_pings = answers_pings
        self._sock = connect(url, receive_bytes)
        key = base64.b64encode(os.urandom(16))
        self._shake_hands(url, key, headers)
        if first is not None:
            self.send(TEXT, first)
        if hello:
            assert self.next().kind == "hello"

    def next(self) -> Item:
        item = item_of(self.receive())
        self.cursor = item.cursor
        return item

    def receive(self) -> bytes:
        """Wait for a message; pings are counted and answered meanwhile."""
        while True:
            kind, payload = self.receive_frame()
            if kind == TEXT:
                return payload
            assert kind in (PING, CLOSE), f"a frame of kind {kind:#x}"
            if kind == CLOSE:
                code = struct.unpack(">H", payload[:2])[0] if payload else None
                self.send(CLOSE, payload[:2])
                raise Ended(code)

    def receive_frame(self) -> tuple[int, bytes]:
        """Wait for one frame; the server never masks, and of ours never fragments."""
        first, size = self._take(2)
        assert first & 0xF0 == 0x80, f"a frame begins with {first:#x}"
        if size >= 126:
            size = int.from_bytes(self._take(2 if size == 126 else 8), "big")
        kind, payload = first & 0x0F, self._take(size)
        if kind == PING:
            self.pings += 1
            if self.answers_pings:
                self.send(PONG, payload)
        return kind, payload

    def send(self, kind: int, payload: bytes, *, final: bool = True) -> None:
        """Send a frame, masked; that the peer has gone is for `receive` to find."""
        size = len(payload)
        head = bytes([(0x80 if final else 0) | kind])
        if size < 126:
            head += bytes([0x80 | size])
        else:
            head += struct.pack(">BH", 0xFE, size) if size < 65_536 else struct.pack(">BQ", 0xFF, size)
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        with contextlib.suppress(ConnectionError):
            self._sock.sendall(head + mask + masked)

    def say_goodbye(self, code: int) -> None:
        """Begin to close."""
        self.send(CLOSE, struct.pack(">H", code))

    def ended(self) -> int | None:
        """Read to the end, and return the code with which the peer closes; None: it just went."""
        try:
            while True:
                self.receive()
        except Ended as end:
            return end.code

    def close(self) -> None:
        close_socket(self._sock)
        self._response.close()

    def _shake_hands(self, url: str, key: bytes, headers: Headers) -> None:
        pairs = [("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-version", "13")]
        response = request(self._sock, url, [*pairs, ("sec-websocket-key", key.decode()), *headers])
        if response.status != 101:
            with self._sock, response:
                raise NotOpened(answer_of(response))
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()  # noqa: S324 - RFC 6455 wants it
        assert response.getheader("sec-websocket-accept") == accept
        assert response.getheader("sec-websocket-extensions") is None
        self._response = response  # what it has read beyond the head is in its file, which ends with it

    def _take(self, count: int) -> bytes:
        try:
            data = self._response.fp.read(count)
        except ConnectionError:
            raise Ended from None
        if len(data) < count:
            raise Ended
        return data
