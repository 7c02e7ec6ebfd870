"""The client of threads: makes one attempt and waits, or many at once from one thread."""

from __future__ import annotations

import os
import ssl
from collections import deque
from collections.abc import Iterable, Sequence
from math import inf
from time import monotonic

from .._policy import MAX_CONNECTIONS
from .._resolver import Resolver
from .._urls import UrlPolicy
from .._values import Answer, Post
from ._exchange import Exchange, World
from ._readiness import POLLIN, POLLOUT, ready_descriptors
from ._turns import Turns


class SocketClient:
    """Makes attempts: over connections that are kept, to addresses that the policy has seen, within their time.

    No redirects, no proxies from the environment, no decompression, no cookies. Nothing raises but what a signal
    handler does, and then the sockets of what was under way are closed. Thread-safe; in a child process it begins
    anew and leaves its parent's connections alone.
    """

    def __init__(
        self, policy: UrlPolicy, *, max_connections: int = MAX_CONNECTIONS, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        self._policy = policy
        self._max_connections = max_connections
        self._ssl_context = ssl_context
        self._world = self._new_world()

    def post(self, post: Post) -> Answer:
        """Make one attempt."""
        exchange = self.exchange(post)
        try:
            exchange.start()
            while exchange.answer is None:
                ready((exchange,))
                exchange.advance(monotonic())
        finally:
            exchange.abort()
        return exchange.answer

    def post_all(self, posts: Sequence[Post]) -> list[Answer]:
        """Make attempts at once, and return their answers in the same order.

        All requests are written before an answer is waited for. Where there are more posts than connections, the
        later ones start, and their time runs, as earlier ones end.
        """
        later = deque(self.exchange(post) for post in posts)
        exchanges = tuple(later)
        running: list[Exchange] = []
        try:
            while later or running:
                while later and len(running) < self._max_connections:
                    running.append(later.popleft())
                    running[-1].start()
                for exchange in ready(running):
                    exchange.advance(monotonic())
                running = [exchange for exchange in running if exchange.answer is None]
        finally:
            for exchange in running:
                exchange.abort()
        return [exchange.answer for exchange in exchanges if exchange.answer is not None]

    def exchange(self, post: Post) -> Exchange:
        """Prepare an attempt, for a loop of your own around `ready`; its time runs from its start."""
        if self._world.turns.pid != os.getpid():
            self._world.turns.forget()
            self._world = self._new_world()
        return Exchange(post, self._world)

    def close(self) -> None:
        """Close idle connections; those in use are closed when their attempt ends. Twice is fine."""
        self._world.turns.close()

    def _new_world(self) -> World:
        return World(self._policy, Turns(self._max_connections), Resolver(), self._context)

    def _context(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
        return self._ssl_context


def ready(exchanges: Iterable[Exchange], *, until: float = inf) -> list[Exchange]:
    """Wait until some of these exchanges can go on, or have their answer, or for `until`; return those."""
    exchanges = tuple(exchanges)
    answered = [exchange for exchange in exchanges if exchange.answer is not None]
    if answered or not exchanges:
        return answered
    masks: dict[int, int] = {}
    for exchange in exchanges:
        fd, mask = exchange.fileno(), (POLLIN if exchange.wants_read else 0) | (POLLOUT if exchange.wants_write else 0)
        masks[fd] = masks.get(fd, 0) | mask
        until = min(until, exchange.deadline)
    found = ready_descriptors(masks, until - monotonic())
    now = monotonic()
    return [exchange for exchange in exchanges if exchange.fileno() in found or exchange.deadline <= now]
