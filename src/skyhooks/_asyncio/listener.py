"""The instance's own listener on asyncio: a byte pump around `ServerConnection`, and one timer for all."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import cast

from .._answering import BACKLOG, CLOSE_SECONDS, MAX_CONNECTIONS, SWEEP_SECONDS, Accepted, Answering, Receive
from .._http import HEAD_SECONDS, LINGER_SECONDS, Request


class Listener:
    """Hands POSTs to `receive` and sends what it returns; then calls `dispatch`, when the answer is on its way.

    Both run on the loop and must not wait. `receive` gets header names in lower case.
    """

    def __init__(
        self,
        receive: Receive,
        dispatch: Callable[[], None],
        *,
        max_body_bytes: int,
        max_connections: int = MAX_CONNECTIONS,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.answering = Answering(receive, dispatch, max_body_bytes=max_body_bytes)
        self._ssl_context = ssl_context
        self._server: asyncio.Server | None = None
        self._connections: Accepted[_Inbound] = Accepted(max_connections)
        self._sweeper: asyncio.TimerHandle | None = None
        self._closing = False
        self._port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen on an address; port 0 is one that the system picks.

        Raises:
            OSError: the address is not this machine's, or is taken.

        """
        loop = asyncio.get_running_loop()
        context = self._ssl_context
        self._server = await loop.create_server(
            lambda: _Inbound(self, loop),
            host,
            port,
            ssl=context,
            backlog=BACKLOG,
            ssl_handshake_timeout=HEAD_SECONDS if context else None,
            ssl_shutdown_timeout=LINGER_SECONDS if context else None,
        )
        self._port = self._server.sockets[0].getsockname()[1]
        self._sweep(loop)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    async def close(self) -> None:
        """Accept nothing more, let written answers flow for a second at most, close all connections. Twice is fine."""
        if self._server is None or self._sweeper is None:
            return
        self._closing = True
        self._sweeper.cancel()
        await _stop_accepting(self._server)
        self._server.close()
        ended = [connection.close() for connection in self._connections]
        if ended:
            await asyncio.wait(ended, timeout=CLOSE_SECONDS)
        for connection in self._connections:
            connection.abort()
        if ended:
            await asyncio.wait(ended)
        await self._server.wait_closed()
        self._server = None

    # -- what its connections call ----------------------------------------------------------------

    def opened(self, connection: _Inbound) -> None:
        """Take note of a connection."""
        self._connections.add(connection)
        if self._closing:
            connection.abort()

    def closed(self, connection: _Inbound) -> None:
        """Forget a connection."""
        self._connections.discard(connection)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self.answering.tick(time.time())
        self._connections.sweep(loop.time())
        self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep, loop)


class _Inbound(asyncio.Protocol):
    """One accepted connection."""

    __slots__ = ("_answering", "_ended", "_listener", "_loop", "_transport", "http")

    def __init__(self, listener: Listener, loop: asyncio.AbstractEventLoop) -> None:
        self._listener = listener
        self._answering = listener.answering
        self._loop = loop
        self._ended: asyncio.Future[None] | None = None
        self.http = self._answering.connection(loop.time())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._listener.opened(self)

    def data_received(self, data: bytes) -> None:
        for event in self.http.feed(data, self._loop.time()):
            if self._transport.is_closing():
                return
            answer, close = self._answering.answer(self.http, event)
            self._transport.write(answer)
            if close:
                self._transport.close()
            if isinstance(event, Request):
                self._answering.dispatch()
        if self.http.closing:
            self._end()

    def eof_received(self) -> None:
        self.http.eof()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self.http.eof()
        self._listener.closed(self)
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def pause_writing(self) -> None:
        """A peer that does not read its answers gets no further ones."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def close(self) -> asyncio.Future[None]:
        """Let what is written flow, then close; the future tells when."""
        if self._ended is None:
            self._ended = self._loop.create_future()
        self.http.eof()
        self._transport.close()
        return self._ended

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def _end(self) -> None:
        """End a connection; a peer that was refused gets time to read why (RFC 9112, section 9.6)."""
        if self.http.lingering and self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()


async def _stop_accepting(server: asyncio.Server) -> None:
    """Accept nothing more, and wait until asyncio has made connections of what it had accepted: that takes three turns.

    Closing the server before that leaves such a socket open for ever (3.11: it fails to attach, in silence).
    """
    for listening in server.sockets:
        asyncio.get_running_loop().remove_reader(listening.fileno())
    for _ in range(3):
        await asyncio.sleep(0)
