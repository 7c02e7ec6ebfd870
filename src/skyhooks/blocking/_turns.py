"""Whose turn it is to use one of a client's sockets, where the posts come from many threads."""

from __future__ import annotations

import os
import socket
import threading
from collections import deque
from typing import Protocol

from .._pool import Peer, Pool


class Connection(Protocol):
    """A connection that can be kept."""

    def alive(self) -> bool:
        """Tell whether the peer has neither ended it nor sent what nobody asked for."""

    def abort(self) -> None:
        """Close it at once."""


class Ticket:
    """One post's place in the queue; when it is granted, it has a connection or may open one."""

    __slots__ = ("connection", "granted", "peer", "wanted")

    def __init__(self, its_peer: Peer, *, fresh: bool) -> None:
        self.peer = its_peer
        self.wanted = None if fresh else its_peer
        self.granted = False
        self.connection: Connection | None = None


class Turns:
    """A pool behind a lock, with a queue; nobody waits in here. Belongs to the process that made it."""

    def __init__(self, max_connections: int) -> None:
        self.pid = os.getpid()
        self._lock = threading.Lock()
        self._pool: Pool[Connection] = Pool(max_connections)
        self._queue: deque[Ticket] = deque()
        self._bell: tuple[socket.socket, socket.socket] | None = None
        self._closed = False

    def claim(self, its_peer: Peer, *, fresh: bool) -> Ticket:
        """Take a turn if there is one, else queue for it; give it back with `free`, or `cancel` it while it waits."""
        ticket = Ticket(its_peer, fresh=fresh)
        with self._lock:
            if not self._queue:
                ticket.connection = self._reuse(ticket)
                ticket.granted = ticket.connection is not None or self._pool.reserve()
            if not ticket.granted:
                self._queue.append(ticket)
        return ticket

    def free(self, ticket: Ticket, connection: Connection | None) -> None:
        """End a turn; the connection, if it can be used again, goes to whoever has waited longest, or is kept."""
        with self._lock:
            if self._queue:
                self._grant(self._queue.popleft(), ticket.peer, connection)
            elif connection is None or self._closed:
                self._pool.release()
                _abort(connection)
            else:
                self._pool.give_back(ticket.peer, connection)

    def cancel(self, ticket: Ticket) -> None:
        """Leave the queue; a turn that was granted meanwhile goes to the next."""
        with self._lock:
            waiting = not ticket.granted
            if waiting:
                self._queue.remove(ticket)
        if not waiting:
            self.free(ticket, ticket.connection)

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when a turn is granted: to anyone, so look, and silence it."""
        with self._lock:
            if self._bell is None:
                self._bell = socket.socketpair()
                for end in self._bell:
                    end.setblocking(False)
            return self._bell[0].fileno()

    def silence(self) -> None:
        """Take the ringing as heard."""
        with self._lock:
            if self._bell is not None:
                try:
                    self._bell[0].recv(4096)
                except BlockingIOError:
                    return  # another thread was faster

    def close(self) -> None:
        """Close idle connections, and keep none from now on."""
        with self._lock:
            self.forget()

    def forget(self) -> None:
        """Close the same without the lock: in a child process, where a thread that is not there may hold it.

        What is closed is this process's copy: nothing is sent, and the parent's connection stays open.
        """
        self._closed = True
        for connection in self._pool.drain():
            connection.abort()
        for end in self._bell or ():
            end.close()
        self._bell = None

    def _reuse(self, ticket: Ticket) -> Connection | None:
        while ticket.wanted is not None:
            connection = self._pool.reuse(ticket.wanted)
            if connection is None or connection.alive():
                return connection
            self._pool.release()
            connection.abort()
        return None

    def _grant(self, ticket: Ticket, its_peer: Peer, connection: Connection | None) -> None:
        if ticket.wanted == its_peer:
            ticket.connection = connection
        else:
            _abort(connection)
        ticket.granted = True
        if self._bell is not None:
            try:
                self._bell[1].send(b"!")
            except BlockingIOError:
                return  # it rings already


def _abort(connection: Connection | None) -> None:
    if connection is not None:
        connection.abort()
