"""One attempt on a socket that does not block: goes as far as it can, and says what it waits for."""

from __future__ import annotations

import errno
import math
import os
import socket
import ssl
import time
from collections.abc import Callable, Generator
from typing import NamedTuple, cast

from .._faults import fault_of, no_connection, timed_out
from .._http import ClientConnection
from .._policy import CONNECT_SECONDS
from .._pool import peer
from .._resolver import Addresses, Resolver
from .._urls import Endpoint, UrlPolicy, literal_address, parse_url
from .._values import Answer, Fault, Post
from ..exceptions import UrlBlocked
from ._readiness import POLLIN, POLLOUT, ready_descriptors
from ._turns import Ticket, Turns

READ_BYTES = 65_536
TURN_SECONDS = 0.05
"""How often a post that waits for its turn looks, in case that another thread took the ringing for its own."""

_NOT_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Wait(NamedTuple):
    """What an exchange waits for: a descriptor, or a moment of monotonic time."""

    fd: int
    read: bool = False
    write: bool = False
    until: float = math.inf


class World(NamedTuple):
    """What the exchanges of one client share."""

    policy: UrlPolicy
    turns: Turns
    resolver: Resolver
    context: Callable[[], ssl.SSLContext]


class Exchange:
    """One attempt: `start` it, then `advance` it when its descriptor is ready or its deadline has come.

    Advancing it at any other time does no harm. It must be brought to its answer, or aborted; an exception out of
    a signal handler aborts it.
    """

    def __init__(self, post: Post, world: World) -> None:
        self.answer: Answer | None = None
        """Set once the attempt is over."""
        self._post = post
        self._world = world
        self._steps = self._attempt()
        self._wait = Wait(-1)
        self._overdue = math.inf

    def start(self) -> None:
        """Go as far as it goes without waiting: on a kept connection, to the end of writing."""
        now = time.monotonic()
        self._overdue = now + self._post.timeout_seconds
        self.advance(now)

    def advance(self, now: float) -> Answer | None:
        """Go on as far as it goes without waiting; return the answer once it is there. `now` is monotonic time."""
        if self.answer is None:
            try:
                if now >= self._overdue:
                    self._steps.close()
                    self._end(timed_out(self._post.timeout_seconds))
                else:
                    self._wait = next(self._steps)
            except StopIteration as end:
                self._end(end.value)
            except (OSError, ValueError, UrlBlocked) as error:
                self._end(fault_of(error))
        return self.answer

    def abort(self) -> None:
        """Close what the attempt has open, and give back its turn; after the answer it does nothing."""
        self._steps.close()

    def fileno(self) -> int:
        """Return the descriptor it waits for; several exchanges may wait for one. -1 before the start and at the end."""
        return self._wait.fd

    @property
    def wants_read(self) -> bool:
        """It waits for something to read."""
        return self._wait.read

    @property
    def wants_write(self) -> bool:
        """It waits for room to write; often for something to read as well."""
        return self._wait.write

    @property
    def deadline(self) -> float:
        """When to advance it even if its descriptor is not ready, in monotonic seconds."""
        return min(self._overdue, self._wait.until)

    def _end(self, answer: Answer) -> None:
        self.answer = answer
        self._wait = Wait(-1)

    # -- the attempt ------------------------------------------------------------------------------

    def _attempt(self) -> Generator[Wait, None, Answer]:
        post = self._post
        endpoint = parse_url(post.url)
        ticket = yield from self._take_turn(endpoint)
        connection = cast("_Connection | None", ticket.connection)
        kept: _Connection | None = None
        try:
            if connection is not None:
                answer = yield from connection.exchange(post, endpoint)
                if connection.was_dead(answer):
                    connection.abort()
                    connection = None
            if connection is None:
                connection = _Connection((yield from self._connect(endpoint)))
                yield from connection.secure(endpoint, self._world.context)
                answer = yield from connection.exchange(post, endpoint)
            if connection.reusable:
                kept = connection
            return answer
        finally:
            if kept is None and connection is not None:
                connection.abort()
            self._world.turns.free(ticket, kept)

    def _take_turn(self, endpoint: Endpoint) -> Generator[Wait, None, Ticket]:
        turns = self._world.turns
        ticket = turns.claim(peer(endpoint, own=self._post.own), fresh=self._post.fresh)
        try:
            while not ticket.granted:
                yield Wait(turns.fileno(), read=True, until=time.monotonic() + TURN_SECONDS)
                turns.silence()
        except BaseException:
            turns.cancel(ticket)
            raise
        return ticket

    def _connect(self, endpoint: Endpoint) -> Generator[Wait, None, socket.socket]:
        """Connect to the first address that answers; each gets an even share of the time that is left."""
        addresses = yield from self._resolve(endpoint.host)
        if not self._post.own:
            addresses = self._world.policy.select(endpoint.host, addresses)
        deadline = time.monotonic() + CONNECT_SECONDS
        failure: OSError = no_connection()
        for index, address in enumerate(addresses):
            now = time.monotonic()
            try:
                return (yield from _open(address, endpoint.port, now + (deadline - now) / (len(addresses) - index)))
            except OSError as error:
                failure = error
        raise failure

    def _resolve(self, host: str) -> Generator[Wait, None, Addresses]:
        literal = literal_address(host)
        if literal is not None:
            return [literal]
        results: list[Addresses | OSError | UnicodeError] = []
        ours, theirs = socket.socketpair()

        def found(result: Addresses | OSError | UnicodeError) -> None:
            results.append(result)
            theirs.close()  # which makes ours readable; the resolver's thread is the only one to touch it

        with ours:
            self._world.resolver.resolve(host, found)
            while not results:
                yield Wait(ours.fileno(), read=True)
        if isinstance(results[0], Exception):
            raise results[0]
        return results[0]


