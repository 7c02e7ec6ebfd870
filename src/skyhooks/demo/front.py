"""The demo's front: the page and what is behind its buttons, served by the parent of all processes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Self

import msgspec

from .cluster import Cluster
from .frameworks import notice
from .http import Exchange, Server
from .orders import JobReport
from .page import POLICY, read_page
from .processes import ProcessFailed, WebProcess
from .web import HOST, HOSTS
from .wire import Wire

CUT_SECONDS = 2.0
"""How long a connection stays cut: long enough to be seen, and to miss something."""


class Shown(msgspec.Struct, frozen=True):
    """A web process as the page shows it."""

    name: str
    framework: str
    transports: Sequence[str]
    port: int
    """Of the wire to it."""
    pid: int | None
    starting: bool
    cut: bool


class State(msgspec.Struct, frozen=True):
    """What the page asks for again and again."""

    key: str
    store: str
    processes: list[Shown]
    job: int
    job_is_running: bool
    report: JobReport | None
    failed_jobs: list[int]
    """Which did not publish all that they wanted to tell."""
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
        self._page = read_page()
        self._wires: dict[str, Wire] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting: set[str] = set()
        self._report: JobReport | None = None
        self._failed_jobs: list[int] = []
        self._cluster: Cluster
        self._trouble = ""
        self._notice = notice()
        self._actions: dict[str, Callable[[WebProcess], HTTPStatus]] = {
            "/kill": self._kill,
            "/start": self._start,
            "/cut": self._cut,
        }

    async def __aenter__(self) -> Self:
        await _listen(self._server.start, self._port, HOST)
        try:
            self._cluster = Cluster([f"http://{host}:{self._server.port}" for host in HOSTS], self._store_url)
            await self._cluster.__aenter__()
        except BaseException:
            await self._server.close()
            raise
        try:
            for number, process in enumerate(self._cluster.processes, 1):
                self._wires[process.name] = wire = Wire(process.port)
                await _listen(wire.start, self._port and self._port + number)
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
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
        await asyncio.gather(*(wire.close() for wire in self._wires.values()))

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
        method, path = exchange.request.method, exchange.request.path
        file = self._page.get(path)
        if method == "GET" and file is not None:
            await exchange.answer(HTTPStatus.OK, file.body, file.media_type, content_security_policy=POLICY)
        elif (method, path) == ("GET", "/state"):
            await exchange.answer(HTTPStatus.OK, msgspec.json.encode(self._state()), "application/json")
        elif (method, path) == ("POST", "/job"):
            await exchange.answer(self._start_job())
        elif method == "POST" and path in self._actions:
            await exchange.answer(self._act(path, exchange.request.query.get("process", "")))
        else:
            await exchange.answer(HTTPStatus.NOT_FOUND)

    def _state(self) -> State:
        cluster = self._cluster
        return State(
            key=self.key,
            store=self.store,
            processes=[self._show(process) for process in cluster.processes],
            job=cluster.jobs,
            job_is_running=self._job_runs,
            report=self._report,
            failed_jobs=self._failed_jobs,
            trouble=self._trouble,
            notice=self._notice,
        )

    def _show(self, process: WebProcess) -> Shown:
        wire, name = self._wires[process.name], process.name
        starting = name in self._starting
        return Shown(name, process.framework, process.transports, wire.port, process.pid, starting, wire.is_cut)

    # -- what the buttons do ----------------------------------------------------------------------

    @property
    def _job_runs(self) -> bool:
        return any(task.get_name() == "job" for task in self._tasks)

    def _start_job(self) -> HTTPStatus:
        if self._job_runs:
            return HTTPStatus.CONFLICT
        self._spawn("job", self._run_job())
        return HTTPStatus.ACCEPTED

    def _act(self, path: str, name: str) -> HTTPStatus:
        process = self._cluster.process(name)
        return HTTPStatus.NOT_FOUND if process is None else self._actions[path](process)

    def _kill(self, process: WebProcess) -> HTTPStatus:
        if process.pid is None or process.name in self._starting:
            return HTTPStatus.CONFLICT
        self._spawn("kill", process.kill())
        return HTTPStatus.ACCEPTED

    def _start(self, process: WebProcess) -> HTTPStatus:
        if process.pid is not None or process.name in self._starting:
            return HTTPStatus.CONFLICT
        self._starting.add(process.name)
        self._spawn("start", self._start_anew(process))
        return HTTPStatus.ACCEPTED

    def _cut(self, process: WebProcess) -> HTTPStatus:
        wire = self._wires[process.name]
        if wire.is_cut or process.pid is None:
            return HTTPStatus.CONFLICT
        self._spawn("cut", wire.cut(CUT_SECONDS))
        return HTTPStatus.ACCEPTED

    async def _run_job(self) -> None:
        self._report = None
        try:
            self._report = await self._cluster.run_job(self._paths, files=self._files, seconds=self._seconds)
        finally:
            if self._report is None or self._report.failed:
                self._failed_jobs.append(self._cluster.jobs)

    async def _start_anew(self, process: WebProcess) -> None:
        try:
            await process.start()
        finally:
            self._starting.discard(process.name)

    def _spawn(self, name: str, work: Awaitable[None]) -> None:
        self._trouble = ""

        async def watch() -> None:
            try:
                await work
            except (ProcessFailed, OSError, msgspec.DecodeError) as error:
                self._trouble = str(error)

        task = asyncio.create_task(watch(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _listen(start: Callable[..., Awaitable[None]], port: int, *host: str) -> None:
    try:
        await start(*host, port)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise ProcessFailed(f"port {port} cannot be had ({reason}); give another --port") from None
