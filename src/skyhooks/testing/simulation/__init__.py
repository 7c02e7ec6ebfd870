"""Runs the real registry and notifier on a seeded scheduler, with a store and a network that fail, and checks the promises."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ... import _ping
from ._checker import endless, play, settle
from ._scheduler import Endless
from ._storms import STORMS
from ._traces import TRACES
from ._world import World

__all__ = ["SCENARIOS", "Outcome", "calm", "run_schedule"]

SCENARIO_SECONDS = 600.0
SCENARIOS = {**TRACES, **STORMS}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one schedule has come to."""

    seed: int
    scenario: str
    violation: str | None
    trace: tuple[str, ...] = ()


def run_schedule(seed: int, scenario: str, *, tracing: bool = False) -> Outcome:
    """Run one schedule; the same seed gives the same one."""
    world = World(seed, tracing=tracing)
    world.director.spawn(SCENARIOS[scenario](world))
    try:
        play(world, SCENARIO_SECONDS)
        settle(world)
    except Endless as error:
        endless(world, error)
    finally:
        world.end()
    return Outcome(seed, scenario, world.violation, tuple(world.trace or ()))


@contextmanager
def calm() -> Iterator[None]:
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
