"""The simulation: the real core keeps its promises on thousands of schedules, and breaks them without its rules."""

from __future__ import annotations

import pytest

from skyhooks.testing.simulation import MUTATIONS, SCENARIOS, run_schedule, run_schedules
from skyhooks.testing.simulation.__main__ import main

SCHEDULES = 20_000


@pytest.mark.long
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_promises_hold_in_every_schedule(scenario: str) -> None:
    count = SCHEDULES // len(SCENARIOS) + 1

    summary = run_schedules(range(count), scenario)

    assert summary.schedules.total() == count
    assert summary.violations == []


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_rule_that_is_switched_off_is_missed(name: str) -> None:
    caught = MUTATIONS[name].first_caught()

    assert caught is not None
    assert "Error(" not in (caught.violation or ""), "it broke the core instead of a rule"
    assert run_schedule(caught.seed, caught.scenario).violation is None, "the rule is back on"


def test_a_seed_gives_the_same_schedule_again() -> None:
    first = run_schedule(4711, "foul_weather", tracing=True)

    assert run_schedule(4711, "foul_weather", tracing=True) == first
    assert len(first.trace) > 20


def test_a_trace_tells_what_happened(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--replay", "7", "--scenario", "t01_answers_crossed"]) == 0

    told = capsys.readouterr().out
    assert "registers" in told
    assert "publish" in told
    assert told.endswith("no promise was broken\n")


def test_the_command_counts_and_names_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    with MUTATIONS["hooks_without_numbers"].applied():
        assert main(["--schedules", "20", "--seed", "4", "--scenario", "t06_late_remove"]) == 1

    told = capsys.readouterr().out
    assert "20 schedules" in told
    assert "--replay 4 --scenario t06_late_remove" in told


def test_the_command_runs_schedules_in_several_processes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--schedules", "30", "--processes", "2"]) == 0

    assert "30 schedules" in capsys.readouterr().out


def test_a_broken_promise_is_replayed_with_its_violation(capsys: pytest.CaptureFixture[str]) -> None:
    with MUTATIONS["hooks_without_numbers"].applied():
        assert main(["--replay", "4", "--scenario", "t06_late_remove"]) == 1

    assert "no promise was broken" not in capsys.readouterr().out


def test_the_command_shows_which_rule_is_caught_by_what(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(MUTATIONS)[2:]:
        monkeypatch.delitem(MUTATIONS, name)

    assert main(["--mutations"]) == 0

    told = capsys.readouterr().out.splitlines()
    assert len(told) == 2
    assert all("caught by seed" in line for line in told)
