"""A connection to one web process, as the check uses it: it counts, and connects again with its cursor."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import msgspec

from .clients import READ, Told
from .orders import Progress
from .processes import WebProcess
from .web import HOST

AGAIN_SECONDS = 0.1


class Reader:
    """Reads one job's notifications from one process, by its first transport, whatever happens to the process."""

    def __init__(self, process: WebProcess, arrived: Callable[[Reader], Awaitable[None]]) -> None:
        self.process = process
        self.transport = process.transports[0]
        self.ids: list[str] = []
        self.gaps = 0
        self.caught_up = 0
        """How many came from the log, and not as they happened."""
        self.latencies: list[float] = []
        """Seconds from the job to here, of what was not replayed from the log."""
        self.connections = 0
        self.of = 0
        """How many there will be, once that is known."""
        self._arrived = arrived
        self._cursor = "start"
        self._connected_at = 0.0
        self._ended = False

    async def read(self) -> None:
        """Read until the summary has come."""
        while not self._ended:
            with contextlib.suppress(OSError):
                await self._read_on()
            await asyncio.sleep(AGAIN_SECONDS)

    async def _read_on(self) -> None:
        read = READ[self.transport]
        async with contextlib.aclosing(read(HOST, self.process.port, self._cursor)) as stream:
            async for told in stream:
                self._take(told)
                await self._arrived(self)
                if self._ended or self.process.pid is None:  # what is on its way from the dead is lost
                    return

    def _take(self, told: Told) -> None:
        self._cursor = told.cursor
        self.gaps += told.type == "gap"
        if told.type == "hello":
            self.connections += 1
            self._connected_at = time.time()
        if told.type == "notification":
            self._count(msgspec.json.decode(told.data, type=Progress))

    def _count(self, progress: Progress) -> None:
        self.of = progress.of
        self.ids.append(progress.id)
        if progress.at < self._connected_at:
            self.caught_up += 1
        else:
            self.latencies.append(time.time() - progress.at)
        self._ended = progress.kind == "summary"
