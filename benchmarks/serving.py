"""What a process that serves browsers does for the benchmark: it fans out, and obeys its parent. It imports no framework."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs

import msgspec

from benchmarks.harness import DATA

CURSOR = "AX2mPO6X0kRbfeyfKZMjw0kAAAAAAAAAAc1uMJk"
"""As long as a cursor of one key is."""
HELLO = f"retry: 2710\nid: {CURSOR}\nevent: hello\ndata: {{}}\n\n".encode()
COMMENT = b":\n\n"
COMMENT_SECONDS = 600.0
"""Timers are kept for comments, but none falls into what is measured."""
HEADERS = (
    ("content-type", "text/event-stream"),
    ("cache-control", "no-store"),
    ("x-accel-buffering", "no"),
)
MAX_PENDING = 256

Take = Callable[[bytes], object]


class Fan:
    """Who wants which key in this process: what one writes by hand."""

    def __init__(self) -> None:
        self._takers: defaultdict[str, set[Take]] = defaultdict(set)

    def join(self, key: str, take: Take) -> None:
        self._takers[key].add(take)

    def leave(self, key: str, take: Take) -> None:
        self._takers[key].discard(take)
        if not self._takers[key]:
            del self._takers[key]

    def publish(self, keys: Iterable[str]) -> None:
        for key in keys:
            event = b"id: %b\ndata: %b\n\n" % (CURSOR.encode(), msgspec.json.encode(DATA))
            for take in tuple(self._takers.get(key, ())):
                take(event)

    def tell_all(self, what: bytes) -> None:
        for take in [take for takers in self._takers.values() for take in takers]:
            take(what)


class Heard:
    """A callback that counts."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, _: object) -> None:
        self.calls += 1


@dataclass(frozen=True)
class Order:
    """What a server is to do: serve by hand (`bare`) or by `skyhooks`, or have but `callbacks` called, one for each client."""

    kind: str
    store: str
    sharing: str
    clients: int

    @property
    def keys(self) -> list[str]:
        """The key of each client."""
        return ["0"] * self.clients if self.sharing == "shared" else keys_of(self.sharing, self.clients)


def order() -> Order:
    """Return what the command line says."""
    raise_file_limit()
    kind, store, sharing, clients = sys.argv[1:]
    return Order(kind, store, sharing, int(clients))


def obey(port: int, publish: Callable[[Iterable[str]], object], heard: Heard) -> None:
    """Say where this process listens, then do what the parent says, and end with it.

    To be run in a native thread of its own; `publish` has to bring its work to where the framework runs.
    """
    print(port, flush=True)
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "cpu":
            print(time.process_time(), flush=True)
        elif command == "bytes":
            print(_private_bytes(), flush=True)
        elif command == "heard":
            print(heard.calls, flush=True)
        elif command == "publish":
            publish(keys_of(*arguments))
    os._exit(0)


def keys_of(sharing: str, clients: str | int) -> list[str]:
    """Return the keys that are published to once, so that each client gets one event."""
    return ["0"] if sharing == "shared" else [str(number) for number in range(int(clients))]


def key_asked(query: str) -> str:
    """Return the key that a client asks for; a real application would look at its session instead."""
    return parse_qs(query)["key"][0]


def raise_file_limit() -> None:
    """Let this process have as many connections as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _private_bytes() -> int:
    """Return what this process has for itself, once all garbage is given back."""
    gc.collect()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))
