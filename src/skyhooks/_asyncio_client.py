"""The client on asyncio: a byte pump around `ClientConnection`, and a pool in which posts wait for their turn."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import deque
from typing import TypeVar, cast

from ._faults import fault_of, no_connection, timed_out
from ._http import ClientConnection
from ._policy import CONNECT_SECONDS, MAX_CONNECTIONS
from ._pool import Peer, Pool, peer
from ._resolver import Addresses, Resolver
from ._urls import Endpoint, UrlPolicy, literal_address, parse_url
from ._values import Answer, Fault, Post
from .exceptions import UrlBlocked

T = TypeVar("T")

HANDSHAKE_SECONDS = 30.0
"""Never reached: an attempt's own time is shorter; asyncio wants a number."""


class Client:
    """Makes attempts: over connections that are kept, to addresses that the policy has seen, within their time.

    No redirects, no proxies from the environment, no decompression, no cookies. `post` never raises, but is
    cancelled like any coroutine; its connection is closed then.
    """

    def __init__(
        self, policy: UrlPolicy, *, max_connections: int = MAX_CONNECTIONS, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        self._policy = policy
        self._ssl_context = ssl_context
        self._pool: Pool[_Outbound] = Pool(max_connections)
        self._resolver = Resolver()
        self._waiting: deque[tuple[Peer | None, asyncio.Future[_Outbound | None]]] = deque()
        self._open: set[_Outbound] = set()
        self._closed = False

    async def post(self, post: Post) -> Answer:
        """Make one attempt."""
        if self._closed:
            return Answer(fault=Fault.RESET, error="this client has been closed")
        try:
            endpoint = parse_url(post.url)
            async with asyncio.timeout(post.timeout_seconds):
                return await self._attempt(post, endpoint)
        except TimeoutError as error:
            return fault_of(error) if error.args else timed_out(post.timeout_seconds)
        except (OSError, ValueError, UrlBlocked) as error:
            return fault_of(error)

    async def close(self) -> None:
        """Close all connections; attempts under way end with a fault. Twice is fine."""
        self._closed = True
        self._pool.drain()
        ended = [connection.end() for connection in self._open]
        if ended:
            await asyncio.wait(ended)

    # -- one attempt ------------------------------------------------------------------------------

    async def _attempt(self, post: Post, endpoint: Endpoint) -> Answer:
        its_peer = peer(endpoint, own=post.own)
        connection = await self._claim(its_peer, fresh=post.fresh)
        kept: _Outbound | None = None
        try:
            if connection is not None:
                answer = await connection.exchange(post, endpoint)
                if connection.was_dead(answer):
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

    async def _connect(self, post: Post, endpoint: Endpoint) -> _Outbound:
        addresses = await self._resolve(endpoint.host)
        if not post.own:
            addresses = self._policy.select(endpoint.host, addresses)
        loop = asyncio.get_running_loop()
        sock = await _connect_first(addresses, endpoint.port)
        try:
            _, connection = await loop.create_connection(
                lambda: _Outbound(self, loop),
                sock=sock,
                ssl=self._context() if endpoint.tls else None,
                server_hostname=endpoint.host if endpoint.tls else None,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if endpoint.tls else None,
            )
        except BaseException:
            sock.close()
            raise
        return connection

    async def _resolve(self, host: str) -> Addresses:
        literal = literal_address(host)
        if literal is not None:
            return [literal]
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Addresses | OSError | UnicodeError] = loop.create_future()

        def found(result: Addresses | OSError | UnicodeError) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(settle, future, result)

        self._resolver.resolve(host, found)
        result = await future
        if isinstance(result, Exception):
            raise result
        return result

    def _context(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
        return self._ssl_context

    # -- whose turn it is -------------------------------------------------------------------------

    async def _claim(self, its_peer: Peer, *, fresh: bool) -> _Outbound | None:
        """Wait for a connection to that peer, or for the right to open one (None); first come, first served."""
        if not self._waiting:
            connection = None if fresh else self._pool.reuse(its_peer)
            if connection is not None or self._pool.reserve():
                return connection
        turn: asyncio.Future[_Outbound | None] = asyncio.get_running_loop().create_future()
        entry = (None if fresh else its_peer, turn)
        self._waiting.append(entry)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                with contextlib.suppress(ValueError):  # passed over already
                    self._waiting.remove(entry)
            else:
                self._free(its_peer, turn.result())
            raise

    def _free(self, its_peer: Peer, connection: _Outbound | None) -> None:
        """Hand what an attempt has used to the one that has waited longest."""
        while self._waiting:
            wanted, turn = self._waiting.popleft()
            if turn.done():
                continue
            if connection is not None and wanted != its_peer:
                connection.abort()
                connection = None
            turn.set_result(connection)
            return
        if connection is not None and self._closed:
            connection.abort()
            connection = None
        if connection is None:
            self._pool.release()
        else:
            self._pool.give_back(its_peer, connection)

    def opened(self, connection: _Outbound) -> None:
        """Take note of a connection."""
        self._open.add(connection)

    def lost(self, connection: _Outbound) -> None:
        """Forget a connection."""
        self._open.discard(connection)
        self._pool.discard(connection)


class _Outbound(asyncio.Protocol):
    """One connection to an instance."""

    __slots__ = ("_client", "_ended", "_loop", "_transport", "_waiter", "http")

    def __init__(self, client: Client, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop
        self._waiter: asyncio.Future[Answer] | None = None
        self._ended: asyncio.Future[None] | None = None
        self.http = ClientConnection()

    def exchange(self, post: Post, endpoint: Endpoint) -> asyncio.Future[Answer]:
        """Send a request; the future is its answer."""
        data = self.http.request(post, endpoint.host_header, endpoint.target)
        self._waiter = waiter = self._loop.create_future()
        self._transport.write(data)
        return waiter

    @property
    def reusable(self) -> bool:
        """The next request may go this way."""
        transport = self._transport
        return self.http.reusable and not transport.get_write_buffer_size() and not transport.is_closing()

    def was_dead(self, answer: Answer) -> bool:
        """Tell whether the peer had closed this connection before it read the request: as if it had not been sent."""
        return answer.fault is Fault.RESET and not self.http.started

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def end(self) -> asyncio.Future[None]:
        """Close at once; the future tells when the socket is closed."""
        if self._ended is None:
            self._ended = self._loop.create_future()
        self.abort()
        return self._ended

    # -- what asyncio calls -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._client.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:
            self.abort()  # nobody asked: what comes would be taken for the next answer
        else:
            self._take(self.http.feed(data))

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.lost(self)
        self._take(self.http.eof() if exc is None else self.http.reset())
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def _take(self, answer: Answer | None) -> None:
        waiter = self._waiter
        if answer is not None and waiter is not None:
            self._waiter = None
            settle(waiter, answer)


async def _connect_first(addresses: Addresses, port: int) -> socket.socket:
    """Connect to the first address that answers; each gets an even share of the time that is left."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + CONNECT_SECONDS
    failure: OSError = no_connection()
    for index, address in enumerate(addresses):
        now = loop.time()
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        try:
            sock.setblocking(False)
            async with asyncio.timeout_at(now + (deadline - now) / (len(addresses) - index)):
                await loop.sock_connect(sock, (address, port))
        except OSError as error:
            sock.close()
            failure = error if error.args else no_connection()
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure


def settle(future: asyncio.Future[T], value: T) -> None:
    """Give a future its value, unless whoever waited has left."""
    if not future.done():
        future.set_result(value)
