"""Interleaved runs, medians, ratios, a table. Machines drift, so only ratios taken in one run are compared."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

DATA = {"job": "report", "account": 42, "state": "done", "rows": [1, 2, 3, 4, 5, 6, 7, 8, 9], "text": "x" * 110}
"""What is sent, where nothing else is said."""


@dataclass
class Case:
    """One thing that is measured: each call of `run` returns one figure, in the unit that is named."""

    name: str
    run: Callable[[], float]
    unit: str = "us"
    figures: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.figures)


@dataclass(frozen=True)
class Goal:
    """A ratio of two cases' medians, and what it should come to."""

    name: str
    over: str
    under: str
    goal: float
    floor: float
    more_is_better: bool = False


def interleave(cases: list[Case], rounds: int) -> None:
    """Run every case once a round, so that a slow minute of the machine meets all of them."""
    for case in cases:
        case.run()
    for _ in range(rounds):
        for case in cases:
            case.figures.append(case.run())


def report(title: str, cases: list[Case], goals: list[Goal]) -> None:
    """Print medians with their spread, then the ratios."""
    print(f"\n{title}")
    width = max(len(case.name) for case in cases) + 2
    for case in cases:
        low, high = min(case.figures), max(case.figures)
        print(
            f"  {case.name:<{width}}{case.median:>12,.2f} {case.unit:<8}({low:,.2f} to {high:,.2f}, {len(case.figures)} runs)"
        )
    medians = {case.name: case.median for case in cases}
    for goal in goals:
        if goal.over not in medians or goal.under not in medians:
            continue
        ratio = medians[goal.over] / medians[goal.under]
        print(f"  {goal.name}: {ratio:.2f}   (goal {goal.goal:g}, floor {goal.floor:g}) {verdict(goal, ratio)}")


def verdict(goal: Goal, ratio: float) -> str:
    """Say how far a ratio is from its goal."""
    away = goal.goal / ratio if goal.more_is_better else ratio / goal.goal
    if away <= 1:
        return "reached"
    return f"{away:.1f}x away from the goal"


@contextmanager
def closing(*closers: Callable[[], object]) -> Iterator[None]:
    """Close what a benchmark has opened, whatever happens."""
    try:
        yield
    finally:
        for close in closers:
            close()
