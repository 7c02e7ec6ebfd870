"""The runtime on Twisted: store calls on a private pool of threads, everything else by the reactor."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar, cast

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from .._values import Answer, Post
from ..abc import Store
from ._deferred import Shared, inside, outside
from ._reactor import Reactor, Turns
from ._tasks import TwistedFuture, TwistedTask
from ._threads import StoreThreads

log = Logger("skyhooks")

T = TypeVar("T")
A = TypeVar("A")

CANCEL_SECONDS = 1.0
"""How long `close` waits for what it has cancelled: a callback may take a cancellation for one more failure."""


class Poster(Protocol):
    """A client: makes one attempt, and tells faults as values."""

    async def post(self, post: Post) -> Answer:
        """Make one attempt."""

    async def close(self) -> None:
        """Close what it holds open."""


class TwistedRuntime:
    """Store calls in a few threads, posts by the client it is given, everything else by the reactor."""

    now = staticmethod(time.monotonic)
    time = staticmethod(time.time)
    random = staticmethod(random.random)

    def __init__(self, reactor: Reactor, turns: Turns, client: Poster, store: Store) -> None:
        self._reactor = reactor
        self._turns = turns
        self._client = client
        self._threads = StoreThreads(reactor, store)
        self._tasks: set[TwistedTask] = set()
        self._adopted: set[TwistedTask] = set()
        self._closing = False
        self._closed: Shared[None] | None = None

    def token(self) -> str:
        """Draw 32 hexadecimal digits."""
        return secrets.token_hex(16)

    async def call(self, function: Callable[..., T], /, *args: object) -> T:
        """Run a store's operation in a thread; an instant store's in place."""
        return await self._threads.call(function, *args)

    async def post(self, post: Post) -> Answer:
        """Make one attempt."""
        return await self._client.post(post)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await inside(deferLater(cast("Any", self._reactor), seconds))

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> TwistedTask:
        """Run a coroutine from a later turn on; nothing any more once the runtime is being closed."""
        task = self._task()
        if self._closing:
            coroutine.close()
        else:
            task.begin(coroutine)
        return task

    def adopt(self, deferred: Deferred[Any], failed: Callable[[BaseException], None]) -> TwistedTask:
        """Hold what a callback began; `settle` waits for it."""
        task = self._task()
        self._adopted.add(task)
        task.follow(deferred, failed)
        return task

    async def settle(self, seconds: float) -> None:
        """Wait until what callbacks began has ended, but no longer than this."""
        until = self.now() + seconds
        left = sum([not await task.ended.wait(until - self.now()) for task in list(self._adopted)])
        if left:
            log.warn("{left} async callbacks had not ended when the registry stopped; they are cancelled", left=left)

    def future(self) -> TwistedFuture:
        """Make a future."""
        return TwistedFuture(self._reactor, self._turns)

    async def fan_out(self, function: Callable[[A], Awaitable[None]], items: Sequence[A]) -> None:
        """Run the function on all items at once."""
        if len(items) == 1:
            await function(items[0])
        elif items:
            ended: list[tuple[bool, object]] = await DeferredList(
                [Deferred.fromCoroutine(_run(function, item)) for item in items], consumeErrors=True
            )
            for _, result in ended:
                if isinstance(result, Failure):
                    result.raiseException()

    async def close(self) -> None:
        """Cancel what runs, and wait for it a little; then close client, threads and the store.

        Twice is fine, also at once: one close serves all who ask for it.
        """
        if self._closed is None:
            self._closed = closed = Shared[None]()
            outside(self._close()).addBoth(closed.fire)
        await inside(self._closed.wait())

    async def _close(self) -> None:
        self._closing = True
        until = self.now() + CANCEL_SECONDS
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        left = sum([not await task.ended.wait(until - self.now()) for task in tasks])
        if left:
            log.warn("{left} tasks go on although they were cancelled; they are left to themselves", left=left)
        await self._client.close()
        await self._threads.close()

    def _task(self) -> TwistedTask:
        task = TwistedTask(self._turns, self.future(), self._forget)
        self._tasks.add(task)
        return task

    def _forget(self, task: TwistedTask) -> None:
        self._tasks.discard(task)
        self._adopted.discard(task)


async def _run(function: Callable[[A], Awaitable[None]], item: A) -> None:
    await function(item)
