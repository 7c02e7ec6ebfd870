"""A store operation on its way: it fails before, after, or long after it took effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...abc import STORE_SECONDS
from ...exceptions import StoreUnavailable
from ._scheduler import Task
from ._shown import shown
from ._weather import QUICK_SECONDS, SLOW_SECONDS

if TYPE_CHECKING:
    from ._server import Steps
    from ._world import World


class Request:
    """One store operation on its way, with its fate."""

    __slots__ = (
        "_again",
        "_answer_seconds",
        "_arguments",
        "_error",
        "_name",
        "_operation",
        "_stop_after",
        "_task",
        "_ticket",
        "_world",
    )

    def __init__(
        self, world: World, name: str, operation: str, arguments: tuple[Any, ...], task: Task, ticket: int
    ) -> None:
        self._world = world
        self._name = name
        self._operation = operation
        self._arguments = arguments
        self._task = task
        self._ticket = ticket
        self._error: StoreUnavailable | None = None
        self._again = False
        self._stop_after = -1
        self._answer_seconds = 0.0

    def begin(self) -> None:
        """Draw what becomes of it, and send it."""
        world, scheduler = self._world, self._world.scheduler
        weather = world.weather
        delay = scheduler.random() * QUICK_SECONDS
        if weather.fine:
            scheduler.at(delay, self._arrive)
            return
        scheduler.at(STORE_SECONDS, self._task.step, self._ticket, StoreUnavailable("it took too long"))
        if self._is_slow():
            delay = scheduler.random() * SLOW_SECONDS
        fate = scheduler.random()
        if weather.store_down:
            self._fail(delay, "down")
            return
        if self._operation == "read" and scheduler.random() < weather.reads_fail:
            self._fail(delay, "read fails")
            return
        if weather.only and self._operation not in weather.only:
            scheduler.at(delay, self._arrive)
        elif fate < weather.store_before:
            self._fail(delay, "fails before")
        elif fate < weather.store_before + weather.store_after:
            self._error = StoreUnavailable("the answer was lost")
            if scheduler.random() < 0.3:
                self._stop_after = scheduler.pick(3)
            scheduler.at(delay, self._arrive)
        elif fate < weather.store_before + weather.store_after + weather.store_late:
            self._fail(scheduler.random() * STORE_SECONDS, "late")
            late = scheduler.random() * weather.late_seconds
            world.busy_until = max(world.busy_until, scheduler.now + STORE_SECONDS + late + 1)
            scheduler.at(STORE_SECONDS + late, self._arrive_late)
        else:
            self._again = self._operation == "publish" and scheduler.random() < weather.store_again
            scheduler.at(delay, self._arrive)

    def at_once(self) -> Any:
        """Carry it out in place, and return its answer."""
        steps = self._world.server.begin(self._operation, self._arguments)
        try:
            while True:
                next(steps)
        except StopIteration as stop:
            self._world.log(self._name, f"{self._operation}{self._shown()} => {shown(stop.value)}")
            return stop.value

    def _fail(self, delay: float, why: str) -> None:
        self._world.log(self._name, f"{self._operation}{self._shown()}: {why}")
        self._world.scheduler.at(delay, self._task.step, self._ticket, StoreUnavailable(why))

    def _shown(self) -> str:
        return "(" + ", ".join(shown(one) for one in self._arguments) + ")"

    def _arrive_late(self) -> None:
        self._world.log(self._name, f"{self._operation}{self._shown()}: carried out late")
        self._run(self._world.server.begin(self._operation, self._arguments))

    def _arrive(self) -> None:
        weather = self._world.weather
        steps = self._world.server.begin(self._operation, self._arguments)
        if self._stop_after >= 0 or (weather.in_steps and self._world.scheduler.random() < weather.in_steps):
            self._step(steps)
        else:
            self._run(steps)

    def _run(self, steps: Steps) -> None:
        try:
            while True:
                next(steps)
        except StopIteration as stop:
            self._answer(stop.value)
        except StoreUnavailable as error:
            self._answer(error)

    def _step(self, steps: Steps) -> None:
        if self._stop_after == 0:
            self._answer(None)
            return
        self._stop_after -= 1
        try:
            next(steps)
        except StopIteration as stop:
            self._answer(stop.value)
        except StoreUnavailable as error:
            self._answer(error)
        else:
            scheduler = self._world.scheduler
            pause = SLOW_SECONDS if self._is_slow() else QUICK_SECONDS
            scheduler.at(scheduler.random() * pause, self._step, steps)

    def _answer(self, answer: object) -> None:
        world, scheduler = self._world, self._world.scheduler
        if self._again:
            self._again = False
            scheduler.at(scheduler.random() * QUICK_SECONDS, self._arrive)
            return
        if self._error is not None:
            answer = self._error
        if world.trace is not None:
            world.log(self._name, f"{self._operation}{self._shown()} -> {shown(answer)}")
        delay = scheduler.random() * (SLOW_SECONDS if self._is_slow() else QUICK_SECONDS)
        scheduler.at(delay, self._task.step, self._ticket, answer)

    def _is_slow(self) -> bool:
        weather = self._world.weather
        return (
            weather.slow > 0
            and (not weather.slow_only or self._operation in weather.slow_only)
            and self._world.scheduler.random() < weather.slow
        )
