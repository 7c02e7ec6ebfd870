"""`demo --once`: runs a job, kills a process half way, and holds what everybody got against the store's log."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import msgspec

from .._keys import canonical_keys
from .._stores import open_store
from .._values import Position
from ..cli.output import Bar
from .orders import JobReport
from .processes import Cluster
from .reader import Reader

VICTIM = 1
DOWN_SECONDS = 0.3
CHECK_SECONDS = 60.0
"""How long everything may take beyond the job itself."""
PAGE_ENTRIES = 500


class Verdict(msgspec.Struct, frozen=True):
    """What one process's reader got, held against the log."""

    process: str
    framework: str
    received: int
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


class Result(msgspec.Struct, frozen=True):
    """What became of the whole."""

    ok: bool
    notifications: int
    """In the store's log."""
    victim: str
    killed_after: int
    """How many notifications its reader had."""
    resumed: bool
    """Whether the reader went on with the process that was started in its place."""
    verdicts: list[Verdict]
    report: JobReport | None
    """None: the time ran out."""


class Check:
    """One job, three readers, one crash."""

    def __init__(self, cluster: Cluster, bar: Bar) -> None:
        self._cluster = cluster
        self._bar = bar
        self._readers = [Reader(process, self._arrived) for process in cluster.processes]
        self._victim = self._readers[VICTIM]
        self._killed_after = 0
        self._revival: asyncio.Task[None] | None = None

    async def run(self, paths: Sequence[str], *, files: int, seconds: float) -> Result:
        """Run it.

        Raises:
            ProcessFailed: a process did not start, or the job failed.
        """
        report = None
        try:
            async with asyncio.timeout(seconds + CHECK_SECONDS):
                report = await self._run_job(paths, files, seconds)
        except TimeoutError:
            pass  # the verdicts say what is missing
        finally:
            self._bar.clear()
        return self._judge(report, await asyncio.to_thread(_read_log, self._cluster))

    async def _run_job(self, paths: Sequence[str], files: int, seconds: float) -> JobReport:
        try:
            async with asyncio.TaskGroup() as group:
                for reader in self._readers:
                    group.create_task(reader.read())
                job = group.create_task(self._cluster.run_job(paths, files=files, seconds=seconds))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        if self._revival is not None:
            await self._revival
        return job.result()

    async def _arrived(self, reader: Reader) -> None:
        if reader is self._victim and self._revival is None and len(reader.ids) * 2 >= reader.of > 0:
            await self._kill()
        self._bar.show(
            min(len(one.ids) for one in self._readers),
            max(one.of for one in self._readers),
            "  ".join(f"{one.process.name} {len(one.ids)}" for one in self._readers),
        )

    async def _kill(self) -> None:
        process, pid = self._victim.process, self._victim.process.pid
        self._killed_after = len(self._victim.ids)
        await process.kill()
        self._bar.say(f"killed process {process.name} (kill -9 {pid}) after {self._killed_after} notifications")
        self._revival = asyncio.create_task(self._revive())

    async def _revive(self) -> None:
        process = self._victim.process
        await asyncio.sleep(DOWN_SECONDS)
        await process.start()
        self._bar.say(f"started process {process.name} anew (pid {process.pid})")

    def _judge(self, report: JobReport | None, log: Sequence[str]) -> Result:
        verdicts = [judge(reader, log) for reader in self._readers]
        resumed = self._victim.connections > 1
        published = report is not None and not report.failed and report.notifications == len(log)
        return Result(
            ok=published and resumed and all(verdict.ok for verdict in verdicts),
            notifications=len(log),
            victim=self._victim.process.name,
            killed_after=self._killed_after,
            resumed=resumed,
            verdicts=verdicts,
            report=report,
        )


def judge(reader: Reader, log: Sequence[str]) -> Verdict:
    """Compare what a reader got with the ids in the log."""
    got = set(reader.ids)
    missing = sum(one not in got for one in log)
    return Verdict(
        process=reader.process.name,
        framework=reader.process.framework,
        received=len(reader.ids),
        duplicates=len(reader.ids) - len(got),
        gaps=reader.gaps + missing,
        in_order=reader.ids == list(log),
        p50_ms=_percentile_ms(reader.latencies, 50),
        p99_ms=_percentile_ms(reader.latencies, 99),
    )


def _read_log(cluster: Cluster) -> list[str]:
    store = open_store(cluster.store)
    try:
        (key,) = canonical_keys(cluster.keys)
        ids: list[str] = []
        after: Position | None = None
        while (page := store.read(key, after, PAGE_ENTRIES)) is not None and page.entries:
            ids += [entry.id for entry in page.entries]
            after = Position(page.epoch, page.entries[-1].seq)
        return ids
    finally:
        store.close()


def _percentile_ms(seconds: Sequence[float], percent: int) -> float | None:
    if not seconds:
        return None
    rank = math.ceil(len(seconds) * percent / 100)
    return round(sorted(seconds)[rank - 1] * 1000, 2)
