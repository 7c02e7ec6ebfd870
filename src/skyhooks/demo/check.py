"""`demo --once`: runs a job, kills each process in turn, and holds what everybody got against the store's log."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import msgspec

from ..cli.output import Bar
from .cluster import Cluster
from .orders import JobReport
from .reader import Reader
from .store import Log

DOWN_SECONDS = 0.3
CHECK_SECONDS = 60.0
"""How long everything may take beyond the job itself."""


class Verdict(msgspec.Struct, frozen=True):
    """What one process's reader got, held against the log."""

    process: str
    framework: str
    transport: str
    """By which its reader was connected: `events`, `socket` or `poll`."""
    killed_after: int | None
    """How many notifications its reader had then; None: it was not killed."""
    resumed: bool
    """Whether the reader went on with the process that was started in its place."""
    received: int
    caught_up: int
    """How many of them came from the log, and not as they happened."""
    duplicates: int
    gaps: int
    """Notifications of the log that are missing, and gaps that were told."""
    in_order: bool
    p50_ms: float | None
    p99_ms: float | None

    @property
    def ok(self) -> bool:
        """Whether it is the log, the whole log and nothing but the log."""
        return self.in_order and not self.gaps and not self.duplicates

    @property
    def survived(self) -> bool:
        """Whether a crash lies in between."""
        return self.killed_after is not None and self.resumed


class Result(msgspec.Struct, frozen=True):
    """What became of the whole."""

    ok: bool
    notifications: int
    """That were published to the store's log."""
    trimmed: int
    """How many of them its retention no longer keeps: these are only held against each other."""
    alike: bool
    """Whether all readers got the same."""
    verdicts: list[Verdict]
    report: JobReport | None
    """None: the time ran out."""


class Check:
    """One job, a reader for each process, a crash of each process."""

    def __init__(self, cluster: Cluster, bar: Bar) -> None:
        self._cluster = cluster
        self._bar = bar
        self._readers = [Reader(process, self._arrived) for process in cluster.processes]
        self._killed_after: dict[Reader, int] = {}
        self._tasks = asyncio.TaskGroup()

    async def run(self, paths: Sequence[str], *, files: int, seconds: float) -> Result:
        """Run it.

        Raises:
            ProcessFailed: a process did not start, or the job failed.
            StoreUnavailable: the log cannot be read.
        """
        report = None
        try:
            async with asyncio.timeout(seconds + CHECK_SECONDS):
                report = await self._run_job(paths, files, seconds)
        except TimeoutError:
            pass  # the verdicts say what is missing
        finally:
            self._bar.clear()
        return self._judge(report, await asyncio.to_thread(self._cluster.store.log))

    async def _run_job(self, paths: Sequence[str], files: int, seconds: float) -> JobReport:
        try:
            async with self._tasks as group:
                for reader in self._readers:
                    group.create_task(reader.read())
                job = group.create_task(self._cluster.run_job(paths, files=files, seconds=seconds))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return job.result()

    async def _arrived(self, reader: Reader) -> None:
        if reader not in self._killed_after and len(reader.ids) >= self._due(reader) > 0:
            await self._kill(reader)
        self._bar.show(
            min(len(one.ids) for one in self._readers),
            max(one.of for one in self._readers),
            "  ".join(f"{one.process.name} {len(one.ids)}" for one in self._readers),
        )

    def _due(self, reader: Reader) -> int:
        """Say after how many notifications it is this one's turn: of three, after one, two, three quarters."""
        turn = self._readers.index(reader) + 1
        return min(math.ceil(reader.of * turn / (len(self._readers) + 1)), reader.of - 1)

    async def _kill(self, reader: Reader) -> None:
        process, pid = reader.process, reader.process.pid
        self._killed_after[reader] = len(reader.ids)
        await process.kill()
        self._bar.say(
            f"killed process {process.name} ({process.framework}, kill -9 {pid}) after {len(reader.ids)} notifications"
        )
        self._tasks.create_task(self._revive(reader))

    async def _revive(self, reader: Reader) -> None:
        process = reader.process
        await asyncio.sleep(DOWN_SECONDS)
        await process.start()
        self._bar.say(f"started process {process.name} anew (pid {process.pid})")

    def _judge(self, report: JobReport | None, log: Log) -> Result:
        verdicts = [judge(reader, log, self._killed_after.get(reader)) for reader in self._readers]
        alike = all(reader.ids == self._readers[0].ids for reader in self._readers)
        published = report is not None and not report.failed and report.notifications == log.published
        return Result(
            ok=published and alike and all(verdict.ok and verdict.survived for verdict in verdicts),
            notifications=log.published,
            trimmed=log.trimmed,
            alike=alike,
            verdicts=verdicts,
            report=report,
        )


def judge(reader: Reader, log: Log, killed_after: int | None) -> Verdict:
    """Compare what a reader got with the ids in the log."""
    got = set(reader.ids)
    missing = sum(one not in got for one in log.ids)
    return Verdict(
        process=reader.process.name,
        framework=reader.process.framework,
        transport=reader.transport,
        killed_after=killed_after,
        resumed=reader.connections > 1,
        received=len(reader.ids),
        caught_up=reader.caught_up,
        duplicates=len(reader.ids) - len(got),
        gaps=reader.gaps + missing,
        in_order=reader.ids[log.trimmed :] == log.ids,
        p50_ms=_percentile_ms(reader.latencies, 50),
        p99_ms=_percentile_ms(reader.latencies, 99),
    )


def _percentile_ms(seconds: Sequence[float], percent: int) -> float | None:
    if not seconds:
        return None
    rank = math.ceil(len(seconds) * percent / 100)
    return round(sorted(seconds)[rank - 1] * 1000, 2)
