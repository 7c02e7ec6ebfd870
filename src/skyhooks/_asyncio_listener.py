"""The instance's own listener on asyncio: a byte pump around `ServerConnection`, and one timer for all."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
import traceback
from collections.abc import Callable
from typing import cast

from ._http import (
    CONTINUE,
    HEAD_SECONDS,
    LINGER_SECONDS,
    Event,
    Headers,
    Refusal,
    Request,
    Response,
    ServerConnection,
    http_date,
)
from ._wire import problem

log = logging.getLogger("skyhooks")

BACKLOG = 1024
MAX_CONNECTIONS = 1000
"""Below the 1024 descriptors that a process may have open by default; beyond, the longest idle one makes room."""
SWEEP_SECONDS = 1.0
CLOSE_SECONDS = 1.0
"""How long `close` lets answers flow that are already written."""

Receive = Callable[[list[tuple[str, str]], bytes], Response]


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
        self.receive = receive
        self.dispatch = dispatch
        self.max_body_bytes = max_body_bytes
        self.date: Headers = ()
        self._max_connections = max_connections
        self._ssl_context = ssl_context
        self._server: asyncio.Server | None = None
        self._connections: set[_Inbound] = set()
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
        """Take note of a connection; where there are too many, the one that has been idle longest has to go."""
        self._connections.add(connection)
        if self._closing:
            connection.abort()
        elif len(self._connections) > self._max_connections:
            idle = [one for one in self._connections if one.http.idle and one is not connection]
            min(idle, key=lambda one: one.http.deadline, default=connection).abort()

    def closed(self, connection: _Inbound) -> None:
        """Forget a connection."""
        self._connections.discard(connection)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self.date = (("date", http_date(time.time())),)
        now = loop.time()
        for connection in self._connections:
            if connection.http.expired(now):
                connection.abort()
            else:
                connection.http.rest()
        self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep, loop)


class _Inbound(asyncio.Protocol):
    """One accepted connection."""

    __slots__ = ("_ended", "_listener", "_loop", "_transport", "http")

    def __init__(self, listener: Listener, loop: asyncio.AbstractEventLoop) -> None:
        self._listener = listener
        self._loop = loop
        self._ended: asyncio.Future[None] | None = None
        self.http = ServerConnection(max_body_bytes=listener.max_body_bytes, now=loop.time())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._listener.opened(self)

    def data_received(self, data: bytes) -> None:
        for event in self.http.feed(data, self._loop.time()):
            if self._transport.is_closing():
                return
            self._answer(event)
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

    def _answer(self, event: Event) -> None:
        if isinstance(event, Request):
            response = self._receive(event)
            self._transport.write(
                self.http.respond(
                    response.status,
                    response.body,
                    content_type=response.content_type,
                    headers=response.headers + self._listener.date,
                    close=not event.keep_alive or response.status != 200,
                )
            )
            if response.status != 200:
                self._transport.close()  # whoever was refused has to begin anew
            self._dispatch()
        elif isinstance(event, Refusal):
            body = problem(event.status, event.code)
            self._transport.write(self.http.refuse(event, body, headers=self._listener.date))
        else:
            self._transport.write(CONTINUE)

    def _end(self) -> None:
        """End a connection; a peer that was refused gets time to read why (RFC 9112, section 9.6)."""
        if self.http.lingering and self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _receive(self, request: Request) -> Response:
        try:
            return self._listener.receive(request.headers, request.body)
        except Exception as error:  # noqa: BLE001  # whatever it is, the sender must be answered
            _log("receiving a request", error)
            return Response(500, problem(500, "internal"), "application/problem+json")

    def _dispatch(self) -> None:
        try:
            self._listener.dispatch()
        except Exception as error:  # noqa: BLE001  # the connection has nothing to do with it
            _log("dispatching callbacks", error)


async def _stop_accepting(server: asyncio.Server) -> None:
    """Accept nothing more, and wait until asyncio has made connections of what it had accepted: that takes three turns.

    Closing the server before that leaves such a socket open for ever (3.11: it fails to attach, in silence).
    """
    for listening in server.sockets:
        asyncio.get_running_loop().remove_reader(listening.fileno())
    for _ in range(3):
        await asyncio.sleep(0)


def _log(what: str, error: Exception) -> None:
    # Where it happened, but not what it said: messages of errors quote what they stumbled over.
    where = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s failed: %s\n%s", what, type(error).__name__, where)
