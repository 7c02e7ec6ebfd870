"""An EventSource on one web process, as the check uses it: it counts, and connects again with its cursor."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import msgspec

from .events import Event, Told, read_events
from .processes import WebProcess
from .web import HOST

AGAIN_SECONDS = 0.1


class Progress(msgspec.Struct, frozen=True):
    """Where a job is."""

    kind: str
    files: int

    @property
    def of(self) -> int:
        """How many notifications the job makes: one before the files, one behind them."""
        return self.files + 2


class Reader:
    """Reads one job's notifications from one process, whatever happens to the process."""

    def __init__(self, process: WebProcess, arrived: Callable[[Reader], Awaitable[None]]) -> None:
        self.process = process
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
        self._ended = False

    async def read(self) -> None:
        """Read until the summary has come."""
        while not self._ended:
            with contextlib.suppress(OSError):
                await self._read_on()
            await asyncio.sleep(AGAIN_SECONDS)

    async def _read_on(self) -> None:
        async with contextlib.aclosing(read_events(HOST, self.process.port, since=self._cursor)) as events:
            async for event in events:
                self._take(event)
                await self._arrived(self)
                if self._ended or self.process.pid is None:  # what is on its way from the dead is lost
                    return

    def _take(self, event: Event) -> None:
        self._cursor = event.cursor or self._cursor
        self.connections += event.kind == "hello"
        self.gaps += event.kind == "gap"
        if event.kind == "notification":
            self._count(msgspec.json.decode(event.data, type=Told))

    def _count(self, told: Told) -> None:
        progress = msgspec.json.decode(told.data, type=Progress)
        self.of = progress.of
        self.ids.append(told.id)
        if told.replayed:
            self.caught_up += 1
        else:
            self.latencies.append(time.time() - told.sent_at)
        self._ended = progress.kind == "summary"
