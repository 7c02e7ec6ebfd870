"""The client on gevent's sockets: a byte pump around `ClientConnection`, under the attempts that all worlds share."""

from __future__ import annotations

import contextlib
import ssl
from select import POLLIN
from typing import Any

import gevent
from gevent import Greenlet, monkey, socket

from .._attempts import Attempts
from .._driver import run
from .._faults import fault_of, no_connection, timed_out
from .._http import ClientConnection
from .._policy import MAX_CONNECTIONS
from .._resolver import Addresses, lookup
from .._urls import Endpoint, UrlPolicy
from .._values import Answer, Post
from ..exceptions import UrlBlocked
from ._runtime import GeventFuture

READ_BYTES = 65_536

_poll = monkey.get_original("select", "poll")  # gevent's switches, even where it is not to wait


class Client:
    """Makes attempts: over connections that are kept, to addresses that the policy has seen, within their time.

    No redirects, no proxies from the environment, no decompression, no cookies. `post` never raises, but can be killed,
    or timed out, like any wait; its connection is closed then.
    """

    def __init__(
        self, policy: UrlPolicy, *, max_connections: int = MAX_CONNECTIONS, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        self._open: set[_Outbound] = set()
        network = _Network(self._open, ssl_context)
        self._attempts = Attempts(network, policy, max_connections=max_connections)

    def post(self, post: Post) -> Answer:
        """Make one attempt."""
        timeout = gevent.Timeout.start_new(post.timeout_seconds)
        try:
            return run(self._attempts.make(post))
        except gevent.Timeout as error:
            if error is not timeout:
                raise
            return timed_out(post.timeout_seconds)
        except (OSError, ValueError, UrlBlocked) as error:
            return fault_of(error)
        finally:
            timeout.close()

    def close(self) -> None:
        """Close all connections; attempts under way end with a fault. Twice is fine."""
        self._attempts.close()
        for connection in tuple(self._open):
            connection.abort()


class _Network:
    """Names by gevent's resolver, connections by its sockets."""

    def __init__(self, opened: set[_Outbound], ssl_context: ssl.SSLContext | None) -> None:
        self._open = opened
        self._ssl_context = ssl_context

    async def resolve(self, host: str) -> Addresses:
        return lookup(host)

    async def connect(self, address: str, endpoint: Endpoint, seconds: float) -> _Outbound:
        sock = _open(address, endpoint.port, seconds)
        try:
            if endpoint.tls:
                sock = self._context().wrap_socket(sock, server_hostname=endpoint.host, do_handshake_on_connect=False)
                sock.do_handshake()
        except BaseException:
            sock.close()
            raise
        return _Outbound(sock, self._open)

    def future(self) -> GeventFuture:
        return GeventFuture()

    def _context(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
        return self._ssl_context


class _Outbound:
    """One connection to an instance."""

    __slots__ = ("_http", "_open", "_sender", "_sock")

    def __init__(self, sock: Any, opened: set[_Outbound]) -> None:
        self._sock = sock
        self._open = opened
        self._sender: Greenlet[..., None] | None = None
        self._http = ClientConnection()
        opened.add(self)

    async def exchange(self, post: Post, endpoint: Endpoint) -> Answer:
        """Send a request and read its answer, which may come before the request has been sent to its end."""
        data = self._http.request(post, endpoint.host_header, endpoint.target)
        with contextlib.suppress(ConnectionError):  # why it was not wanted may be there to be read
            sent = self._sock.send(data)  # blocks only where there is no room at all, which an idle connection has
            if sent < len(data):
                self._sender = gevent.spawn(_send, self._sock, memoryview(data)[sent:])
        while True:
            answer = self._receive()
            if answer is not None:
                return answer

    @property
    def reusable(self) -> bool:
        """The next request may go this way."""
        return self._http.reusable and (self._sender is None or self._sender.ready())

    @property
    def started(self) -> bool:
        """Something of the answer has arrived."""
        return self._http.started

    def alive(self) -> bool:
        """Tell whether the peer has neither ended it nor sent what nobody asked for."""
        poller = _poll()
        poller.register(self._sock, POLLIN)
        return not poller.poll(0)

    def abort(self) -> None:
        """Close it at once; whoever waits for it is told so."""
        self._open.discard(self)
        if self._sender is not None:
            self._sender.kill(block=False)
        self._sock.close()

    def _receive(self) -> Answer | None:
        try:
            data = self._sock.recv(READ_BYTES)
        except OSError as error:
            closed_here = self not in self._open
            if closed_here or isinstance(error, (ConnectionError, ssl.SSLEOFError)):
                return self._http.reset()
            raise
        return self._http.feed(data) if data else self._http.eof()


def _open(address: str, port: int, seconds: float) -> Any:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(seconds)
        sock.connect((address, port))
        sock.settimeout(None)
    except TimeoutError as error:
        sock.close()
        raise no_connection() from error
    except BaseException:
        sock.close()
        raise
    return sock


def _send(sock: Any, data: memoryview) -> None:
    try:
        sock.sendall(data)
    except OSError:
        return  # whoever reads the answer will see why
