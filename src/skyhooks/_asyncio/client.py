"""The client on asyncio: a byte pump around `ClientConnection`, under the attempts that all worlds share."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import TypeVar, cast

from .._attempts import Attempts
from .._faults import fault_of, no_connection, timed_out
from .._http import ClientConnection
from .._policy import MAX_CONNECTIONS
from .._resolver import Addresses, Resolver
from .._urls import Endpoint, UrlPolicy
from .._values import Answer, Post
from ..exceptions import UrlBlocked
from .runtime import AsyncioFuture

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
        self._network = _Network(self, ssl_context)
        self._attempts = Attempts(self._network, policy, max_connections=max_connections)
        self._open: set[_Outbound] = set()

    async def post(self, post: Post) -> Answer:
        """Make one attempt."""
        try:
            async with asyncio.timeout(post.timeout_seconds):
                return await self._attempts.make(post)
        except TimeoutError as error:
            return fault_of(error) if error.args else timed_out(post.timeout_seconds)
        except (OSError, ValueError, UrlBlocked) as error:
            return fault_of(error)

    async def close(self) -> None:
        """Close all connections; attempts under way end with a fault. Twice is fine."""
        self._attempts.close()
        ended = [connection.end() for connection in self._open]
        if ended:
            await asyncio.wait(ended)

    def opened(self, connection: _Outbound) -> None:
        """Take note of a connection."""
        self._open.add(connection)

    def lost(self, connection: _Outbound) -> None:
        """Forget a connection."""
        self._open.discard(connection)
        self._attempts.lost(connection)


class _Network:
    """Names and connections of a running loop."""

    def __init__(self, client: Client, ssl_context: ssl.SSLContext | None) -> None:
        self._client = client
        self._ssl_context = ssl_context
        self._resolver = Resolver()

    async def resolve(self, host: str) -> Addresses:
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

    async def connect(self, address: str, endpoint: Endpoint, seconds: float) -> _Outbound:
        loop = asyncio.get_running_loop()
        sock = await _open(address, endpoint.port, seconds)
        try:
            _, connection = await loop.create_connection(
                lambda: _Outbound(self._client, loop),
                sock=sock,
                ssl=self._context() if endpoint.tls else None,
                server_hostname=endpoint.host if endpoint.tls else None,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if endpoint.tls else None,
            )
        except BaseException:
            sock.close()
            raise
        return connection

    def future(self) -> AsyncioFuture:
        return AsyncioFuture()

    def _context(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
        return self._ssl_context


class _Outbound(asyncio.Protocol):
    """One connection to an instance."""

    __slots__ = ("_client", "_ended", "_loop", "_transport", "_waiter", "http")

    def __init__(self, client: Client, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop
        self._waiter: asyncio.Future[Answer] | None = None
        self._ended: asyncio.Future[None] | None = None
        self.http = ClientConnection()

    async def exchange(self, post: Post, endpoint: Endpoint) -> Answer:
        """Send a request and wait for its answer."""
        data = self.http.request(post, endpoint.host_header, endpoint.target)
        waiter: asyncio.Future[Answer] = self._loop.create_future()
        self._waiter = waiter
        self._transport.write(data)
        return await waiter

    @property
    def reusable(self) -> bool:
        """The next request may go this way."""
        transport = self._transport
        return self.http.reusable and not transport.get_write_buffer_size() and not transport.is_closing()

    @property
    def started(self) -> bool:
        """Something of the answer has arrived."""
        return self.http.started

    def alive(self) -> bool:
        """Tell whether it has neither ended nor is about to."""
        return not self._transport.is_closing()

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


async def _open(address: str, port: int, seconds: float) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        sock.setblocking(False)
        async with asyncio.timeout(seconds) as limit:
            await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except BaseException as error:
        sock.close()
        if isinstance(error, TimeoutError) and limit.expired():
            raise no_connection() from error
        raise
    return sock


def settle(future: asyncio.Future[T], value: T) -> None:
    """Give a future its value, unless whoever waited has left."""
    if not future.done():
        future.set_result(value)
