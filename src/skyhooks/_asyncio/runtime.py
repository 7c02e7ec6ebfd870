"""The runtime on plain asyncio."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from .._values import Answer, Post
from ..abc import STORE_SECONDS, Store, Task
from ..exceptions import StoreUnavailable

log = logging.getLogger("skyhooks")

T = TypeVar("T")
A = TypeVar("A")

STORE_THREADS = 4
CANCEL_SECONDS = 1.0
"""How long `close` waits for what it has cancelled: a callback may take a cancellation for one more failure."""


class Poster(Protocol):
    """A client: makes one attempt, and tells faults as values."""

    async def post(self, post: Post) -> Answer:
        """Make one attempt."""

    async def close(self) -> None:
        """Close what it holds open."""


class AsyncioFuture:
    """A future of `abc.Future`'s kind."""

    def __init__(self) -> None:
        self._future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def set(self, value: Any) -> None:
        """Let the value arrive; a second time changes nothing."""
        if not self._future.done():
            self._future.set_result(value)

    async def wait(self, timeout_seconds: float | None) -> bool:
        """Wait until the value is there; False when the time ran out first."""
        if not self._future.done():
            await asyncio.wait((self._future,), timeout=timeout_seconds)
        return self._future.done()

    @property
    def value(self) -> Any:
        """The value."""
        return self._future.result()


class AsyncioRuntime:
    """Store calls in a few threads, posts by the client it is given, everything else by the running loop."""

    now = staticmethod(time.monotonic)
    time = staticmethod(time.time)
    random = staticmethod(random.random)

    def __init__(self, client: Poster, store: Store) -> None:
        self._client = client
        self._store = store
        self._instant_store = getattr(store, "instant", False)
        self._pool = ThreadPoolExecutor(STORE_THREADS, thread_name_prefix="skyhooks-store")
        self._tasks: set[asyncio.Future[Any]] = set()
        self._adopted: set[asyncio.Future[Any]] = set()
        self._closing = False

    def token(self) -> str:
        """Draw 32 hexadecimal digits."""
        return secrets.token_hex(16)

    async def call(self, function: Callable[..., T], /, *args: object) -> T:
        """Run a store's operation in a thread; an instant store's in place."""
        if self._instant_store:
            return function(*args)
        work = asyncio.get_running_loop().run_in_executor(self._pool, function, *args)
        try:
            # asyncio.timeout would throw away an answer that a loop which was busy for so long has not yet seen.
            await asyncio.wait((work,), timeout=STORE_SECONDS)
            if not work.done():
                raise StoreUnavailable(f"the store took longer than {STORE_SECONDS:g} s")
            return work.result()
        finally:
            work.cancel()

    async def post(self, post: Post) -> Answer:
        """Make one attempt."""
        return await self._client.post(post)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> Task:
        """Run a coroutine beside this one; nothing any more once the runtime is being closed."""
        if self._closing:
            coroutine.close()
            return _NOTHING
        task = asyncio.get_running_loop().create_task(coroutine)
        self.keep(task)
        return task

    def keep(self, task: asyncio.Future[Any], failed: Callable[[BaseException], None] | None = None) -> None:
        """Hold a task until it ends; what it raises goes to `failed`, else to the log."""

        def ended(task: asyncio.Future[Any]) -> None:
            self._tasks.discard(task)
            error = None if task.cancelled() else task.exception()
            if error is not None:
                (failed or _log_failure)(error)

        self._tasks.add(task)
        task.add_done_callback(ended)

    def adopt(self, task: asyncio.Future[Any], failed: Callable[[BaseException], None]) -> None:
        """Hold what a callback began; `settle` waits for it."""
        self.keep(task, failed)
        self._adopted.add(task)
        task.add_done_callback(self._adopted.discard)

    def disown(self, task: asyncio.Future[Any] | None) -> None:
        """Neither wait for this one nor cancel it."""
        if task is not None:
            self._adopted.discard(task)
            self._tasks.discard(task)

    async def settle(self, seconds: float) -> None:
        """Wait until what callbacks began has ended, but no longer than this."""
        current = asyncio.current_task()
        waiting = {task for task in self._adopted if task is not current}
        if waiting and seconds > 0:
            _, waiting = await asyncio.wait(waiting, timeout=seconds)
        if waiting:
            log.warning("%d async callbacks had not ended when the registry stopped; they are cancelled", len(waiting))

    def future(self) -> AsyncioFuture:
        """Make a future."""
        return AsyncioFuture()

    async def fan_out(self, function: Callable[[A], Awaitable[None]], items: Sequence[A]) -> None:
        """Run the function on all items at once."""
        if len(items) == 1:
            await function(items[0])
        elif items:
            await asyncio.gather(*map(function, items))

    async def close(self) -> None:
        """Cancel what runs, and wait for it; then close client, threads and the store."""
        self._closing = True
        current = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not current]
        for task in tasks:
            task.cancel()
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=CANCEL_SECONDS)
            if left:
                log.warning("%d tasks go on although they were cancelled; they are left to themselves", len(left))
        await self._client.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        await asyncio.get_running_loop().run_in_executor(None, self._store.close)


class _Nothing:
    def cancel(self) -> None:
        """Do nothing: there is nothing."""


_NOTHING = _Nothing()


def _log_failure(error: BaseException) -> None:
    log.error("a background task failed", exc_info=error)
