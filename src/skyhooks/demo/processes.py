"""The demo's processes, seen from their parent: started, killed, started anew, ended with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import msgspec

from ..exceptions import SkyhooksError
from .orders import GOODBYE, GRACE_SECONDS, JobOrder, JobReport, Ready, WebOrder

HOST = "127.0.0.1"
START_SECONDS = 30.0

FRAMEWORKS: Mapping[str, str] = {"asyncio": "skyhooks.demo.web_asyncio"}
"""The module that is a web process of that framework."""

RETENTION = "keep=1000000&keep_bytes=1073741824&keep_seconds=604800"
"""Large enough that nothing is trimmed while the demo runs, however long the job: a pane may come back at any time."""


class ProcessFailed(SkyhooksError):
    """One of the demo's processes did not start, or did not end as it should."""


class Child:
    """One process, which ends when its standard input does; what it complains of goes to a log."""

    def __init__(self, process: Process, log: Path) -> None:
        self._process = process
        self._log = log

    @classmethod
    async def start(cls, module: str, order: WebOrder | JobOrder, paths: Sequence[str] = ()) -> Self:
        """Start `python -m module`, out of reach of the terminal's Ctrl-C, which is for the parent."""
        log = Path(order.scratch) / f"{secrets.token_hex(4)}.log"
        with log.open("wb") as complaints:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-P", "-m", module, msgspec.json.encode(order).decode(), *paths),
                stdin=PIPE,
                stdout=PIPE,
                stderr=complaints,
                start_new_session=True,
            )
        return cls(process, log)

    @property
    def pid(self) -> int:
        """The system's number of it."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet, as far as is known."""
        return self._process.returncode is None

    async def line(self) -> bytes:
        """Read what it says.

        Raises:
            ProcessFailed: it has nothing to say, and ends.
        """
        stdout = self._process.stdout
        line = await stdout.readline() if stdout else b""
        if not line:
            status = await self._process.wait()
            raise ProcessFailed(f"process {self.pid} ended with status {status}: {self.last_words()}")
        return line

    def last_words(self) -> str:
        """Return the last line of its log."""
        with contextlib.suppress(OSError):
            return (self._log.read_text(encoding="utf-8", errors="replace").rstrip().splitlines() or [""])[-1]
        return ""

    async def kill(self) -> None:
        """End it as a crash would."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """Let it leave; a process that takes too long is killed."""
        stdin = self._process.stdin
        if stdin is not None and self.running:
            with contextlib.suppress(OSError):
                stdin.write(GOODBYE)
                stdin.close()
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await self._process.wait()
        except TimeoutError:
            await self.kill()


class WebProcess:
    """One of the web processes: always at the same port, however often it is killed."""

    def __init__(self, order: WebOrder, framework: str, reservation: socket.socket) -> None:
        self.name = order.name
        self.framework = framework
        self._order = order
        self._reservation = reservation
        self._child: Child | None = None

    @property
    def port(self) -> int:
        """Where it serves its events."""
        return self._order.port

    @property
    def pid(self) -> int | None:
        """The system's number of it, while it runs."""
        return self._child.pid if self._child is not None and self._child.running else None

    async def start(self) -> None:
        """Start it, and wait until it serves.

        Raises:
            ProcessFailed: it does not.
        """
        self._child = child = await Child.start(FRAMEWORKS[self.framework], self._order)
        try:
            async with asyncio.timeout(START_SECONDS):
                msgspec.json.decode(await child.line(), type=Ready)
        except TimeoutError:
            raise ProcessFailed(f"process {self.name} does not start: {child.last_words()}") from None

    async def kill(self) -> None:
        """End it as a crash would."""
        if self._child is not None:
            await self._child.kill()

    async def stop(self) -> None:
        """End it, and give its port back."""
        if self._child is not None:
            await self._child.stop()
        self._reservation.close()


class Cluster:
    """The web processes and jobs of one demo, and the directory with their store."""

    def __init__(self, first_port: int, origins: Sequence[str]) -> None:
        self.scratch = tempfile.mkdtemp(prefix="skyhooks-demo-")
        self.store = f"sqlite:///{quote(self.scratch)}/demo.db?{RETENTION}"
        self.keys = {"demo": secrets.token_hex(4)}
        self.jobs = 0
        self._job: Child | None = None
        try:
            self.processes = [self._plan(number, first_port, origins) for number in range(3)]
        except BaseException:
            shutil.rmtree(self.scratch)
            raise

    async def __aenter__(self) -> Self:
        try:
            await asyncio.gather(*(process.start() for process in self.processes))
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stop()

    def process(self, name: str) -> WebProcess | None:
        """Return the web process of that name."""
        return next((process for process in self.processes if process.name == name), None)

    @property
    def job_is_running(self) -> bool:
        """Whether a job has begun and not ended."""
        return self._job is not None and self._job.running

    async def run_job(self, paths: Sequence[str], *, files: int, seconds: float) -> JobReport:
        """Run a job to its end.

        Raises:
            ProcessFailed: it has no report to give.
        """
        self.jobs += 1
        order = JobOrder(self.scratch, self.store, self.keys, self.jobs, files, seconds)
        self._job = job = await Child.start("skyhooks.demo.job", order, paths)
        return msgspec.json.decode(await job.line(), type=JobReport)

    def _plan(self, number: int, first_port: int, origins: Sequence[str]) -> WebProcess:
        reservation = _reserve(first_port + number if first_port else 0)
        order = WebOrder(
            scratch=self.scratch,
            store=self.store,
            keys=self.keys,
            name="ABC"[number],
            host=HOST,
            port=reservation.getsockname()[1],
            origins=list(origins),
        )
        frameworks = list(FRAMEWORKS)
        return WebProcess(order, frameworks[number % len(frameworks)], reservation)

    async def _stop(self) -> None:
        children = [process.stop() for process in self.processes]
        if self._job is not None:
            children.append(self._job.kill())
        await asyncio.gather(*children)
        shutil.rmtree(self.scratch, ignore_errors=True)


def _reserve(port: int) -> socket.socket:
    """Bind a port without listening: while its process is dead nobody is given it, not even as a client's own port."""
    reservation = socket.socket()
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        reservation.bind((HOST, port))
    except OSError as error:
        reservation.close()
        raise ProcessFailed(
            f"port {port} cannot be had ({os.strerror(error.errno or 0)}); give another --port"
        ) from None
    return reservation
