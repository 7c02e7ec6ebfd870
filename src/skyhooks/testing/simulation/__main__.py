"""`python -m skyhooks.testing.simulation`: runs schedules, and replays one."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from . import MUTATIONS, SCENARIOS, Summary, run_schedule, run_schedules, scenario_of

CHUNK = 1000


def main(arguments: list[str] | None = None) -> int:
    """Run what the arguments ask for; 1 if a promise was broken or a mutation went unnoticed."""
    options = _parser().parse_args(arguments)
    if options.replay is not None:
        return _replay(options.replay, options.scenario)
    if options.mutations:
        return _mutate(options.seed)
    return _run(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m skyhooks.testing.simulation", description=__doc__)
    parser.add_argument("--schedules", type=int, default=20_000, metavar="N", help="how many to run (20000)")
    parser.add_argument("--seed", type=int, default=0, metavar="SEED", help="the first one's seed (0)")
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), metavar="NAME", help="only this scenario")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="how many at once (1)")
    parser.add_argument("--replay", type=int, metavar="SEED", help="run this one and tell all that happens in it")
    parser.add_argument("--mutations", action="store_true", help="switch each rule off, and see that it is noticed")
    return parser


def _run(options: argparse.Namespace) -> int:
    began = time.monotonic()
    summary = Summary()
    for part in _parts(options):
        for result in part.violations:
            _show(f"\n{result.violation}\n  --replay {result.seed} --scenario {result.scenario}")
        summary.add(part)
        done = summary.schedules.total()
        rate = done / (time.monotonic() - began)
        _show(f"\r{done} schedules, {rate:.0f}/s, {len(summary.violations)} violations ", end="")
    _show("")
    for name in SCENARIOS:
        if summary.schedules[name]:
            broken = sum(result.scenario == name for result in summary.violations)
            _show(f"{name:32} {summary.schedules[name]:8} schedules {broken:6} violations")
    return 1 if summary.violations else 0


def _parts(options: argparse.Namespace) -> Iterator[Summary]:
    end = options.seed + options.schedules
    chunks = [range(first, min(first + CHUNK, end)) for first in range(options.seed, end, CHUNK)]
    if options.processes == 1:
        yield from (run_schedules(chunk, options.scenario) for chunk in chunks)
        return
    with ProcessPoolExecutor(options.processes) as pool:
        yield from pool.map(run_schedules, chunks, [options.scenario] * len(chunks))


def _replay(seed: int, scenario: str | None) -> int:
    result = run_schedule(seed, scenario, tracing=True)
    _show(f"{scenario or scenario_of(seed)}, seed {seed}: {(SCENARIOS[result.scenario].__doc__ or '').strip()}")
    _show("\n".join(result.trace))
    _show(result.violation or "no promise was broken")
    return 1 if result.violation else 0


def _mutate(seed: int) -> int:
    missed = 0
    for mutation in MUTATIONS.values():
        found = mutation.first_caught(seed)
        missed += found is None
        said = f"caught by seed {found.seed}: {found.violation}" if found else "NOT CAUGHT"
        _show(f"{mutation.name:34} {mutation.scenario:30} {said}")
    return 1 if missed else 0


def _show(text: str, end: str = "\n") -> None:
    sys.stdout.write(text + end)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
