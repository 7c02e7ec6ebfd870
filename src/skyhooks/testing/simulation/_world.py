"""The simulated world: web processes, jobs, a network between them, and one who watches."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from types import ModuleType
from typing import Any
from unittest.mock import patch

from ._job import Job, Note
from ._listener import Listener
from ._scheduler import Group, Scheduler, suspend
from ._server import Server
from ._weather import FINE, Weather
from ._web import Web


class World:
    """All there is in one schedule."""

    def __init__(self, seed: int, *, tracing: bool = False) -> None:
        self.scheduler = Scheduler(seed)
        self.server = Server(self.scheduler, keep=1000)
        self.weather = Weather(fine=True)
        self.trace: list[str] | None = [] if tracing else None
        self.violation: str | None = None
        self.webs: list[Web] = []
        self.jobs: list[Job] = []
        self.notes: list[Note] = []
        self.busy_until = 0.0
        self.joins: list[tuple[str, str | None]] = []
        """Who asked to join, and with which URL."""
        self.looks = False
        """Whether heartbeats look at a slice of the keys (PROTOCOL 14), which heals almost everything else."""
        self.may_refuse = ""
        """What the error says where a refusal is right."""
        self.newest_listens = False
        self.secrets: tuple[bytes, ...] = ()
        self.strangers: set[str] = set()
        """Notifiers without the secret."""
        self.director = Group(self.scheduler, self._failed)
        self._narrowed = ExitStack()
        self._moments = 0
        self._names = 0

    # -- what scenarios do ---------------------------------------------------------------------------

    async def sleep(self, seconds: float) -> None:
        """Let time go by."""
        me = self.scheduler.current
        self.scheduler.at(seconds, me.step, me.ticket)
        await suspend()

    async def moments(self, most_seconds: float = 0.03) -> None:
        """Let a random short time go by."""
        await self.sleep(self.scheduler.random() * most_seconds)

    def web(self, url: str | None = "", **options: Any) -> Web:
        """Make a web process; it has yet to start. `url`: None is pull mode, "" one of its own."""
        web = Web(self, f"web{len(self.webs) + 1}", url, options)
        self.webs.append(web)
        return web

    async def started(self, url: str | None = "", **options: Any) -> Web:
        """Make a web process and start it in fine weather."""
        weather, self.weather = self.weather, FINE
        web = self.web(url, **options)
        await web.start().wait()
        self.weather = weather
        return web

    async def registered(self, web: Web, *keys: str, **options: Any) -> Listener:
        """Register in fine weather."""
        weather, self.weather = self.weather, FINE
        listener = await web.register(*keys, **options).done()
        self.weather = weather
        return listener

    def job(self, **options: Any) -> Job:
        """Make a job process."""
        job = Job(self, f"job{len(self.jobs) + 1}", options)
        self.jobs.append(job)
        return job

    def stranger(self) -> Job:
        """Make a job process that has another secret."""
        ours, self.secrets = self.secrets, (b"x" * 24,)
        job = self.job()
        self.secrets = ours
        self.strangers.add(job.core._sender)
        return job

    def name(self, what: str) -> str:
        """Name something."""
        self._names += 1
        return f"{what}{self._names}"

    def chance(self, share: float) -> bool:
        """Draw a yes or a no."""
        return self.scheduler.random() < share

    # -- watching ------------------------------------------------------------------------------------

    def moment(self) -> int:
        """Number the moments, to tell before from after."""
        self._moments += 1
        return self._moments

    def log(self, who: str, what: str) -> None:
        """Add a line to the trace, where one is kept."""
        if self.trace is not None:
            self.trace.append(f"{self.scheduler.now:9.4f} {who:8} {what}")

    def violate(self, what: str) -> None:
        """Note that a promise was broken, and end the schedule."""
        if self.violation is None:
            self.violation = what
            self.log("CHECKER", what)
            self.scheduler.stop()

    def listener(self, url: str) -> Web | None:
        """Return the process that a POST to this URL reaches."""
        webs = [web for web in self.webs if web.url == url and web.listening]
        if not webs:
            return None
        return webs[-1] if len(webs) == 1 or self.newest_listens else webs[self.scheduler.pick(len(webs))]

    def owner(self, instance_id: str) -> Web | None:
        """Return the process that joined under this id."""
        label = self.server.owners.get(instance_id)
        return next((web for web in self.webs if web.name == label), None)

    def narrow(self, module: ModuleType, name: str, value: int) -> None:
        """Make one of the core's limits small, until the schedule ends."""
        self._narrowed.enter_context(patch.object(module, name, value))

    def end(self) -> None:
        """Let go of everything."""
        self._narrowed.close()
        for web in self.webs:
            web.group.kill()
        for job in self.jobs:
            job.group.kill()
        self.director.kill()

    def _failed(self, error: BaseException) -> None:
        self.violate(f"the scenario itself failed: {error!r}")


Scenario = Callable[[World], Coroutine[Any, Any, None]]
