"""What an EventSource client costs: memory while it is idle, CPU for each event; beside bare handlers and python-socketio.

`python -m benchmarks bridges`, or `python -m benchmarks.bridges --clients 1000 --rounds 1 --frameworks tornado` for a
short run.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from subprocess import PIPE, Popen
from typing import Self

from benchmarks.harness import DATA
from benchmarks.serving import keys_of
from skyhooks import Notifier

FRAMEWORKS = ("tornado", "gevent", "twisted")
CLIENTS = (1000, 10_000)
WARM = 50
"""Clients that are there before memory is first looked at."""
DELIVERIES = 40_000
LIMIT_SECONDS = 60.0
WORDS = {"shared": "all clients share one key", "own": "each client has a key of its own"}
SHARINGS = tuple(WORDS)
GOAL = 1.2


@dataclass
class Case:
    """One server with its clients, and what was measured of it, once a round."""

    server: str
    kind: str
    sharing: str
    idle_bytes: list[float] = field(default_factory=list)
    event_us: list[float] = field(default_factory=list)
    arrival_us: list[float] = field(default_factory=list)
    """What it costs that an event arrives and a callback is called, with no browser behind it; by hand it is there for free."""


class Lines:
    """A process that is told a line, and answers with one; it ends with its input."""

    def __init__(self, module: str, *arguments: object) -> None:
        self._name = module
        command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
        self._process = Popen(command, stdin=PIPE, stdout=PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)

    def hear(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} has ended")
        return line.strip()

    def ask(self, line: str) -> str:
        self.tell(line)
        return self.hear()


def run(
    *,
    rounds: int,
    clients: Sequence[int] = CLIENTS,
    frameworks: Sequence[str] = FRAMEWORKS,
    sharings: Sequence[str] = SHARINGS,
    socketio: bool = True,
) -> None:
    """Measure with so many clients, each framework by hand and by skyhooks in turn."""
    for count in clients:
        cases = [
            Case(framework, kind, sharing)
            for sharing in sharings
            for framework in frameworks
            for kind in ("bare", "skyhooks")
        ]
        if socketio:
            cases += [Case("socketio", "aiohttp", sharing) for sharing in sharings]
        for number in range(rounds):
            for case in cases:
                _measure(case, count)
                print(
                    f"{count} {case.server} {case.kind} {case.sharing}, round {number + 1}:"
                    f" {case.idle_bytes[-1]:,.0f} bytes, {case.event_us[-1]:.1f} us",
                    file=sys.stderr,
                )
        _report(count, cases)


def _measure(case: Case, count: int) -> None:
    browsers = "socketio" if case.server == "socketio" else "events"
    every = WARM + count
    with (
        _served(case, case.kind, every) as (server, notifier),
        Lines("browsers", server.hear(), browsers, case.sharing) as crowd,
    ):
        crowd.ask("connect 1")  # alone: from the first objects of a class CPython learns how to keep the others small
        crowd.ask(f"connect {WARM - 1}")
        before = int(server.ask("bytes"))
        crowd.ask(f"connect {count}")
        case.idle_bytes.append((int(server.ask("bytes")) - before) / count)
        publish = _publisher(case, every, server, notifier)
        case.event_us.append(_event_us(server, publish, lambda: crowd.ask(f"wait {every}"), every))
    if case.kind == "skyhooks":
        with _served(case, "callbacks", every) as (server, notifier):
            server.hear()
            publish = _publisher(case, every, server, notifier)
            total = itertools.count(every, every)
            wait = lambda: _wait_for_calls(server, notifier, next(total))  # noqa: E731
            case.arrival_us.append(_event_us(server, publish, wait, every))


@contextmanager
def _served(case: Case, kind: str, every: int) -> Iterator[tuple[Lines, Notifier]]:
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{Path(folder) / 'bench.db'}"
        with (
            Lines(f"serve_{case.server}", kind, store, case.sharing, every) as server,
            Notifier(store, max_pending_bytes=256_000_000) as notifier,
        ):
            yield server, notifier


def _wait_for_calls(server: Lines, notifier: Notifier, wanted: int) -> None:
    notifier.flush(LIMIT_SECONDS)
    until = time.monotonic() + LIMIT_SECONDS
    while int(server.ask("heard")) < wanted:
        if time.monotonic() > until:
            raise RuntimeError(f"waited {LIMIT_SECONDS:g} s for {wanted} calls")
        time.sleep(0.02)


def _publisher(case: Case, every: int, server: Lines, notifier: Notifier) -> Callable[[], None]:
    if case.kind != "skyhooks":
        return lambda: server.tell(f"publish {case.sharing} {every}")

    def publish() -> None:
        for key in keys_of(case.sharing, every):
            notifier.submit({"account": key}, DATA)

    return publish


def _event_us(server: Lines, publish: Callable[[], None], wait: Callable[[], object], every: int) -> float:
    def once() -> None:
        publish()
        wait()

    once()
    times = max(DELIVERIES // every, 1)
    before = float(server.ask("cpu"))
    for _ in range(times):
        once()
    return (float(server.ask("cpu")) - before) / (times * every) * 1e6


def _report(count: int, cases: list[Case]) -> None:
    print(
        f"\n{count:,} clients, median of {len(cases[0].idle_bytes)} rounds; ratios are to the bare handler, goal {GOAL}"
    )
    for sharing, words in WORDS.items():
        rows = [case for case in cases if case.sharing == sharing]
        if rows:
            print(f"  {words:<34}{'idle client':>14}{'':>9}{'event':>12}{'':>9}{'of it arrival':>17}")
        bare = rows[0] if rows else None
        for case in rows:
            bare = case if case.kind == "bare" else bare
            _report_row(case, bare if case.kind == "skyhooks" else None)


def _report_row(case: Case, bare: Case | None) -> None:
    memory, cpu = median(case.idle_bytes), median(case.event_us)
    row = f"    {f'{case.server}, {case.kind}':<32}{memory:>8,.0f} bytes"
    if bare is None:
        print(f"{row}{'':>9}{cpu:>9.1f} us")
        return
    arrival = median(case.arrival_us)
    rest = (cpu - arrival) / median(bare.event_us)
    row += f"{memory / median(bare.idle_bytes):>8.2f}x{cpu:>9.1f} us{cpu / median(bare.event_us):>8.2f}x"
    print(f"{row}{arrival:>9.1f} us; without it {rest:.2f}x")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bridges", description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS, help="default 1000 and 10000")
    parser.add_argument("--rounds", type=int, default=3, help="each case once a round (default 3)")
    parser.add_argument("--frameworks", nargs="*", default=FRAMEWORKS, choices=FRAMEWORKS, help="default: all")
    parser.add_argument("--keys", nargs="+", default=SHARINGS, choices=SHARINGS, help="default: both")
    parser.add_argument("--without-socketio", action="store_true", help="leave python-socketio out")
    return parser.parse_args(arguments)


def main() -> None:
    options = parse()
    run(
        rounds=options.rounds,
        clients=options.clients,
        frameworks=options.frameworks,
        sharings=options.keys,
        socketio=not options.without_socketio,
    )


if __name__ == "__main__":
    main()
