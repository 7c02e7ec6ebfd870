"""The demo's fleet: three web processes, their jobs, and what these share."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import tempfile
from collections.abc import Sequence
from types import TracebackType
from typing import Self
from urllib.parse import quote

import msgspec

from ..exceptions import SkyhooksError
from .frameworks import choose, transports_of
from .orders import JobOrder, JobReport, WebOrder
from .processes import Child, WebProcess
from .store import DemoStore
from .web import HOST

RETENTION = "keep=1000000&keep_bytes=1073741824&keep_seconds=604800"
"""Large enough that nothing is trimmed while the demo runs, however long the job: a pane may come back at any time."""


class Cluster:
    """The web processes and jobs of one demo, their store, and a directory that goes with them.

    Without a store's URL, the store is a file in that directory.
    """

    def __init__(self, origins: Sequence[str] = (), store_url: str | None = None) -> None:
        self.scratch = tempfile.mkdtemp(prefix="skyhooks-demo-")
        self.store = DemoStore(store_url or f"sqlite:///{quote(self.scratch)}/demo.db?{RETENTION}")
        self.jobs = 0
        self._job: Child | None = None
        try:
            self.processes = [self._plan(number, framework, origins) for number, framework in enumerate(choose())]
        except BaseException:
            shutil.rmtree(self.scratch)
            raise

    async def __aenter__(self) -> Self:
        try:
            await asyncio.to_thread(self.store.begin)
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

    async def run_job(self, paths: Sequence[str], *, files: int, seconds: float) -> JobReport:
        """Run a job to its end.

        Raises:
            ProcessFailed: it has no report to give.
        """
        self.jobs += 1
        order = JobOrder(self.scratch, self.store.keys, self.jobs, files, seconds)
        self._job = job = await Child.start("skyhooks.demo.job", order, self.store.url, paths)
        return msgspec.json.decode(await job.line(), type=JobReport)

    def _plan(self, number: int, framework: str, origins: Sequence[str]) -> WebProcess:
        reservation = _reserve()
        order = WebOrder(
            scratch=self.scratch,
            keys=self.store.keys,
            name="ABC"[number],
            host=HOST,
            port=reservation.getsockname()[1],
            origins=list(origins),
        )
        return WebProcess(order, self.store.url, framework, transports_of(number, framework), reservation)

    async def _stop(self) -> None:
        children = [process.stop() for process in self.processes]
        if self._job is not None:
            children.append(self._job.kill())
        await asyncio.gather(*children)
        instance_ids = [one for process in self.processes for one in process.instance_ids]
        with contextlib.suppress(SkyhooksError):  # a store that is away by now lets their leases run out
            await asyncio.to_thread(self.store.forget, instance_ids)
        shutil.rmtree(self.scratch, ignore_errors=True)


def _reserve() -> socket.socket:
    """Bind a port without listening: while its process is dead nobody is given it, not even as a client's own port."""
    reservation = socket.socket()
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reservation.bind((HOST, 0))
    return reservation
