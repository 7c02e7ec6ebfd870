"""The runtime of threads: every method blocks its caller, and many posts share one caller's wait."""

from __future__ import annotations

import contextlib
import random
import secrets
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from .._driver import run
from .._values import Answer, Post
from ..abc import Task
from ._fan import Exchanger, Fan
from ._workers import Workers

T = TypeVar("T")
A = TypeVar("A")


class BlockingPoster(Protocol):
    """A client: makes one attempt, and tells faults as values."""

    def post(self, post: Post) -> Answer:
        """Make one attempt, and block."""

    def close(self) -> None:
        """Close what it holds open."""


class BlockingFuture:
    """A value that one thread sets and others wait for."""

    __slots__ = ("_arrived", "_value")

    def __init__(self) -> None:
        self._arrived = threading.Lock()
        self._arrived.acquire()
        self._value: deque[Any] = deque(maxlen=1)

    def set(self, value: Any) -> None:
        """Let the value arrive; a second time changes nothing."""
        if not self._value:
            self._value.append(value)
            with contextlib.suppress(RuntimeError):  # two threads set it at once: one release is enough
                self._arrived.release()

    async def wait(self, timeout_seconds: float | None) -> bool:
        """Block until the value is there; False when the time ran out first."""
        if self._arrived.acquire(
            timeout=-1 if timeout_seconds is None else min(timeout_seconds, threading.TIMEOUT_MAX)
        ):
            self._arrived.release()
        return bool(self._value)

    @property
    def value(self) -> Any:
        """The value."""
        return self._value[0]


class BlockingRuntime:
    """Store calls and posts block the caller; what belongs to no caller runs in daemon threads."""

    now = staticmethod(time.monotonic)
    time = staticmethod(time.time)
    random = staticmethod(random.random)

    def __init__(self, client: BlockingPoster) -> None:
        self._client = client
        self._fans = threading.local()
        self._workers = Workers()

    def token(self) -> str:
        """Draw 32 hexadecimal digits."""
        return secrets.token_hex(16)

    async def call(self, function: Callable[..., T], /, *args: object) -> T:
        """Run a store's operation; it bounds its own time."""
        return function(*args)

    async def post(self, post: Post) -> Answer:
        """Make one attempt; within a fan-out, others are made meanwhile."""
        fan: Fan | None = getattr(self._fans, "current", None)
        return self._client.post(post) if fan is None else await fan.post(post)

    async def sleep(self, seconds: float) -> None:
        """Wait; within a fan-out, others go on meanwhile."""
        fan: Fan | None = getattr(self._fans, "current", None)
        if fan is None:
            time.sleep(seconds)  # noqa: ASYNC251 - in this world every await blocks
        else:
            await fan.pause(seconds)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> Task:
        """Run a coroutine in a daemon thread."""
        return self._workers.start(lambda: run(coroutine))

    def future(self) -> BlockingFuture:
        """Make a future."""
        return BlockingFuture()

    async def fan_out(self, function: Callable[[A], Awaitable[None]], items: Sequence[A]) -> None:
        """Run the function on all items at once: write all requests, then read all answers, in this one thread."""
        if len(items) == 1:
            await function(items[0])
        elif isinstance(self._client, Exchanger):
            self._fans.current = fan = Fan(self._client)
            try:
                fan.run(function, items)
            finally:
                self._fans.current = None
        else:
            await self._fan_out_by_threads(function, items)

    async def _fan_out_by_threads(self, function: Callable[[A], Awaitable[None]], items: Sequence[A]) -> None:
        """Do the same for a client that can only block: a thread for each item but one."""

        async def work(item: A, done: BlockingFuture) -> None:
            try:
                await function(item)
            finally:
                done.set(None)

        ends = [BlockingFuture() for _ in items[1:]]
        for item, done in zip(items[1:], ends, strict=True):
            self.spawn(work(item, done))
        for item in items[:1]:
            await function(item)
        for done in ends:
            await done.wait(None)

    def close(self) -> None:
        """Close the client; threads end with what they are doing."""
        self._workers.close()
        self._client.close()
