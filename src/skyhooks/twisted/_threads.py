"""A few threads of their own for a store's blocking calls, ended before the reactor is."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from ..abc import STORE_SECONDS, Store
from ..exceptions import StoreUnavailable
from ._deferred import Shared, inside
from ._reactor import Reactor

T = TypeVar("T")

STORE_THREADS = 4


class StoreThreads:
    """Runs a store's operations, an instant store's in place, all others on a private pool.

    The reactor's own pool looks up names, and is the application's too: neither may hold up a store or its end, nor a
    locked store them. The pool is started when it is needed, and ends with `close`, or else with the reactor: a thread that
    is left would keep the process alive.
    """

    def __init__(self, reactor: Reactor, store: Store) -> None:
        self._reactor = reactor
        self._store = store
        self._instant = getattr(store, "instant", False)
        self._pool: ThreadPool | None = None
        self._trigger: object = None
        self._closed = False
        self._ended: Shared[None] | None = None

    async def call(self, function: Callable[..., T], /, *args: object) -> T:
        """Run an operation and wait for what it returns.

        Raises:
            StoreUnavailable: also when it takes longer than `STORE_SECONDS`; it may still take effect.
        """
        if self._instant:
            return function(*args)
        pool = self._started()
        work: _Work[T] = _Work(function, args)
        overdue = self._reactor.callLater(STORE_SECONDS, work.deliver)
        try:
            pool.callInThreadWithCallback(lambda *result: self._arrived(work, *result), work.run)
            return await inside(work.answer)
        finally:
            if overdue.active():
                overdue.cancel()

    async def close(self) -> None:
        """Let what runs come to its end, then end the threads and close the store, without blocking the reactor.

        Twice is fine, also at once.
        """
        if self._ended is None:
            self._ended = Shared()
            self._begin_end(self._ended)
        await inside(self._ended.wait())

    def _started(self) -> ThreadPool:
        if self._closed:
            raise StoreUnavailable("the store has been closed")
        if self._pool is None:
            self._pool = ThreadPool(0, STORE_THREADS, "skyhooks-store")
            self._pool.start()
            self._trigger = self._reactor.addSystemEventTrigger("during", "shutdown", self._shut_down)
        return self._pool

    def _arrived(self, work: _Work[T], success: bool, result: Any) -> None:
        """Take what a thread has for the reactor; in that thread."""
        work.result = (success, result)
        self._reactor.callFromThread(work.deliver)

    def _begin_end(self, ended: Shared[None]) -> None:
        self._closed = True
        if self._trigger is not None:
            self._reactor.removeSystemEventTrigger(self._trigger)
            self._trigger = None
        if self._instant:
            ended.fire(self._end())
        else:
            Thread(target=self._end_for, args=(ended,), name="skyhooks-store-end").start()

    def _end_for(self, ended: Shared[None]) -> None:
        """End, and tell the reactor; in a thread."""
        self._reactor.callFromThread(ended.fire, self._end())

    def _end(self) -> Failure | None:
        try:
            pool, self._pool = self._pool, None
            if pool is not None:
                pool.stop()
            self._store.close()
        except Exception:  # noqa: BLE001  # it is told to whoever waits
            return Failure()
        return None

    def _shut_down(self) -> None:
        """End with the reactor, which waits."""
        self._closed, self._trigger = True, None
        failure = self._end()
        if failure is not None:
            failure.raiseException()


class _Work(Generic[T]):
    """One operation, between a thread and the reactor."""

    def __init__(self, function: Callable[..., T], args: tuple[object, ...]) -> None:
        self.answer: Deferred[T] = Deferred()
        self.result: tuple[bool, Any] | None = None
        self._function = function
        self._args = args

    def run(self) -> T | None:
        """Run it, unless it was given up before a thread was free."""
        return None if self.answer.called else self._function(*self._args)

    def deliver(self) -> None:
        """Give the result to whoever waits; where there is none yet, its time is over.

        A reactor that was busy for so long may come to the time's end before it comes to what has arrived meanwhile.
        """
        if self.answer.called:
            return
        if self.result is None:
            self.answer.errback(StoreUnavailable(f"the store took longer than {STORE_SECONDS:g} s"))
        else:
            success, result = self.result
            (self.answer.callback if success else self.answer.errback)(result)
