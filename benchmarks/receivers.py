"""Web processes that count: N of them, M callbacks each; every callback's time goes into memory shared with the sender."""

from __future__ import annotations

import mmap
import signal
import sys
import tempfile
import time
from subprocess import PIPE, Popen

from benchmarks.counting import SLOT, SLOT_BYTES

LIMIT_SECONDS = 60.0


class Receivers:
    """N processes of one kind; `wait(count)` returns when the last callback for the count-th notification had run."""

    def __init__(self, kind: str, where: str, processes: int, callbacks: int) -> None:
        self._file = tempfile.NamedTemporaryFile(prefix="skyhooks-bench-")  # noqa: SIM115 - closed in close()
        self._file.truncate(mmap.PAGESIZE)
        self._memory = mmap.mmap(self._file.fileno(), mmap.PAGESIZE)
        self._callbacks = callbacks
        self._count = 0
        self._processes = [
            Popen(
                [
                    sys.executable,
                    "-m",
                    f"benchmarks.receive_{kind}",
                    where,
                    self._file.name,
                    str(index),
                    str(callbacks),
                ],
                stdin=PIPE,
                stdout=PIPE,
                text=True,
            )
            for index in range(processes)
        ]
        for process in self._processes:
            if process.stdout is None or process.stdout.readline().strip() != "ready":
                raise RuntimeError(f"a {kind} receiver did not start")

    def wait(self, count: int) -> float:
        """Wait for `count` more notifications at every callback; return when the last was called, in monotonic seconds."""
        self._count += count
        wanted = self._count * self._callbacks
        limit = time.monotonic() + LIMIT_SECONDS
        while True:
            slots = [SLOT.unpack_from(self._memory, index * SLOT_BYTES) for index in range(len(self._processes))]
            if all(calls >= wanted for calls, _ in slots):
                return max(at for _, at in slots)
            if time.monotonic() > limit:
                raise RuntimeError(
                    f"waited {LIMIT_SECONDS:g} s for {wanted} calls, have {[calls for calls, _ in slots]}"
                )
            time.sleep(0)

    def close(self) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            process.communicate()
        self._memory.close()
        self._file.close()
