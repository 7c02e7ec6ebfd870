"""The client on Twisted: a byte pump around `ClientConnection`, under the attempts that all worlds share."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from .._attempts import Attempts
from .._faults import fault_of, timed_out
from .._http import ClientConnection
from .._policy import MAX_CONNECTIONS
from .._resolver import Addresses
from .._urls import Endpoint, UrlPolicy
from .._values import Answer, Fault, Post
from ..exceptions import UrlBlocked
from ._deferred import Cancelled, inside, within
from ._errors import NotHttp, is_cancelled, os_error
from ._names import resolve
from ._reactor import Reactor, Transport, Turns
from ._tasks import TwistedFuture
from ._tls import ClientTls


class Client:
    """Makes attempts: over connections that are kept, to addresses that the policy has seen, within their time.

    No redirects, no proxies from the environment, no decompression, no cookies. `post` never raises, but is
    cancelled like whatever awaits it; its connection is closed then.
    """

    def __init__(
        self,
        reactor: Reactor,
        turns: Turns,
        policy: UrlPolicy,
        tls: ClientTls,
        *,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._reactor = reactor
        self._network = _Network(self, reactor, turns, tls)
        self._attempts = Attempts(self._network, policy, max_connections=max_connections)
        self._open: set[_Outbound] = set()
        self._closed = False
        self._all_lost = TwistedFuture(reactor, turns)

    async def post(self, post: Post) -> Answer:
        """Make one attempt."""
        try:
            return await within(self._reactor, post.timeout_seconds, self._attempts.make(post))
        except TimeoutError as error:
            return fault_of(error) if error.args else timed_out(post.timeout_seconds)
        except NotHttp as error:
            return Answer(fault=Fault.PROTOCOL, error=f"{Fault.PROTOCOL.value}: {error}")
        except (OSError, ValueError, UrlBlocked) as error:
            return fault_of(error)

    async def close(self) -> None:
        """Close all connections; attempts under way end with a fault. Twice is fine."""
        self._closed = True
        self._attempts.close()
        self._network.close()
        for connection in tuple(self._open):
            connection.abort()
        if self._open:
            await self._all_lost.wait(None)

    def opened(self, connection: _Outbound) -> None:
        """Take note of a connection."""
        self._open.add(connection)
        if self._closed:
            connection.abort()

    def lost(self, connection: _Outbound) -> None:
        """Forget a connection."""
        self._open.discard(connection)
        self._attempts.lost(connection)
        if self._closed and not self._open:
            self._all_lost.set(None)


class _Network:
    """Names and connections of a reactor."""

    def __init__(self, client: Client, reactor: Reactor, turns: Turns, tls: ClientTls) -> None:
        self._client = client
        self._reactor = reactor
        self._turns = turns
        self._tls = tls
        self._connecting: set[Deferred[Any]] = set()
        self._closed = False

    async def resolve(self, host: str) -> Addresses:
        return await resolve(self._reactor, host)

    async def connect(self, address: str, endpoint: Endpoint, seconds: float) -> _Outbound:
        if self._closed:
            raise ConnectionAbortedError("this client has been closed")
        try:
            connection = await self._open(address, endpoint, seconds)
        except Exception as error:
            if self._closed:
                raise ConnectionAbortedError("this client has been closed") from error
            if is_cancelled(error):
                raise Cancelled from error
            raise os_error(error, endpoint.host) from error
        if endpoint.tls:
            await self._shake_hands(connection, endpoint.host)
        return connection

    def future(self) -> TwistedFuture:
        return TwistedFuture(self._reactor, self._turns)

    def close(self) -> None:
        """Give up what is being connected."""
        self._closed = True
        for connecting in tuple(self._connecting):
            connecting.cancel()

    async def _open(self, address: str, endpoint: Endpoint, seconds: float) -> _Outbound:
        kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        to: Any = kind(self._reactor, address, endpoint.port, timeout=seconds)
        if endpoint.tls:
            to = wrapClientTLS(self._tls.creator(endpoint.host), to, cast("Any", self._reactor))
        factory = Factory.forProtocol(partial(_Outbound, self._client, tls=endpoint.tls))
        factory.noisy = False
        connecting: Deferred[Any] = to.connect(factory)
        self._connecting.add(connecting)
        try:
            connection: _Outbound = await connecting
            return connection
        finally:
            self._connecting.discard(connecting)

    async def _shake_hands(self, connection: _Outbound, host: str) -> None:
        try:
            await inside(connection.shaken())
        except BaseException as error:
            connection.abort()
            if isinstance(error, Exception):
                raise os_error(error, host) from error
            raise


@implementer(IHandshakeListener, IPushProducer)
class _Outbound(Protocol):
    """One connection to an instance."""

    def __init__(self, client: Client, *, tls: bool) -> None:
        self._client = client
        self._tls = tls
        self._handshake: Deferred[None] | None = None
        self._answer: Deferred[Answer] | None = None
        self._shaken = False
        self._lost: Failure | None = None
        self._choked = False
        self.http = ClientConnection()

    async def exchange(self, post: Post, endpoint: Endpoint) -> Answer:
        """Send a request and wait for its answer."""
        data = self.http.request(post, endpoint.host_header, endpoint.target)
        answer: Deferred[Answer] = Deferred()
        self._answer = answer
        self._transport.write(data)
        if self._lost is not None:
            self._take(self.http.reset())
        return await inside(answer)

    @property
    def reusable(self) -> bool:
        """The next request may go this way."""
        return self.http.reusable and not self._choked and self.alive()

    @property
    def started(self) -> bool:
        """Something of the answer has arrived."""
        return self.http.started

    def alive(self) -> bool:
        """Tell whether it has neither ended nor is about to."""
        return self._lost is None and not self._transport.disconnecting

    def abort(self) -> None:
        """Close at once; who has answered is spared the reset that Twisted makes of it."""
        if self.http.reusable and not self._choked and not self._tls:
            self._transport.loseConnection()
        else:
            self._transport.abortConnection()

    def shaken(self) -> Deferred[None]:
        """Wait for the end of the TLS handshake; fails as the connection does."""
        if self._lost is not None:
            return fail(self._lost)
        if self._shaken:
            return succeed(None)
        self._handshake = Deferred()
        return self._handshake

    # -- what Twisted calls -----------------------------------------------------------------------

    def connectionMade(self) -> None:
        self._transport = cast("Transport", self.transport)
        self._transport.setTcpNoDelay(True)
        self._transport.registerProducer(self, True)
        self._client.opened(self)

    def handshakeCompleted(self) -> None:
        self._shaken = True
        if self._handshake is not None:
            handshake, self._handshake = self._handshake, None
            handshake.callback(None)

    def dataReceived(self, data: bytes) -> None:
        if self._answer is None:
            self.abort()  # nobody asked: what comes would be taken for the next answer
        else:
            self._take(self.http.feed(data))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = reason
        self._client.lost(self)
        handshake, self._handshake = self._handshake, None
        if handshake is not None and not handshake.called:
            handshake.errback(reason)
        self._take(self.http.eof() if reason.check(ConnectionDone) else self.http.reset())

    def pauseProducing(self) -> None:
        """More than 64 KiB of the request have not been sent yet."""
        self._choked = True

    def resumeProducing(self) -> None:
        self._choked = False

    def stopProducing(self) -> None:
        """There is nothing to stop: the request is with the transport."""

    def _take(self, answer: Answer | None) -> None:
        waiting = self._answer
        if answer is not None and waiting is not None:
            self._answer = None
            if not waiting.called:
                waiting.callback(answer)
