"""Publish and lookup, as the store grows from a thousand hooks to a million."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.harness import Case, Goal, interleave, report
from skyhooks._stores import open_store
from skyhooks._values import Instance, Publication


def run(*, rounds: int) -> None:
    """Measure on SQLite."""
    cases = []
    stores = []
    with tempfile.TemporaryDirectory() as folder:
        for hooks in (1000, 1_000_000):
            store = open_store(f"sqlite:///{Path(folder) / f'{hooks}.db'}")
            stores.append(store)
            _fill(store, hooks)
            cases += [
                Case(f"lookup, {hooks:,} hooks", lambda store=store: _timed(lambda n: store.targets([f"k={n}"]))),
                Case(f"publish, {hooks:,} hooks", lambda store=store: _timed(lambda n: store.publish([_one(n)]))),
                Case(f"publish by 100, {hooks:,} hooks", lambda store=store: _timed(lambda n: store.publish([_one(n + k) for k in range(100)]), 20) / 100),
            ]  # fmt: skip
        interleave(cases, rounds)
        for store in stores:
            store.close()
    goals = [
        Goal(f"{what}: 1e6 hooks to 1e3", f"{what}, 1,000,000 hooks", f"{what}, 1,000 hooks", 1.2, 1.5)
        for what in ("lookup", "publish", "publish by 100")
    ]
    report("store, SQLite", cases, goals)


_serial = 0


def _one(n: int) -> Publication:
    global _serial
    _serial += 1
    return Publication(f"k={n % 1000}", f"id-{_serial}", f"n-{_serial}", b'{"rows":12}', 0.0)


def _fill(store, hooks: int) -> None:
    for which in range(10):
        store.join(Instance(f"{which:032x}", f"http://10.0.0.{which}:1/", 0, signing_key=b"k" * 32), 3600)
        share = hooks // 10
        for begin in range(0, share, 10_000):
            store.add_hooks(f"{which:032x}", [f"k={n * 10 // 3}" for n in range(begin, min(share, begin + 10_000))], 1)


def _timed(operation, count: int = 200) -> float:
    begin = time.perf_counter()
    for n in range(count):
        operation(n)
    return (time.perf_counter() - begin) / count * 1e6
