"""Many deliveries in one thread: all requests are written, then answers read as they come, retries among them."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from types import coroutine
from typing import Any, Protocol, TypeVar, runtime_checkable

from .._values import Answer, Post
from ._exchange import Exchange
from ._sockets import ready

A = TypeVar("A")

WINDOW = 128
"""Deliveries under way at once: more than a client has connections, so that some hung targets do not hold up the others."""


@runtime_checkable
class Exchanger(Protocol):
    """A client whose attempts one thread can interleave."""

    def exchange(self, post: Post) -> Exchange:
        """Prepare an attempt."""


class Fan:
    """Runs coroutines that wait for nothing but their posts and pauses."""

    def __init__(self, client: Exchanger) -> None:
        self._client = client

    async def post(self, post: Post) -> Answer:
        """Make one attempt while the others of the fan go on."""
        exchange = self._client.exchange(post)
        exchange.start()
        while exchange.answer is None:
            await _suspend(exchange)
            exchange.advance(time.monotonic())
        return exchange.answer

    async def pause(self, seconds: float) -> None:
        """Wait while the others of the fan go on."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await _suspend(until)

    def run(self, function: Callable[[A], Awaitable[None]], items: Sequence[A]) -> None:
        """Run the function on all items to its end; an exception, as a signal handler may raise, ends them all.

        No more than a window at once, so that the time of those behind does not run while they wait for a connection.
        """
        later = deque(items)
        waiting: dict[Generator[Any, None, None], Exchange | float] = {}
        try:
            while later or waiting:
                while later and len(waiting) < WINDOW:
                    _step(function(later.popleft()).__await__(), waiting)
                for steps in _ready(waiting):
                    _step(steps, waiting)
        finally:
            for steps, wait in waiting.items():
                steps.close()
                if isinstance(wait, Exchange):
                    wait.abort()


@coroutine
def _suspend(wait: Exchange | float) -> Generator[Exchange | float, None, None]:
    yield wait


def _step(steps: Generator[Any, None, None], waiting: dict[Generator[Any, None, None], Exchange | float]) -> None:
    try:
        waiting[steps] = next(steps)
    except StopIteration:
        waiting.pop(steps, None)


def _ready(waiting: dict[Generator[Any, None, None], Exchange | float]) -> list[Generator[Any, None, None]]:
    if not waiting:
        return []
    exchanges = [wait for wait in waiting.values() if isinstance(wait, Exchange)]
    until = min((wait for wait in waiting.values() if not isinstance(wait, Exchange)), default=math.inf)
    if exchanges:
        found = set(ready(exchanges, until=until))
    else:
        time.sleep(max(0.0, until - time.monotonic()))
        found = set()
    now = time.monotonic()
    return [steps for steps, wait in waiting.items() if (wait in found if isinstance(wait, Exchange) else wait <= now)]
