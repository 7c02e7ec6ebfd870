"""The instance's own listener on Twisted: a byte pump around `ServerConnection`, and one timer for all."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any, cast

from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, wrapServerTLS
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions
from twisted.python.failure import Failure
from zope.interface import implementer

from .._answering import BACKLOG, CLOSE_SECONDS, MAX_CONNECTIONS, SWEEP_SECONDS, Accepted, Answering, Receive
from .._http import HEAD_SECONDS, Request
from ._deferred import inside
from ._reactor import AfterWrites, Port, Reactor, Timer, Transport, Turns
from ._tasks import TwistedFuture


class Listener:
    """Hands POSTs to `receive` and sends what it returns; then calls `dispatch`, when the answer is on its way.

    Both run on the reactor's thread and must not wait. `receive` gets header names in lower case.
    """

    def __init__(
        self,
        reactor: Reactor,
        turns: Turns,
        receive: Receive,
        dispatch: Callable[[], None],
        *,
        max_body_bytes: int,
        max_connections: int = MAX_CONNECTIONS,
        tls: CertificateOptions | None = None,
    ) -> None:
        self.reactor = reactor
        self.answering = Answering(receive, dispatch, max_body_bytes=max_body_bytes)
        self.dispatch = AfterWrites(reactor, self.answering.dispatch)
        self._tls = tls
        self._listening: Port | None = None
        self._connections: Accepted[_Inbound] = Accepted(max_connections)
        self._sweeper: Timer | None = None
        self._all_lost = TwistedFuture(reactor, turns)
        self._closing = False
        self._port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen on an address; port 0 is one that the system picks.

        Raises:
            OSError: the address is not this machine's, or is taken.
        """
        kind = TCP6ServerEndpoint if ":" in host else TCP4ServerEndpoint
        endpoint: Any = kind(self.reactor, port, BACKLOG, host)
        if self._tls is not None:
            endpoint = wrapServerTLS(cast("Any", self._tls), endpoint, cast("Any", self.reactor))
        factory = _Inbounds.forProtocol(partial(_Inbound, self))
        try:
            self._listening = listening = await inside(endpoint.listen(factory))
        except CannotListenError as error:
            raise error.socketError from error
        self._port = listening.getHost().port
        self._sweep()

    @property
    def half_closes(self) -> bool:
        """Whether a connection can end writing and go on reading; over TLS, Twisted reads on until the peer ends too."""
        return self._tls is None

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    async def close(self) -> None:
        """Accept nothing more, let written answers flow for a second at most, close all connections. Twice is fine."""
        if self._listening is None or self._sweeper is None:
            return
        self._closing = True
        listening, self._listening = self._listening, None
        self._sweeper.cancel()
        await inside(maybeDeferred(listening.stopListening))
        for connection in self._connections:
            connection.close()
        if self._connections:
            await self._all_lost.wait(CLOSE_SECONDS)
        for connection in self._connections:
            connection.abort()
        if self._connections:
            await self._all_lost.wait(None)

    # -- what its connections call ----------------------------------------------------------------

    def opened(self, connection: _Inbound) -> None:
        """Take note of a connection."""
        self._connections.add(connection)
        if self._closing:
            connection.abort()

    def closed(self, connection: _Inbound) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        if self._closing and not self._connections:
            self._all_lost.set(None)

    def _sweep(self) -> None:
        self.answering.tick(time.time())
        now = self.reactor.seconds()
        self._connections.sweep(now)
        for connection in self._connections:
            if connection.shakes_hands_since <= now - HEAD_SECONDS:
                connection.abort()
        self._sweeper = self.reactor.callLater(SWEEP_SECONDS, self._sweep)


class _Inbounds(Factory):
    """Makes connections; of it, Twisted logs where it listens."""

    noisy = False

    def logPrefix(self) -> str:
        return "The skyhooks listener"


@implementer(IHalfCloseableProtocol, IHandshakeListener, IPushProducer)
class _Inbound(Protocol):
    """One accepted connection."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._answering = listener.answering
        self._ending = False
        now = listener.reactor.seconds()
        self.shakes_hands_since = inf if listener.half_closes else now
        self.http = listener.answering.connection(now)

    def connectionMade(self) -> None:
        self._transport = cast("Transport", self.transport)
        self._transport.setTcpNoDelay(True)
        self._transport.registerProducer(self, True)
        self._listener.opened(self)

    def handshakeCompleted(self) -> None:
        self.shakes_hands_since = inf

    def dataReceived(self, data: bytes) -> None:
        for event in self.http.feed(data, self._listener.reactor.seconds()):
            if self._transport.disconnecting:
                return
            answer, close = self._answering.answer(self.http, event)
            self._transport.write(answer)
            if isinstance(event, Request):
                self._listener.dispatch()
            if close:
                self.close()
        if self.http.closing:
            self._end()

    def readConnectionLost(self) -> None:
        """The peer has ended, and may still read."""
        self.close()

    def writeConnectionLost(self) -> None:
        """We have ended, and may still read."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002  # Twisted's signature
        self.http.eof()
        self._listener.closed(self)

    def pauseProducing(self) -> None:
        """A peer that does not read its answers gets no further ones."""
        self._transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._transport.resumeProducing()

    def stopProducing(self) -> None:
        """There is nothing to stop: what was answered is with the transport."""

    def close(self) -> None:
        """Let what is written flow, then close."""
        self._ending = True
        self.http.eof()
        self._transport.unregisterProducer()
        self._transport.loseConnection()

    def abort(self) -> None:
        """Close at once; who is idle is spared the reset that Twisted makes of it."""
        if self.http.idle and self._listener.half_closes and not self._ending:
            self.close()
        else:
            self._transport.abortConnection()

    def _end(self) -> None:
        """End a connection; a peer that was refused gets time to read why (RFC 9112, section 9.6)."""
        if self._ending:
            return
        if self.http.lingering and self._listener.half_closes:
            self._ending = True
            self._transport.unregisterProducer()
            self._transport.loseWriteConnection()
        else:
            self.close()
