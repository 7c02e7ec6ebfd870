"""What a page does without a browser: reads one web process by EventSource, WebSocket or long poll, from a cursor on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from urllib.parse import urlencode

import msgspec

LINE_BYTES = 1 << 20
POLL_SECONDS = 5


class Told(msgspec.Struct, frozen=True):
    """One message; an event of an EventSource is read as one as well."""

    type: str
    """`hello`, `notification`, `gap` or `reconnect`."""
    cursor: str
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Polled(msgspec.Struct, frozen=True):
    notifications: list[Told]
    cursor: str


async def read_events(host: str, port: int, since: str) -> AsyncGenerator[Told]:
    """Read an EventSource until the connection ends (WHATWG HTML, section 9.2).

    Raises:
        OSError: nobody answers, or not with events.
    """
    async with _asked(host, port, "/events", since=since) as (reader, _):
        fields: dict[str, str] = {}
        while (line := await reader.readline()).endswith(b"\n"):
            name, _, value = line.decode().rstrip("\r\n").partition(": ")
            if name:
                fields[name] = value
                continue
            if "data" in fields:
                yield Told(fields.get("event", "notification"), fields["id"], msgspec.Raw(fields["data"].encode()))
            fields = {}


async def read_polls(host: str, port: int, since: str) -> AsyncGenerator[Told]:
    """Poll for as long as somebody answers.

    Raises:
        OSError: nobody answers any more, or not with notifications.
    """
    timeout = 0  # at first only to learn that somebody is there
    while True:
        async with _asked(host, port, "/poll", since=since, timeout=str(timeout)) as (reader, cursor):
            body = await reader.read()
        polled = msgspec.json.decode(body, type=_Polled) if body else _Polled([], cursor)
        if not timeout:
            yield Told("hello", since)
        for told in polled.notifications:
            yield told
        since, timeout = polled.cursor, POLL_SECONDS


async def read_socket(host: str, port: int, since: str) -> AsyncGenerator[Told]:
    """Read a WebSocket until the connection ends.

    Raises:
        OSError: nobody answers, or not with a WebSocket.
    """
    from wsproto import ConnectionType, WSConnection, events  # gevent's bridge stands on it, and so it is there

    reader, writer = await asyncio.open_connection(host, port)
    wire = WSConnection(ConnectionType.CLIENT)
    try:
        writer.write(wire.send(events.Request(f"{host}:{port}", f"/socket?{urlencode({'since': since})}")))
        pieces: list[str] = []
        while data := await reader.read(LINE_BYTES):
            wire.receive_data(data)
            for event in wire.events():
                if isinstance(event, events.TextMessage):
                    pieces.append(event.data)
                    if event.message_finished:
                        yield msgspec.json.decode("".join(pieces), type=Told)
                        pieces.clear()
                elif isinstance(event, events.Ping):
                    writer.write(wire.send(event.response()))
                elif isinstance(event, events.RejectConnection):
                    raise ConnectionError(f"no WebSocket but status {event.status_code}")
                elif isinstance(event, events.CloseConnection):
                    return
    finally:
        writer.close()


Read = Callable[[str, int, str], AsyncGenerator[Told]]
READ: dict[str, Read] = {"events": read_events, "socket": read_socket, "poll": read_polls}
"""How each transport is read."""


@contextlib.asynccontextmanager
async def _asked(host: str, port: int, path: str, **query: str) -> AsyncIterator[tuple[asyncio.StreamReader, str]]:
    """Ask, and give what comes behind the head, and the cursor in it."""
    reader, writer = await asyncio.open_connection(host, port, limit=LINE_BYTES)
    try:
        # HTTP/1.0, so that no server sends it in chunks.
        writer.write(f"GET {path}?{urlencode(query)} HTTP/1.0\r\nhost: {host}:{port}\r\n\r\n".encode())
        status, headers = await _head(reader)
        if status not in ("200", "204"):
            raise ConnectionError(f"{path} answered {status!r}")
        yield reader, headers.get("skyhooks-cursor", "")
    finally:
        writer.close()


async def _head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    try:
        first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.IncompleteReadError:
        raise ConnectionError("the connection ended early") from None
    named = (line.partition(": ") for line in rest)
    return first.split(" ")[1], {name.lower(): value for name, _, value in named}
