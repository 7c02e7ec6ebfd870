"""Runs the real registry and notifier on a seeded scheduler, with a store and a network that fail, and checks the promises.

`run_schedule` runs one schedule, `run_schedules` many; `python -m skyhooks.testing.simulation --help` does it from a shell.
A schedule is named by its scenario and its seed, and the same two give the same one.
"""

from __future__ import annotations

from . import _later_mutations, _mutations  # noqa: F401 - they add their mutations
from ._mutation import MUTATIONS, Mutation
from ._run import SCENARIOS, Result, Summary, run_schedule, run_schedules, scenario_of

__all__ = [
    "MUTATIONS",
    "SCENARIOS",
    "Mutation",
    "Result",
    "Summary",
    "run_schedule",
    "run_schedules",
    "scenario_of",
]
