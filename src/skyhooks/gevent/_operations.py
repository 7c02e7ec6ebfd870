"""A store's operations under gevent: in place, in a greenlet, or in a few native threads; none stops the hub."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

import gevent
from gevent.event import AsyncResult
from gevent.threadpool import ThreadPool

from ..abc import STORE_SECONDS, Store
from ..exceptions import StoreUnavailable
from ._greenlets import Ended

T = TypeVar("T")

THREADS = 4


class Operations:
    """Runs operations one by one or a few at once, each within `STORE_SECONDS`, its turn included.

    Whoever is killed, or runs out of time, leaves: what has begun goes on to its end, what has not is never begun. The
    threads run nothing but operations; a store's locks that are held there must be native ones.
    """

    def __init__(self, store: Store) -> None:
        self._instant = getattr(store, "instant", False)
        self._start = self._in_greenlet if getattr(store, "cooperative", False) else self._in_thread
        self._turns = _Turns(THREADS)
        self._pool: ThreadPool | None = None

    def call(self, function: Callable[..., T], /, *args: object) -> T:
        """Run an operation, and block this greenlet only.

        Raises:
            StoreUnavailable: also when its time is over; it may still take effect.
        """
        if self._instant:
            return function(*args)
        deadline = time.monotonic() + STORE_SECONDS
        work = self._start(deadline, function, *args)
        work.wait(deadline - time.monotonic())  # in a hub that was busy, answers come before timers
        ended = work.get_nowait() if work.ready() else None
        if ended is None:
            raise _too_long()
        return ended.get()

    def close(self) -> None:
        """End the threads, when what they do is done: `STORE_SECONDS` are waited for that."""
        pool, self._pool = self._pool, None
        if pool is not None:
            gevent.with_timeout(STORE_SECONDS, pool.kill, timeout_value=None)

    def _in_greenlet(self, _: float, function: Callable[..., T], *args: object) -> AsyncResult[Ended[T]]:
        work: AsyncResult[Ended[T]] = AsyncResult()
        gevent.spawn(lambda: work.set(Ended(function, *args)))
        return work

    def _in_thread(self, deadline: float, function: Callable[..., T], *args: object) -> AsyncResult[Ended[T]]:
        # The pool has turns of its own, but no limit to how long they are waited for.
        if not self._turns.take(max(0.0, deadline - time.monotonic())):
            raise _too_long()
        try:
            if self._pool is None:
                self._pool = ThreadPool(THREADS)
            work: AsyncResult[Ended[T]] = self._pool.spawn(Ended, function, *args)
        except BaseException:  # no thread is left, or this one is not the hub's
            self._turns.give_back()
            raise
        work.rawlink(lambda _: self._turns.give_back())
        return work


class _Turns:
    """First come, first served; gevent's semaphores let whoever comes at the right moment go before all who wait."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[AsyncResult[None]] = deque()

    def take(self, seconds: float) -> bool:
        """Wait for a turn; False when the time ran out first."""
        if self._free:
            self._free -= 1
            return True
        turn: AsyncResult[None] = AsyncResult()
        self._waiting.append(turn)
        try:
            turn.wait(seconds)
        except BaseException:
            self._leave(turn)
            raise
        if not turn.ready():
            self._leave(turn)
        return turn.ready()

    def give_back(self) -> None:
        """Let the next one have a turn that was taken."""
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._free += 1

    def _leave(self, turn: AsyncResult[None]) -> None:
        if turn.ready():
            self.give_back()
        else:
            self._waiting.remove(turn)


def _too_long() -> StoreUnavailable:
    return StoreUnavailable(f"the store took longer than {STORE_SECONDS:g} s")
