"""The demo's front page, served by the parent: it shows the processes, starts jobs and kills processes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Sequence
from http import HTTPStatus
from importlib.resources import files as package_files
from types import TracebackType
from typing import Self

import msgspec

from .cluster import Cluster
from .frameworks import notice
from .http import Exchange, Server
from .orders import JobReport
from .processes import ProcessFailed, WebProcess
from .web import HOST, HOSTS

DOWN_SECONDS = 1.5
"""How long a killed process stays dead: long enough to be seen, and to miss something."""

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'unsafe-inline'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "connect-src 'self' " + " ".join(f"http://{host}:*" for host in HOSTS),
    )
)


class Shown(msgspec.Struct, frozen=True):
    """A web process as the page shows it."""

    name: str
    framework: str
    port: int
    pid: int | None
    reviving: bool


class State(msgspec.Struct, frozen=True):
    """What the page asks for again and again."""

    key: str
    store: str
    processes: list[Shown]
    job: int
    job_is_running: bool
    report: JobReport | None
    trouble: str
    notice: str
    """Which frameworks are missing."""


class Front:
    """The page and what is behind its buttons."""

    def __init__(
        self, port: int, paths: Sequence[str], *, files: int, seconds: float, store_url: str | None = None
    ) -> None:
        self._port = port
        self._paths = paths
        self._store_url = store_url
        self._files = files
        self._seconds = seconds
        self._server = Server(self._handle)
        self._page = package_files(__package__).joinpath("page.html").read_bytes()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reviving: set[str] = set()
        self._report: JobReport | None = None
        self._trouble = ""
        self._notice = notice()

    async def __aenter__(self) -> Self:
        try:
            await self._server.start(HOST, self._port)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise ProcessFailed(f"port {self._port} cannot be had ({reason}); give another --port") from None
        port = self._server.port
        try:
            origins = [f"http://{host}:{port}" for host in HOSTS]
            self._cluster = Cluster(self._port and port + 1, origins, self._store_url)
            await self._cluster.__aenter__()
        except BaseException:
            await self._server.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._cluster.__aexit__(kind, error, traceback)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self._server.port}/"

    @property
    def store(self) -> str:
        """Where the processes meet, without what is nobody's business; how long it keeps what, it knows by itself."""
        return self._cluster.store.shown

    @property
    def key(self) -> str:
        """What they wait for."""
        return " ".join(f"{name}={value}" for name, value in self._cluster.store.keys.items())

    async def serve(self) -> None:
        """Go on until cancelled."""
        await asyncio.Event().wait()

    async def _handle(self, exchange: Exchange) -> None:
        request = exchange.request
        if (request.method, request.path) == ("GET", "/"):
            await exchange.answer(HTTPStatus.OK, self._page, "text/html; charset=utf-8", content_security_policy=POLICY)
        elif (request.method, request.path) == ("GET", "/state"):
            await exchange.answer(HTTPStatus.OK, msgspec.json.encode(self._state()), "application/json")
        elif (request.method, request.path) == ("POST", "/job"):
            await exchange.answer(self._start_job())
        elif (request.method, request.path) == ("POST", "/kill"):
            await exchange.answer(self._kill(request.query.get("process", "")))
        else:
            await exchange.answer(HTTPStatus.NOT_FOUND)

    def _state(self) -> State:
        cluster = self._cluster
        shown = [
            Shown(one.name, one.framework, one.port, one.pid, one.name in self._reviving) for one in cluster.processes
        ]
        return State(
            key=self.key,
            store=self.store,
            processes=shown,
            job=cluster.jobs,
            job_is_running=self._job_runs,
            report=self._report,
            trouble=self._trouble,
            notice=self._notice,
        )

    @property
    def _job_runs(self) -> bool:
        return any(task.get_name() == "job" for task in self._tasks)

    def _start_job(self) -> HTTPStatus:
        if self._job_runs:
            return HTTPStatus.CONFLICT
        self._spawn("job", self._run_job())
        return HTTPStatus.ACCEPTED

    def _kill(self, name: str) -> HTTPStatus:
        process = self._cluster.process(name)
        if process is None:
            return HTTPStatus.NOT_FOUND
        if name in self._reviving:
            return HTTPStatus.CONFLICT
        self._reviving.add(name)
        self._spawn("kill", self._crash(process))
        return HTTPStatus.ACCEPTED

    async def _run_job(self) -> None:
        self._report = None
        self._report = await self._cluster.run_job(self._paths, files=self._files, seconds=self._seconds)

    async def _crash(self, process: WebProcess) -> None:
        try:
            await process.kill()
            await asyncio.sleep(DOWN_SECONDS)
            await process.start()
        finally:
            self._reviving.discard(process.name)

    def _spawn(self, name: str, work: Awaitable[None]) -> None:
        self._trouble = ""

        async def watch() -> None:
            try:
                await work
            except ProcessFailed as error:
                self._trouble = str(error)

        task = asyncio.create_task(watch(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