def _open(address: str, port: int, until: float) -> Generator[Wait, None, socket.socket]:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield from _await_connection(sock, sock.connect_ex((address, port)), until)
    except BaseException:
        sock.close()
        raise
    return sock


def _await_connection(sock: socket.socket, code: int, until: float) -> Generator[Wait, None, None]:
    while code == errno.EINPROGRESS:
        if time.monotonic() >= until:
            raise no_connection()
        yield Wait(sock.fileno(), write=True, until=until)
        code = _connected(sock)
    if code != 0:
        raise OSError(code, os.strerror(code))


def _connected(sock: socket.socket) -> int:
    """Return 0 for a connected socket, EINPROGRESS for one that is not yet, or what went wrong."""
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code == 0 and not _is_ready(sock, POLLOUT):
        return errno.EINPROGRESS
    return code


def _is_ready(sock: socket.socket, mask: int) -> bool:
    return bool(ready_descriptors({sock.fileno(): mask}, 0))


class _Connection:
    """One connection to an instance."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._http = ClientConnection()
        self._unsent = False

    def secure(self, endpoint: Endpoint, context: Callable[[], ssl.SSLContext]) -> Generator[Wait, None, None]:
        """Shake hands where the URL asks for TLS."""
        if not endpoint.tls:
            return
        self._sock = sock = context().wrap_socket(
            self._sock, server_hostname=endpoint.host, do_handshake_on_connect=False
        )
        while True:
            try:
                sock.do_handshake()
            except ssl.SSLWantReadError:
                yield Wait(sock.fileno(), read=True)
            except ssl.SSLWantWriteError:
                yield Wait(sock.fileno(), write=True)
            else:
                return

    def exchange(self, post: Post, endpoint: Endpoint) -> Generator[Wait, None, Answer]:
        """Send a request and read its answer, which may come before the request has been sent to its end."""
        unsent = memoryview(self._http.request(post, endpoint.host_header, endpoint.target))
        while True:
            unsent = self._send(unsent)
            self._unsent = bool(unsent)
            yield Wait(self._sock.fileno(), read=True, write=self._unsent)
            answer = self._receive()
            if answer is not None:
                return answer

    @property
    def reusable(self) -> bool:
        """The next request may go this way."""
        return self._http.reusable and not self._unsent

    def was_dead(self, answer: Answer) -> bool:
        """Tell whether the peer had closed this connection before it read the request: as if it had not been sent."""
        return answer.fault is Fault.RESET and not self._http.started

    def alive(self) -> bool:
        """Tell whether the peer has neither ended it nor sent what nobody asked for."""
        return not _is_ready(self._sock, POLLIN)

    def abort(self) -> None:
        """Close it at once."""
        self._sock.close()

    def _send(self, data: memoryview) -> memoryview:
        try:
            while data:
                data = data[self._sock.send(data) :]
        except _NOT_YET:
            return data
        except ConnectionError:
            return data[:0]  # why it was not wanted may be there to be read
        return data

    def _receive(self) -> Answer | None:
        while True:
            try:
                data = self._sock.recv(READ_BYTES)
            except _NOT_YET:
                return None
            except (ConnectionError, ssl.SSLEOFError):
                return self._http.reset()
            answer = self._http.feed(data) if data else self._http.eof()
            if answer is not None:
                return answer
