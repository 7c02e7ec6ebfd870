"""A seeded scheduler of coroutines: every await is a switching point, and time is virtual."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Generator
from heapq import heappop, heappush
from types import coroutine
from typing import Any

MAX_STEPS = 40_000
"""A schedule that needs more goes round in circles."""


class Cancelled(BaseException):
    """Thrown into a task at its await."""


class Endless(Exception):
    """A schedule did not come to rest."""


@coroutine
def suspend() -> Generator[None, Any, Any]:
    """Give way; whoever resumes the task says with what."""
    return (yield)


class Scheduler:
    """One heap of what is due. What is due at the same time comes in random order."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - it is to be predictable
        self.random = self.rng.random
        self.now = 0.0
        self.steps = 0
        self.current: Task = None  # type: ignore[assignment]  # there is one whenever it is asked for
        self._heap: list[tuple[float, float, Callable[..., object], tuple[object, ...]]] = []

    def at(self, delay_seconds: float, function: Callable[..., object], *arguments: object) -> None:
        """Have a function called later."""
        heappush(self._heap, (self.now + delay_seconds, self.random(), function, arguments))

    def run(self, until: float) -> None:
        """Let time go by."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.steps += 1
            if self.steps > MAX_STEPS:
                raise Endless(f"more than {MAX_STEPS} steps")
            when, _, function, arguments = heappop(heap)
            if when > self.now:
                self.now = when
            function(*arguments)
        self.now = max(self.now, until)

    def stop(self) -> None:
        """Forget all that is due."""
        self._heap.clear()

    def between(self, low: float, high: float) -> float:
        """Draw a number."""
        return low + (high - low) * self.random()

    def chance(self, share: float) -> bool:
        """Draw a yes or a no."""
        return self.random() < share

    def pick(self, count: int) -> int:
        """Draw one of 0 … count-1."""
        return int(self.random() * count)


class Group:
    """Tasks that live and die together: a process."""

    def __init__(self, scheduler: Scheduler, failed: Callable[[BaseException], None]) -> None:
        self.scheduler = scheduler
        self.alive = True
        self.failed = failed
        self.tasks: dict[Task, None] = {}

    def spawn(self, work: Coroutine[Any, Any, Any]) -> Task:
        """Begin a task; its first step comes later."""
        task = Task(self, work)
        if self.alive:
            self.tasks[task] = None
            self.scheduler.at(0.0, task.step, 0)
        else:
            work.close()
        return task

    def spawn_eagerly(self, work: Coroutine[Any, Any, Any]) -> Task:
        """Begin a task and make its first step at once, as a Deferred does."""
        task = Task(self, work)
        self.tasks[task] = None
        task.step(0)
        return task

    def kill(self) -> None:
        """End all tasks where they stand: what they would still do has no effect."""
        self.alive = False
        for task in list(self.tasks):
            task.close()
        self.tasks.clear()


class Task:
    """A coroutine and who waits for it."""

    __slots__ = ("_followers", "_group", "_work", "cancelled", "done", "result", "started", "ticket")

    def __init__(self, group: Group, work: Coroutine[Any, Any, Any]) -> None:
        self._group = group
        self._work = work
        self._followers: list[tuple[Task, int]] = []
        self.ticket = 0
        self.done = False
        self.started = False
        self.cancelled = False
        self.result: Any = None

    def step(self, ticket: int, value: object = None) -> None:
        """Resume with a value; an exception is raised at the await. Stale tickets do nothing."""
        if ticket != self.ticket or self.done or not self._group.alive:
            return
        self.ticket += 1
        scheduler = self._group.scheduler
        before, scheduler.current = scheduler.current, self
        try:
            if isinstance(value, BaseException):
                self._work.throw(value)
            else:
                self.started = True
                self._work.send(value if self.ticket > 1 else None)
        except StopIteration as stop:
            self._end(stop.value)
        except Cancelled:
            self.cancelled = True
            self._end(None)
        except Exception as error:  # noqa: BLE001 - a core task must not raise: the checker is told
            self._end(None)
            self._group.failed(error)
        finally:
            scheduler.current = before

    def cancel(self) -> None:
        """Throw `Cancelled` at the await."""
        if not self.done and self._group.alive:
            self._group.scheduler.at(0.0, self.step, self.ticket, Cancelled())

    def cancel_now(self) -> None:
        """Throw `Cancelled` before anything else happens."""
        if not self.done and self is not self._group.scheduler.current:
            self.step(self.ticket, Cancelled())

    def close(self) -> None:
        """End it without a trace."""
        self.cancelled = True
        try:
            self._work.close()
        except (RuntimeError, ValueError):
            self.done = True  # it awaited on its way out, or is the one that kills; both are dead now
        self._end(None)

    async def wait(self) -> Any:
        """Wait for its end, and return what it returned; None when it was cancelled."""
        if not self.done:
            me = self._group.scheduler.current
            self._followers.append((me, me.ticket))
            await suspend()
        return self.result

    def _end(self, result: object) -> None:
        self.done = True
        self.result = result
        self._group.tasks.pop(self, None)
        for task, ticket in self._followers:
            self._group.scheduler.at(0.0, task.step, ticket)


class Future:
    """`abc.Future` on this scheduler."""

    __slots__ = ("_scheduler", "_waiters", "there", "value")

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._waiters: list[tuple[Task, int]] = []
        self.there = False
        self.value: Any = None

    def set(self, value: Any) -> None:
        if self.there:
            return
        self.there = True
        self.value = value
        for task, ticket in self._waiters:
            self._scheduler.at(0.0, task.step, ticket)

    async def wait(self, timeout_seconds: float | None) -> bool:
        if not self.there:
            scheduler = self._scheduler
            me = scheduler.current
            self._waiters.append((me, me.ticket))
            if timeout_seconds is not None:
                scheduler.at(timeout_seconds, me.step, me.ticket)
            await suspend()
        return self.there
