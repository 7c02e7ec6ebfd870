"""As much of an HTTP server as the demo's page and its event streams need; on loopback, for browsers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

import msgspec

from .web import REFUSAL, may_ask

HEAD_SECONDS = 10.0
HEAD_BYTES = 16_384


class Request(msgspec.Struct, frozen=True):
    """A request without its body; header names in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]


class Malformed(Exception):
    """The request cannot be read."""


class Exchange:
    """One request, and the way back."""

    def __init__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        self.request = request
        self._writer = writer

    async def answer(
        self, status: HTTPStatus, body: bytes = b"", media_type: str = "text/plain; charset=utf-8", **headers: str
    ) -> None:
        """Send a whole answer."""
        head = {"content-type": media_type, "content-length": str(len(body)), "cache-control": "no-store"}
        self._head(status, {**head, **headers})
        self._writer.write(body)
        await self._writer.drain()

    async def begin(self, headers: Mapping[str, str]) -> None:
        """Begin an answer whose end is the end of the connection."""
        self._head(HTTPStatus.OK, headers)
        await self._writer.drain()

    async def send(self, part: bytes) -> None:
        """Send some more of it; wait while the reader is slow."""
        self._writer.write(part)
        await self._writer.drain()

    def _head(self, status: HTTPStatus, headers: Mapping[str, str]) -> None:
        lines = [f"HTTP/1.1 {status.value} {status.phrase}", "connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))


Handler = Callable[[Exchange], Awaitable[None]]


class Server:
    """Answers each connection's one request with `handler`, which ends when the client goes."""

    def __init__(self, handler: Handler, origins: Sequence[str] = ()) -> None:
        self._handler = handler
        self._origins = origins
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self, host: str, port: int, *, reserved: bool = False) -> None:
        """Listen; a reserved port is one that a socket of the same user is bound to.

        Raises:
            OSError: the port is taken.
        """
        self._server = await asyncio.start_server(
            self._accept, host, port, limit=HEAD_BYTES, reuse_port=reserved or None
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End all connections."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError, asyncio.CancelledError):
            writer.transport.abort()  # the client is gone, or we go
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                request = await _read_request(reader)
        except Malformed:
            await Exchange(Request("", "", {}, {}), writer).answer(HTTPStatus.BAD_REQUEST)
            return
        exchange = Exchange(request, writer)
        if not may_ask(request.headers.get("host"), request.headers.get("origin"), self._origins):
            await exchange.answer(HTTPStatus.FORBIDDEN, REFUSAL)
            return
        await _while_connected(reader, self._handler(exchange))
        with contextlib.suppress(OSError):
            await writer.drain()


async def _read_request(reader: asyncio.StreamReader) -> Request:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *rest = head.rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ")
        parts = urlsplit(target)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        raise Malformed from None
    named = (line.partition(":") for line in rest)
    headers = {name.strip().lower(): value.strip() for name, _, value in named}
    return Request(method, parts.path, dict(parse_qsl(parts.query)), headers)


async def _while_connected(reader: asyncio.StreamReader, work: Awaitable[None]) -> None:
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_end_of(reader))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        if not working.done():
            working.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)
    if not working.cancelled():
        working.result()


async def _end_of(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(HEAD_BYTES):
            pass
