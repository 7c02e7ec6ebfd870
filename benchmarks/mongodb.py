"""Publish and catch up on MongoDB, by the size of a key's document: `python -m benchmarks.mongodb [URL]`.

Without a URL, on the server that the tests start: a mongod on PATH, or mongo-java-server.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from statistics import median
from uuid import uuid4

from skyhooks._stores import open_store
from skyhooks._values import Instance, Position, Publication
from skyhooks.abc import Store

ENTRIES = (10, 100, 1000)
BYTES = (200, 4096)
KEEPING = "keep=1000000&keep_seconds=3600&keep_bytes=10000000"
WRITERS = 8
KEYS = 400
BATCH = 100

_names = count()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mongodb", description=__doc__)
    parser.add_argument("url", nargs="?", help="of a deployment; a database of our own is made in it and stays")
    parser.add_argument(
        "--rounds", type=int, default=5, help="runs of each case, of which the median counts (default 5)"
    )
    options = parser.parse_args()
    with _deployment(options.url) as (url, version):
        with closing(open_store(f"{url}{uuid4().hex}")) as store:
            _one_key(store, 100, 200, 10)  # a server that has just started is slow
        print(f"\nMongoDB, {version}; a second's publishes, median of {options.rounds} runs\n")
        print(f"  {'one key whose log holds':<28}{'one at a time':>16}{'by ' + str(BATCH):>12}{'catch up 1':>14}")
        for size in BYTES:
            for entries in ENTRIES:
                with closing(open_store(f"{url}{uuid4().hex}?{KEEPING}")) as store:
                    figures = _one_key(store, entries, size, options.rounds)
                print(
                    f"  {f'{entries} of {size} bytes':<28}" + "{:>14,.0f}/s{:>10,.0f}/s{:>11,.2f} ms".format(*figures)
                )
        for size in BYTES:
            with closing(open_store(f"{url}{uuid4().hex}?{KEEPING}")) as store:
                rate = _many_keys(store, size, options.rounds)
            print(f"  {WRITERS} writers on {KEYS} keys, 10 entries of {size} bytes each: {rate:,.0f}/s")
        with closing(open_store(f"{url}{uuid4().hex}?keep=100&keep_min_seconds=0")) as store:
            rate = _one_key(store, 100, 200, options.rounds)[0]
        print(f"  one key of 100 entries of 200 bytes, each publish trims one: {rate:,.0f}/s")


def _one_key(store: Store, entries: int, size: int, rounds: int) -> tuple[float, float, float]:
    """Return the rates one at a time and by batches, and the milliseconds of reading the newest entry."""
    store.join(Instance("i", None, 0), 3600)
    single, batched, caught = [], [], []
    for _ in range(rounds):
        key = f"k={uuid4().hex}"
        store.add_hooks("i", [key], 1)
        for begin in range(0, entries, BATCH):
            store.publish([_one(key, size) for _ in range(min(BATCH, entries - begin))])
        single.append(20 / _seconds(lambda key=key: store.publish([_one(key, size)]), 20))
        batched.append(BATCH * 2 / _seconds(lambda key=key: store.publish([_one(key, size) for _ in range(BATCH)]), 2))
        head = store.positions([key])[key]
        caught.append(
            _seconds(lambda key=key, head=head: store.read(key, Position(head.epoch, head.seq - 1), 500), 20) / 20
        )
    return median(single), median(batched), median(caught) * 1000


def _many_keys(store: Store, size: int, rounds: int) -> float:
    keys = [f"k={number}" for number in range(KEYS)]
    for key in keys:
        store.publish([_one(key, size) for _ in range(10)])

    def write(writer: int) -> None:
        for key in keys[writer::WRITERS]:
            store.publish([_one(key, size)])

    with ThreadPoolExecutor(WRITERS) as threads:
        return median(KEYS / _seconds(lambda: list(threads.map(write, range(WRITERS))), 1) for _ in range(rounds))


def _one(key: str, size: int) -> Publication:
    name = f"{uuid4().hex}.{next(_names)}"
    return Publication(key, name, name, b'"' + b"x" * (size - 2) + b'"', 0.0)


def _seconds(work: Callable[[], object], times: int) -> float:
    begin = time.perf_counter()
    for _ in range(times):
        work()
    return time.perf_counter() - begin


@contextmanager
def _deployment(url: str | None) -> Iterator[tuple[str, str]]:
    if url is not None:
        yield url.rstrip("/") + "/bench-", "the server named"
        return
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from mongodb_server import own_server

    with tempfile.TemporaryDirectory() as folder, own_server(Path(folder)) as server:
        yield server.base + "bench-", server.kind


if __name__ == "__main__":
    main()
