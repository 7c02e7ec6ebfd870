"""What a receiving process counts with, and how it ends: it imports no framework."""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
import time
from pathlib import Path

SLOT = struct.Struct("=qd")
SLOT_BYTES = 64


class Counter:
    """Counts calls in memory that is shared with the sender, beside the time of the last one."""

    def __init__(self, path: str, index: int) -> None:
        with Path(path).open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self._offset = index * SLOT_BYTES
        self._calls = 0

    def __call__(self, data: object) -> None:
        self._calls += 1
        SLOT.pack_into(self._memory, self._offset, self._calls, time.monotonic())


def order() -> tuple[str, Counter, int]:
    """Return what the command line says: where to register, what counts, and how many callbacks there are to be."""
    where, path, index, callbacks = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    return where, Counter(path, int(index)), int(callbacks)


def serve_until_parent_ends() -> None:
    """Say that all is ready; then end with the parent, which holds the other end of standard input.

    To be run in a thread of its own.
    """
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)
