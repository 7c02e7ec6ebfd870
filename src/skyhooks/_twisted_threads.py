"""A few threads of their own for a store's blocking calls, ended before the reactor is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from ._twisted_deferred import inside
from ._twisted_reactor import Reactor
from .abc import STORE_SECONDS, Store
from .exceptions import StoreUnavailable

T = TypeVar("T")

STORE_THREADS = 4


class StoreThreads:
    """Runs a store's operations, an instant store's in place, all others on a private pool.

    The reactor's own pool looks up names, and is the application's too: neither may hold up a store, nor a locked
    store them. The pool is started when it is needed, and ends with `close`, or else with the reactor: a thread that
    is left would keep the process alive.
    """

    def __init__(self, reactor: Reactor, store: Store) -> None:
        self._reactor = reactor
        self._store = store
        self._instant = getattr(store, "instant", False)
        self._pool: ThreadPool | None = None
        self._trigger: object = None
        self._closed = False

    async def call(self, function: Callable[..., T], /, *args: object) -> T:
        """Run an operation and wait for what it returns.

        Raises:
            StoreUnavailable: also when it takes longer than `STORE_SECONDS`; it may still take effect.
        """
        if self._instant:
            return function(*args)
        work: Deferred[T] = Deferred()

        def run() -> T | None:
            return None if work.called else function(*args)  # called: given up before a thread was free

        def ran(success: bool, result: Any) -> None:
            self._reactor.callFromThread(work.callback if success else work.errback, result)

        self._started().callInThreadWithCallback(ran, run)
        return await inside(work.addTimeout(STORE_SECONDS, cast("Any", self._reactor), _overdue))

    async def close(self) -> None:
        """Let what runs come to its end, then end the threads and close the store, without blocking the reactor."""
        self._closed = True
        if self._trigger is not None:
            self._reactor.removeSystemEventTrigger(self._trigger)
            self._trigger = None
        if self._instant:
            self._store.close()
        else:
            reactor = cast("Any", self._reactor)
            await inside(deferToThreadPool(reactor, reactor.getThreadPool(), self._end))

    def _started(self) -> ThreadPool:
        if self._closed:
            raise StoreUnavailable("the store has been closed")
        if self._pool is None:
            self._pool = ThreadPool(0, STORE_THREADS, "skyhooks-store")
            self._pool.start()
            self._trigger = self._reactor.addSystemEventTrigger("during", "shutdown", self._end)
        return self._pool

    def _end(self) -> None:
        self._closed = True
        if self._pool is not None:
            self._pool.stop()
        self._store.close()


def _overdue(result: Any, seconds: float) -> Any:
    if isinstance(result, Failure):
        raise StoreUnavailable(f"the store took longer than {seconds:g} s")
    return result
