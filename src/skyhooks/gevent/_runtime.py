"""The runtime of greenlets: every method blocks its caller, cooperatively."""

from __future__ import annotations

import logging
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence, Set
from typing import Any, Protocol, TypeVar

import gevent
from gevent import Greenlet, monkey
from gevent.event import AsyncResult

from .._driver import run
from .._values import Answer, Post
from ..abc import Store, Task
from ..exceptions import NotStarted, StoreUnavailable
from ._fork import ForkWatch
from ._greenlets import Background, Ended
from ._operations import Operations

log = logging.getLogger("skyhooks")

T = TypeVar("T")
A = TypeVar("A")

KILL_SECONDS = 1.0
"""How long `close` waits for callbacks that do not mind being killed."""
MUST_BE_PATCHED = ("socket", "ssl", "select", "threading", "time")


class Poster(Protocol):
    """A client: makes one attempt, and tells faults as values."""

    def post(self, post: Post) -> Answer:
        """Make one attempt, and block."""

    def close(self) -> None:
        """Close what it holds open."""


class GeventFuture:
    """A value that one greenlet sets and others wait for."""

    __slots__ = ("_result",)

    def __init__(self) -> None:
        self._result: AsyncResult[Any] = AsyncResult()

    def set(self, value: Any) -> None:
        """Let the value arrive; a second time changes nothing."""
        if not self._result.ready():
            self._result.set(value)

    async def wait(self, timeout_seconds: float | None) -> bool:
        """Wait until the value is there; False when the time ran out first."""
        self._result.wait(timeout_seconds)
        return self._result.ready()

    @property
    def value(self) -> Any:
        """The value."""
        return self._result.get_nowait()


class GeventRuntime:
    """Store calls by `Operations`, posts by the client it is given, everything else by the hub."""

    now = staticmethod(time.monotonic)
    time = staticmethod(time.time)
    random = staticmethod(random.random)

    def __init__(self, client: Poster, store: Store, callers: Set[Greenlet[..., Any]] = frozenset()) -> None:
        """Take a client, and the set, kept up to date, of what calls callbacks and what they have begun."""
        self._callers = callers
        self._client = client
        self._store = store
        self._operations = Operations(store)
        self._tasks: set[Background] = set()
        self._closing = False
        self._fork_watch = ForkWatch(self._forget)

    def token(self) -> str:
        """Draw 32 hexadecimal digits."""
        return secrets.token_hex(16)

    async def call(self, function: Callable[..., T], /, *args: object) -> T:
        """Run a store's operation."""
        return self._operations.call(function, *args)

    async def post(self, post: Post) -> Answer:
        """Make one attempt."""
        return self._client.post(post)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        gevent.sleep(seconds)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> Task:
        """Run a coroutine in a greenlet that starts in a later turn; none once the runtime is being closed."""
        task = Background(coroutine)
        if self._closing:
            task.cancel()
            return task
        self._tasks.add(task)
        task.rawlink(self._tasks.discard)
        task.start()
        return task

    def future(self) -> GeventFuture:
        """Make a future."""
        return GeventFuture()

    async def fan_out(self, function: Callable[[A], Awaitable[None]], items: Sequence[A]) -> None:
        """Run the function on all items at once; whoever is killed meanwhile takes them along."""

        async def work(item: A) -> None:
            await function(item)

        if len(items) == 1:
            await function(items[0])
        elif items:
            greenlets = [gevent.spawn(Ended, lambda item=item: run(work(item))) for item in items]
            try:
                gevent.joinall(greenlets)
            except BaseException:
                gevent.killall(greenlets, block=False)
                raise
            for greenlet in greenlets:
                greenlet.get().get()

    async def settle(self, seconds: float) -> None:
        """Wait until what callbacks began has ended, but no longer than this."""
        gevent.joinall(list(self._callers), timeout=max(0.0, seconds))
        if self._callers:
            log.warning("%d callbacks had not ended when the registry stopped; they are killed", len(self._callers))

    async def close(self) -> None:
        """Kill what runs, and wait for it; then close client, threads and the store."""
        gevent.joinall(self._kill(), timeout=KILL_SECONDS)
        self._client.close()
        try:
            self._operations.call(self._store.close)
        except StoreUnavailable as error:
            log.warning("the store could not be closed in time: %s", error)
        self._operations.close()

    def _kill(self) -> list[Greenlet[..., Any]]:
        self._closing = True
        self._fork_watch.close()
        running = [greenlet for greenlet in (*self._tasks, *self._callers) if greenlet is not gevent.getcurrent()]
        gevent.killall(running, block=False)
        return running

    def _forget(self) -> None:
        """In a forked child: what runs here runs in the parent, and must not be done twice."""
        self._kill()
        self._client.close()


def check_patched() -> None:
    """Make sure that what blocks is cooperative here.

    Raises:
        NotStarted: saying what to do first.
    """
    missing = [module for module in MUST_BE_PATCHED if not monkey.is_module_patched(module)]
    if missing:
        raise NotStarted(
            f"gevent has not patched {', '.join(missing)}, so one wait would stop every greenlet",
            'put "from gevent import monkey; monkey.patch_all()" first in the program',
        )
