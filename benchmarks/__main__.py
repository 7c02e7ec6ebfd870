"""Run all benchmarks, or those that are named."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from benchmarks import bridges, delivery, holding, store
from benchmarks.harness import Case, interleave, report


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        choices=[[], "delivery", "store", "holding", "imports", "bridges"],
        help="default: all but bridges, which takes half an hour",
    )
    parser.add_argument("--rounds", type=int, default=5, help="interleaved runs of each case (default 5)")
    parser.add_argument(
        "--framework", default="tornado", choices=["tornado", "gevent", "twisted", "asyncio"], help="of the receivers"
    )
    parser.add_argument(
        "--processes", type=int, nargs="+", default=[1, 3], help="receiving processes (default 1 and 3)"
    )
    options = parser.parse_args()
    names = options.names or ["delivery", "store", "holding", "imports"]
    if "delivery" in names:
        for processes in options.processes:
            delivery.run(processes=processes, rounds=options.rounds, framework=options.framework)
    if "store" in names:
        store.run(rounds=options.rounds)
    if "holding" in names:
        holding.run(rounds=options.rounds)
    if "bridges" in names:
        bridges.run(rounds=options.rounds)
    if "imports" in names:
        _imports(options.rounds)


def _imports(rounds: int) -> None:
    def python(code: str):
        def run() -> float:
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            return (time.perf_counter() - begin) * 1000

        return run

    cases = [Case("python", python("pass"), "ms"), Case("python, import skyhooks", python("import skyhooks"), "ms")]
    interleave(cases, max(rounds, 15))
    report("import", cases, [])
    print(f"  import skyhooks: {cases[1].median - cases[0].median:.1f} ms (goal 40, floor 60)")


if __name__ == "__main__":
    main()
