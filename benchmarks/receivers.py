"""Web processes that count: N of them, M callbacks each; every callback's time goes into memory shared with the sender."""

from __future__ import annotations

import asyncio
import mmap
import os
import signal
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path
from subprocess import PIPE, Popen

_SLOT = struct.Struct("=qd")
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
                    "benchmarks.receivers",
                    kind,
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
            slots = [_SLOT.unpack_from(self._memory, index * 64) for index in range(len(self._processes))]
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


class _Counter:
    def __init__(self, path: str, index: int) -> None:
        with Path(path).open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self._offset = index * 64
        self._calls = 0

    def __call__(self, notification: object) -> None:
        self._calls += 1
        _SLOT.pack_into(self._memory, self._offset, self._calls, time.monotonic())


async def _serve_skyhooks(where: str, counter: _Counter, callbacks: int) -> None:
    from skyhooks._asyncio import Registry

    async with Registry(where) as registry:
        for _ in range(callbacks):
            await registry.register({"account": 42}, lambda n: counter(n.data))
        print("ready", flush=True)
        await asyncio.Event().wait()


async def _serve_tornado(where: str, counter: _Counter, callbacks: int) -> None:
    from skyhooks.tornado import Registry

    async with Registry(where) as registry:
        for _ in range(callbacks):
            await registry.register({"account": 42}, lambda n: counter(n.data))
        print("ready", flush=True)
        await asyncio.Event().wait()


async def _serve_redis(where: str, counter: _Counter, callbacks: int) -> None:
    import orjson
    import redis.asyncio

    client = redis.asyncio.Redis.from_url(where)
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    await pubsub.subscribe("account=42")
    await pubsub.get_message(timeout=1)
    print("ready", flush=True)
    while True:
        message = await pubsub.get_message(timeout=None)
        if message is not None:
            data = orjson.loads(message["data"])
            for _ in range(callbacks):
                counter(data)


def main() -> None:
    kind, where, path, index, callbacks = sys.argv[1:]
    serve = {"asyncio": _serve_skyhooks, "tornado": _serve_tornado, "redis": _serve_redis}[kind]
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    asyncio.run(serve(where, _Counter(path, int(index)), int(callbacks)))


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
