"""Runs schedules: one, or many."""

from __future__ import annotations

import gc
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ... import _ping
from . import _later_traces  # noqa: F401 - it adds its scenarios
from ._checker import endless, play, settle
from ._scheduler import Endless
from ._storms import STORMS
from ._traces import TRACES
from ._world import World

SCENARIO_SECONDS = 600.0
"""Virtual time that a scenario may take."""
SCENARIOS = {**TRACES, **STORMS}
_NAMES = tuple(SCENARIOS)


@dataclass(frozen=True, slots=True)
class Result:
    """What one schedule has come to."""

    seed: int
    scenario: str
    violation: str | None
    """The first promise that was broken."""
    trace: tuple[str, ...] = ()


@dataclass(slots=True)
class Summary:
    """What many schedules have come to."""

    schedules: Counter[str] = field(default_factory=Counter)
    """How many of each scenario."""
    violations: list[Result] = field(default_factory=list)

    def add(self, other: Summary) -> None:
        """Add another's."""
        self.schedules.update(other.schedules)
        self.violations.extend(other.violations)


def scenario_of(seed: int) -> str:
    """Return the scenario that a seed stands for where none is named: seeds go round through all of them."""
    return _NAMES[seed % len(_NAMES)]


def run_schedule(seed: int, scenario: str | None = None, *, tracing: bool = False) -> Result:
    """Run one schedule; with `tracing`, the result tells all that happened in it."""
    with _quiet():
        return _run(seed, scenario or scenario_of(seed), tracing=tracing)


def run_schedules(seeds: Iterable[int], scenario: str | None = None) -> Summary:
    """Run a schedule for each seed."""
    summary = Summary()
    with _quiet(), _without_collector():
        for number, seed in enumerate(seeds):
            result = _run(seed, scenario or scenario_of(seed), tracing=False)
            summary.schedules[result.scenario] += 1
            if result.violation is not None:
                summary.violations.append(result)
            if number % 500 == 499:
                gc.collect()
    return summary


def _run(seed: int, scenario: str, *, tracing: bool) -> Result:
    world = World(seed, tracing=tracing)
    world.director.spawn(SCENARIOS[scenario](world))
    try:
        play(world, SCENARIO_SECONDS)
        settle(world)
    except Endless as error:
        endless(world, error)
    finally:
        world.end()
    return Result(seed, scenario, world.violation, tuple(world.trace or ()))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the core's log quiet, and let `start` ping once: eight pings are most of a short schedule."""
    log = logging.getLogger("skyhooks")
    level, pings = log.level, _ping.PINGS
    log.setLevel(logging.CRITICAL + 1)
    _ping.PINGS = 1
    try:
        yield
    finally:
        log.setLevel(level)
        _ping.PINGS = pings


@contextmanager
def _without_collector() -> Iterator[None]:
    """Collect now and then instead of all the time: a schedule is full of circles, and over soon."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
        gc.collect()
