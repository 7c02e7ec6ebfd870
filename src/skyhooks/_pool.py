"""Which connections a client holds open, and how many: never more than so many in all. Waits for nothing."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from ._urls import Endpoint


class Closable(Protocol):
    """A connection."""

    def abort(self) -> None:
        """Close it at once."""


C = TypeVar("C", bound=Closable)
Peer = tuple[str, str, int, bool]


def peer(endpoint: Endpoint, *, own: bool) -> Peer:
    """Return what two posts must share to share a connection; what is open to our own URL, no policy has seen."""
    return endpoint.scheme, endpoint.host, endpoint.port, own


class Pool(Generic[C]):
    """Counts connections in use, and keeps idle ones, those that were used last at the end.

    There are few of them, so looking through all of them is cheaper than an index.
    """

    def __init__(self, max_connections: int) -> None:
        self._max_connections = max_connections
        self._busy = 0
        self._idle: dict[C, Peer] = {}

    def reuse(self, wanted: Peer) -> C | None:
        """Take the idle connection to that peer which was used last; it is in use from now on."""
        for connection, its_peer in reversed(self._idle.items()):
            if its_peer == wanted:
                del self._idle[connection]
                self._busy += 1
                return connection
        return None

    def reserve(self) -> bool:
        """Count one more in use, before it is opened; an idle one makes room where there is none."""
        if self._busy >= self._max_connections:
            return False
        if self._busy + len(self._idle) >= self._max_connections:
            oldest = next(iter(self._idle))
            self.discard(oldest)
            oldest.abort()
        self._busy += 1
        return True

    def give_back(self, its_peer: Peer, connection: C) -> None:
        """Keep a connection that was in use."""
        self._busy -= 1
        self._idle[connection] = its_peer

    def release(self) -> None:
        """Count one less in use: it was closed, or never opened."""
        self._busy -= 1

    def discard(self, connection: C) -> None:
        """Forget an idle connection, if it is one."""
        self._idle.pop(connection, None)

    def drain(self) -> list[C]:
        """Forget all idle connections, and return them."""
        idle = list(self._idle)
        self._idle.clear()
        return idle
