"""A client's attempts over connections that are kept: async, names no loop; each world brings its network."""

from __future__ import annotations

import ssl
import time
from collections import deque
from typing import Generic, Protocol, TypeVar

from ._faults import no_connection
from ._policy import CONNECT_SECONDS
from ._pool import Closable, Peer, Pool, peer
from ._resolver import Addresses
from ._urls import Endpoint, UrlPolicy, literal_address, parse_url
from ._values import Answer, Fault, Post
from .abc import Future


class Connection(Closable, Protocol):
    """One connection to an instance, which carries one request at a time."""

    async def exchange(self, post: Post, endpoint: Endpoint) -> Answer:
        """Send a request and wait for its answer; what happens to the connection is a value too."""

    @property
    def reusable(self) -> bool:
        """The next request may go this way."""

    def alive(self) -> bool:
        """Tell whether the peer has neither ended it nor sent what nobody asked for, as far as is known."""

    @property
    def started(self) -> bool:
        """Something of the answer has arrived."""


C = TypeVar("C", bound=Connection)


C_co = TypeVar("C_co", bound=Connection, covariant=True)


class Network(Protocol[C_co]):
    """What attempts need of a world. What is awaited may be stopped at any time, as the world stops things."""

    async def resolve(self, host: str) -> Addresses:
        """Return a name's addresses, in the system's order.

        Raises:
            OSError, UnicodeError: it has none.
        """

    async def connect(self, address: str, endpoint: Endpoint, seconds: float) -> C_co:
        """Connect to that very address within so many seconds; shake hands where the URL asks for TLS.

        Raises:
            OSError: there is no connection; an `ssl.SSLError` where there was one, but no trust.
        """

    def future(self) -> Future[None]:
        """Make a future of this world."""


class _Turn(Generic[C]):
    """One post's place in the queue; when it is granted, it has a connection or may open one."""

    __slots__ = ("connection", "granted", "rung", "wanted")

    def __init__(self, wanted: Peer | None, rung: Future[None]) -> None:
        self.wanted = wanted
        self.rung = rung
        self.granted = False
        self.connection: C | None = None


class Attempts(Generic[C]):
    """Makes attempts to addresses that the policy has seen; first come, first served where connections are few.

    For worlds in which nothing runs between two awaits. Whoever makes an attempt bounds its time and may stop it
    anywhere; its connection is closed then.
    """

    def __init__(self, network: Network[C], policy: UrlPolicy, *, max_connections: int) -> None:
        self._network = network
        self._policy = policy
        self._pool: Pool[C] = Pool(max_connections)
        self._waiting: deque[_Turn[C]] = deque()
        self._closed = False

    async def make(self, post: Post) -> Answer:
        """Make one attempt.

        Raises:
            OSError, ValueError, UrlBlocked: what `fault_of` names.
        """
        if self._closed:
            return Answer(fault=Fault.RESET, error="this client has been closed")
        endpoint = parse_url(post.url)
        its_peer = peer(endpoint, own=post.own)
        connection = await self._claim(its_peer, fresh=post.fresh)
        kept: C | None = None
        try:
            if connection is not None:
                answer = await connection.exchange(post, endpoint)
                if _was_dead(connection, answer):
                    connection.abort()
                    connection = None
            if connection is None:
                connection = await self._connect(post, endpoint)
                answer = await connection.exchange(post, endpoint)
            if connection.reusable:
                kept = connection
            return answer
        finally:
            if kept is None and connection is not None:
                connection.abort()
            self._free(its_peer, kept)

    def lost(self, connection: C) -> None:
        """Forget an idle connection that its peer has closed."""
        self._pool.discard(connection)

    def close(self) -> None:
        """Close idle connections and keep none from now on. Twice is fine."""
        self._closed = True
        for connection in self._pool.drain():
            connection.abort()

    async def _connect(self, post: Post, endpoint: Endpoint) -> C:
        """Connect to the first address that answers; each gets an even share of the time that is left."""
        literal = literal_address(endpoint.host)
        addresses = [literal] if literal is not None else await self._network.resolve(endpoint.host)
        if not post.own:
            addresses = self._policy.select(endpoint.host, addresses)
        deadline = time.monotonic() + CONNECT_SECONDS
        failure: OSError = no_connection()
        for index, address in enumerate(addresses):
            share = (deadline - time.monotonic()) / (len(addresses) - index)
            try:
                return await self._network.connect(address, endpoint, max(share, 0.001))
            except ssl.SSLError:
                raise  # it answered
            except OSError as error:
                failure = error
        raise failure

    # -- whose turn it is -------------------------------------------------------------------------

    async def _claim(self, its_peer: Peer, *, fresh: bool) -> C | None:
        """Wait for a connection to that peer, or for the right to open one (None)."""
        if not self._waiting:
            connection = None if fresh else self._reuse(its_peer)
            if connection is not None or self._pool.reserve():
                return connection
        turn: _Turn[C] = _Turn(None if fresh else its_peer, self._network.future())
        self._waiting.append(turn)
        try:
            await turn.rung.wait(None)
        except BaseException:
            if turn.granted:
                self._free(its_peer, turn.connection)
            else:
                self._waiting.remove(turn)
            raise
        if turn.connection is not None and not turn.connection.alive():  # lost since it was handed over
            turn.connection.abort()
            return None
        return turn.connection

    def _reuse(self, its_peer: Peer) -> C | None:
        while (connection := self._pool.reuse(its_peer)) is not None and not connection.alive():
            self._pool.release()
            connection.abort()
        return connection

    def _free(self, its_peer: Peer, connection: C | None) -> None:
        """Hand what an attempt has used to the one that has waited longest."""
        if self._waiting:
            turn = self._waiting.popleft()
            if turn.wanted == its_peer:
                turn.connection = connection
            elif connection is not None:
                connection.abort()
            turn.granted = True
            turn.rung.set(None)
        elif connection is None or self._closed:
            self._pool.release()
            if connection is not None:
                connection.abort()
        else:
            self._pool.give_back(its_peer, connection)


def _was_dead(connection: Connection, answer: Answer) -> bool:
    """Tell whether the peer had closed a connection before it read the request: as if it had not been sent."""
    return answer.fault is Fault.RESET and not connection.started
