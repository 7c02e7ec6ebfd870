"""A rule of PROTOCOL.md switched off, and the scenario that must notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest.mock import patch

from ._run import Result, run_schedule

Change = tuple[type | ModuleType, str, object]


@dataclass(frozen=True, slots=True)
class Mutation:
    """A rule switched off, and the scenario that must notice."""

    name: str
    rule: str
    scenario: str
    changes: tuple[Change, ...]
    within: int = 400
    """How many schedules it may take."""

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Switch the rule off for a while."""
        with ExitStack() as stack:
            for owner, name, value in self.changes:
                stack.enter_context(patch.object(owner, name, value))
            yield

    def first_caught(self, seed: int = 0) -> Result | None:
        """Run its scenario without the rule until the checker notices; None if it does not."""
        with self.applied():
            for one in range(seed, seed + self.within):
                result = run_schedule(one, self.scenario)
                if result.violation is not None:
                    return result
        return None


MUTATIONS: dict[str, Mutation] = {}


def mutation(
    rule: str, scenario: str, owner: type, name: str, *, within: int = 400
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add a mutation: the decorated function stands in for a method."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        title = function.__name__
        MUTATIONS[title] = Mutation(title, rule, scenario, ((owner, name, function),), within)
        return function

    return add
