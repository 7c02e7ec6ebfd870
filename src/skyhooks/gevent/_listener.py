"""The instance's own listener on gevent: a stream server, a byte pump around `ServerConnection`, and one sweeper."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent import Greenlet, socket
from gevent.event import Event
from gevent.server import StreamServer

from .._answering import BACKLOG, CLOSE_SECONDS, MAX_CONNECTIONS, SWEEP_SECONDS, Accepted, Answering, Receive
from .._http import HEAD_SECONDS, Request
from .._http import Event as HttpEvent
from ._fork import ForkWatch

READ_BYTES = 65_536


class Listener:
    """Hands POSTs to `receive` and sends what it returns; then calls `dispatch`.

    Neither must wait. `receive` gets header names in lower case.
    """

    def __init__(
        self,
        receive: Receive,
        dispatch: Callable[[], None],
        *,
        max_body_bytes: int,
        max_connections: int = MAX_CONNECTIONS,
        ssl_context: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._answering = Answering(receive, dispatch, max_body_bytes=max_body_bytes)
        self._ssl_context = ssl_context
        self._connections: Accepted[_Inbound] = Accepted(max_connections)
        self._server: StreamServer | None = None
        self._sweeper: Greenlet[..., None] | None = None
        self._fork_watch: ForkWatch | None = None
        self._emptied = Event()
        self._port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen on an address; port 0 is one that the system picks.

        Raises:
            OSError: the address is not this machine's, or is taken.
        """
        listening = _listen(host, port)
        self._port = listening.getsockname()[1]
        self._sweep()
        self._server = StreamServer(listening, self._serve, spawn=gevent.spawn_raw)  # type: ignore[call-overload]  # the stubs know only keyword arguments for it
        self._server.start()
        self._sweeper = gevent.spawn(self._sweep_for_ever)
        self._fork_watch = ForkWatch(self._forget)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    async def close(self) -> None:
        """Accept nothing more, let written answers flow for a second at most, close all connections. Twice is fine."""
        if not self._stop_accepting():
            return
        for connection in self._connections:
            connection.close()
        self._wait_until_empty(CLOSE_SECONDS)
        for connection in self._connections:
            connection.abort()
        self._wait_until_empty(CLOSE_SECONDS)

    # -- inside -----------------------------------------------------------------------------------

    def _stop_accepting(self) -> bool:
        server, self._server = self._server, None
        if server is None:
            return False
        server.close()
        if self._sweeper is not None:
            self._sweeper.kill(block=False)
        if self._fork_watch is not None:
            self._fork_watch.close()
        return True

    def _forget(self) -> None:
        """In a forked child: leave to the parent what is the parent's, and close the copies."""
        self._stop_accepting()
        for connection in self._connections:
            connection.abort()

    def _serve(self, sock: Any, _: object) -> None:
        connection = _Inbound(sock, self._answering, self._clock)
        self._connections.add(connection)
        try:
            if self._server is not None:
                connection.serve(self._ssl_context)
        finally:
            self._connections.discard(connection)
            if not self._connections:
                self._emptied.set()

    def _wait_until_empty(self, seconds: float) -> None:
        self._emptied.clear()
        if self._connections:
            self._emptied.wait(seconds)

    def _sweep_for_ever(self) -> None:
        while True:
            gevent.sleep(SWEEP_SECONDS)
            self._sweep()

    def _sweep(self) -> None:
        self._answering.tick(time.time())
        self._connections.sweep(self._clock())


class _Inbound:
    """One accepted connection."""

    __slots__ = ("_answering", "_clock", "_closing", "_sending", "_sock", "http")

    def __init__(self, sock: Any, answering: Answering, clock: Callable[[], float]) -> None:
        self._sock = sock
        self._answering = answering
        self._clock = clock
        self._sending = False
        self._closing = False
        self.http = answering.connection(clock())

    def serve(self, context: ssl.SSLContext | None) -> None:
        """Take what comes until it ends, or the connection is closed from elsewhere, which is an error here."""
        try:
            if context is not None:
                self._shake_hands(context)
            # No local may hold what was received while this frame is parked in recv: 79 KB instead of a few.
            while not self.http.closing:
                self._take(self._sock.recv(READ_BYTES))
            if self.http.lingering:
                # A peer that was refused gets time to read why (RFC 9112, section 9.6); the sweeper ends it.
                self._sock.shutdown(socket.SHUT_WR)
                while self._sock.recv(READ_BYTES):
                    continue
        except OSError:
            return
        finally:
            self.http.eof()
            self._sock.close()

    def close(self) -> None:
        """Let what is being written flow, then close."""
        self._closing = True
        self.http.eof()
        if not self._sending:
            self._sock.close()

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        self.http.eof()
        self._sock.close()

    def _shake_hands(self, context: ssl.SSLContext) -> None:
        with gevent.Timeout(HEAD_SECONDS, ConnectionAbortedError):
            self._sock = context.wrap_socket(self._sock, server_side=True, do_handshake_on_connect=False)
            self._sock.do_handshake()

    def _take(self, data: bytes) -> None:
        if not data:
            self.http.eof()
            return
        for event in self.http.feed(data, self._clock()):
            if self._closing:
                return
            self._answer(event)

    def _answer(self, event: HttpEvent) -> None:
        answer, close = self._answering.answer(self.http, event)
        try:
            self._sending = True
            self._send(answer)
        finally:
            self._sending = False
            if isinstance(event, Request):
                self._answering.dispatch()
        if close:
            self.abort()

    def _send(self, answer: bytes) -> None:
        sent = self._sock.send(answer)  # all of it, but where the peer does not read; sendall costs more
        if sent < len(answer):
            self._sock.sendall(answer[sent:])


def _listen(host: str, port: int) -> Any:
    family, _, _, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
        0
    ]
    listening = socket.socket(family)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what it accepts inherits it
        listening.bind(address)
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening
