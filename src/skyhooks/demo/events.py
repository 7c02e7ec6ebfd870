"""EventSource: what a web process sends of a subscription, and a client that resumes (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from urllib.parse import urlencode

import msgspec

from .._notification import Gap, Notification

MEDIA_TYPE = "text/event-stream"
RETRY_MS = 300
LINE_BYTES = 1 << 20


class Hello(msgspec.Struct, frozen=True):
    """The first event: who serves this stream."""

    process: str
    framework: str
    pid: int
    instance_id: str


class Told(msgspec.Struct, frozen=True):
    """A notification as its reader gets it."""

    id: str
    key: str
    sent_at: float
    replayed: bool
    data: msgspec.Raw


class Event(msgspec.Struct, frozen=True):
    """One event as a client reads it."""

    kind: str
    data: bytes
    cursor: str | None


def encode_hello(hello: Hello) -> bytes:
    """Return the first event; it has no id, so that the client's cursor stays what it is."""
    return f"retry: {RETRY_MS}\nevent: hello\ndata: ".encode() + msgspec.json.encode(hello) + b"\n\n"


def encode_event(what: Notification | Gap) -> bytes:
    """Return one event whose id is the cursor behind it: a browser gives it back when it connects again."""
    if isinstance(what, Gap):
        kind, body = "gap", msgspec.json.encode({"key": what.key, "reason": what.reason})
    else:
        kind = "notification"
        told = Told(what.id, what.key, what.sent_at, what.replayed, msgspec.Raw(what.raw))
        body = msgspec.json.encode(told)
    return f"id: {what.cursor}\nevent: {kind}\ndata: ".encode() + body + b"\n\n"


async def read_events(host: str, port: int, *, since: str) -> AsyncGenerator[Event, None]:
    """Yield the events behind a cursor until the connection ends.

    Raises:
        OSError: nobody answers, or not with events.
    """
    reader, writer = await asyncio.open_connection(host, port, limit=LINE_BYTES)
    try:
        # HTTP/1.0, so that no server sends it in chunks.
        head = (
            f"GET /events?{urlencode({'since': since})} HTTP/1.0\r\nhost: {host}:{port}\r\naccept: {MEDIA_TYPE}\r\n\r\n"
        )
        writer.write(head.encode())
        status, _, _ = (await _head(reader)).partition(b"\r\n")
        if b" 200 " not in status:
            raise ConnectionError(f"no events but {status.decode('latin-1')!r}")
        async for event in _parse(reader):
            yield event
    finally:
        writer.close()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        raise ConnectionError("the connection ended early") from None


async def _parse(reader: asyncio.StreamReader) -> AsyncGenerator[Event, None]:
    fields: dict[str, str] = {}
    while (line := await reader.readline()).endswith(b"\n"):
        name, _, value = line.decode().rstrip("\r\n").partition(": ")
        if name:
            fields[name] = value
            continue
        if "data" in fields:
            yield Event(fields.get("event", "message"), fields["data"].encode(), fields.get("id"))
        fields = {}
