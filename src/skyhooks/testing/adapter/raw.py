"""Requests as bytes, and signatures by the specification: an oracle that shares no code with what it judges."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import socket
import time
from collections.abc import Sequence
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec

from ..._signing import instance_key
from ..._values import Instance, Position

ASK_SECONDS = 20.0
CLOSE_SECONDS = 5.0


class RawAnswer(msgspec.Struct, frozen=True):
    """An answer, as it came; status 0: the connection ended without one."""

    status: int
    headers: dict[str, str]
    body: bytes
    closed: bool
    """The peer ended the connection behind it."""

    @property
    def code(self) -> str:
        """The problem's code; empty where it is no problem."""
        if self.headers.get("content-type") != "application/problem+json":
            return ""
        code: str = msgspec.json.decode(self.body)["code"]
        return code


class Letter:
    """A request to one instance, signed for it; change what is to be wrong, then `ask` or take its `head` and `body`."""

    def __init__(self, url: str, body: bytes, key: bytes | None, audience: str | None = None) -> None:
        self.url = url
        self.body = body
        self.key = key
        self.webhook_id = f"{uuid4().hex}-1"
        self.timestamp = str(int(time.time()))
        self.headers = [("content-type", "application/json")]
        if audience is not None:
            self.headers.append(("skyhooks-instance", audience))

    @property
    def signature(self) -> str:
        """What the specification makes of id, timestamp and body."""
        signed = f"{self.webhook_id}.{self.timestamp}.".encode() + self.body
        return "v1," + base64.b64encode(hmac.new(self.key or b"", signed, hashlib.sha256).digest()).decode()

    def signed(self) -> list[tuple[str, str]]:
        """Return all its headers, the three of Standard Webhooks among them if it has a key."""
        if self.key is None:
            return list(self.headers)
        return [
            *self.headers,
            ("webhook-id", self.webhook_id),
            ("webhook-timestamp", self.timestamp),
            ("webhook-signature", self.signature),
        ]

    def ask(self, headers: Sequence[tuple[str, str]] | None = None) -> RawAnswer:
        """Send it, with these headers instead of its own; block for the answer."""
        given = self.signed() if headers is None else list(headers)
        return ask(self.url, request_bytes(self.url, [*given, ("content-length", str(len(self.body)))], self.body))


def letter(row: Instance, items: Sequence[object], secret: bytes | None = None) -> Letter:
    """Write to the instance of this row, as a sender of ours would."""
    body = msgspec.json.encode({"v": 1, "aud": row.instance_id, "notifications": items})
    key = row.signing_key if secret is None else instance_key(secret, row.instance_id)
    return Letter(str(row.url), body, key, row.instance_id)


def ephemeral(data: object = 1, key: str = "account=42") -> dict[str, object]:
    """Make an item that is in no log."""
    return {"id": uuid4().hex, "key": key, "ephemeral": True, "sent_at": 1.5, "data": data}


def retained(position: Position, data: object = 1, key: str = "account=42") -> dict[str, object]:
    """Make an item with its place in the log."""
    return {"id": uuid4().hex, "key": key, "epoch": position.epoch, "seq": position.seq, "sent_at": 1.5, "data": data}


def request_bytes(
    url: str, headers: Sequence[tuple[str, str]], body: bytes = b"", *, method: str = "POST", first: str = ""
) -> bytes:
    """Write a request; `first` replaces its first line."""
    target = urlsplit(url).path or "/"
    lines = [first or f"{method} {target} HTTP/1.1", "host: a", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def ask(url: str, data: bytes) -> RawAnswer:
    """Send bytes, block for one answer; where that is a refusal, see whether the peer then ends the connection."""
    place = urlsplit(url)
    with socket.create_connection((str(place.hostname), place.port or 80), ASK_SECONDS) as sock:
        with contextlib.suppress(ConnectionError):  # it was refused half way; the answer tells why
            sock.sendall(data)
        return _read_answer(sock)


def _read_answer(sock: socket.socket) -> RawAnswer:
    got = b""
    while b"\r\n\r\n" not in got:
        piece = _receive(sock)
        if not piece:
            return RawAnswer(0, {}, got, closed=True)
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    while len(body) < int(headers.get("content-length", "0")):
        piece = _receive(sock)
        if not piece:
            break
        body += piece
    status = int(first.split()[1])
    return RawAnswer(status, headers, body, status != 200 and _is_closed(sock))


def _is_closed(sock: socket.socket) -> bool:
    sock.settimeout(CLOSE_SECONDS)
    try:
        return _receive(sock) == b""
    except TimeoutError:
        return False


def _receive(sock: socket.socket) -> bytes:
    try:
        return sock.recv(65_536)
    except ConnectionError:
        return b""
