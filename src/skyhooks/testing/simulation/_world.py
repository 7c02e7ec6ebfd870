"""The simulated world: web processes, jobs, a network between them, and one who watches."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast

from ..._cursor import decode_cursor, key_hash
from ..._dispatch import Dispatcher
from ..._notification import Gap, Notification
from ..._notifier import NotifierCore
from ..._registration import Registration
from ..._registry import RegistryCore
from ..._values import Outcome, Receipt
from ...abc import STORE_SECONDS, Store
from ...exceptions import NotStarted, SkyhooksError, StoreUnavailable, UrlShared
from ._listener import Listener
from ._runtime import Runtime, Weather
from ._scheduler import Cancelled, Group, Scheduler, Task
from ._server import Server, ServerStore

STORE = cast(Store, ServerStore())
SLACK_SECONDS = 0.1
FINE = Weather(fine=True)


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
        self.director = Group(self.scheduler, self._failed)
        self._moments = 0
        self._names = 0

    # -- what scenarios do ---------------------------------------------------------------------------

    async def sleep(self, seconds: float) -> None:
        """Let time go by."""
        await Runtime.sleep(cast(Runtime, _Sleeper(self.scheduler)), seconds)

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

    def end(self) -> None:
        """Let go of everything."""
        for web in self.webs:
            web.group.kill()
        for job in self.jobs:
            job.group.kill()
        self.director.kill()

    def _failed(self, error: BaseException) -> None:
        self.violate(f"the scenario itself failed: {error!r}")


class _Sleeper:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler


class _NeverLooks(RegistryCore):
    """A registry whose heartbeats trust their tokens: with a million keys, almost all of them do."""

    async def _look_at_slice(self) -> None:
        self._beats += 1


class Web:
    """A web process: a registry and those who wait in it."""

    def __init__(self, world: World, name: str, url: str | None, options: dict[str, Any]) -> None:
        self.world = world
        self.name = name
        self.url = f"http://10.0.0.1/{name}" if url == "" else url
        self.group = Group(world.scheduler, self._failed)
        self.runtime = Runtime(world, self.group, name)
        self.dispatcher = Dispatcher(self._invoke)
        self.dispatch = self.dispatcher.dispatch
        self.listeners: list[Listener] = []
        self.listening = False
        self.stopped = False
        self.shared = 0
        self.protected: set[Task] = set()
        self.max_body_bytes: int = options.get("max_body_bytes", 1_048_576)
        kind = RegistryCore if world.looks else _NeverLooks
        self.core = kind(
            STORE, self.runtime, self.dispatcher, secrets=world.secrets, tell=self._tell, label=name, **options
        )

    @property
    def alive(self) -> bool:
        """Whether it runs, and its `start` has returned."""
        return self.group.alive and self.core.running

    def start(self) -> Task:
        """Listen, prove the URL, join."""
        self.listening = self.url is not None
        return self.group.spawn(self._start())

    def reap(self) -> Task:
        """Reap once more than it does by itself."""
        return self.group.spawn(_tried(self.core._reap))  # noqa: SLF001

    def cursor(self, *keys: str) -> Task:
        """Take a cursor; the task's result is it, or None."""
        return self.group.spawn(self._cursor(keys))

    def beat(self) -> Task:
        """Beat once more than the heart does by itself."""
        return self.group.spawn(_tried(self.core.beat) if self.alive else _nothing())

    def register(self, *keys: str, since: str | None = None, stream: int = 0, reader_seconds: float = 0.0) -> Joining:
        """Begin to register a callback, or a stream of at most `stream` pending items."""
        places = {}
        if since not in (None, "start"):
            known = decode_cursor(since or "")
            places = {f"k={key}": known[key_hash(f"k={key}")] for key in keys if key_hash(f"k={key}") in known}
        listener = Listener(self, self.world.name("r"), tuple(f"k={key}" for key in keys), since, places)
        self.listeners.append(listener)
        work = self._subscribe(listener, since, stream, reader_seconds) if stream else self._register(listener, since)
        return Joining(listener, self.group.spawn(work))

    def unregister(self, listener: Listener, *, eagerly: bool = False) -> Task:
        """Unregister; from its first step on nothing may be called."""
        work = self._unregister(listener)
        return self.group.spawn_eagerly(work) if eagerly else self.group.spawn(work)

    def kill(self) -> None:
        """Kill -9."""
        if self.group.alive:
            self.world.log(self.name, "KILLED")
            self.listening = False
            self.group.kill()
            for listener in self.listeners:
                listener.close()

    def stop(self) -> Task:
        """Stop as an adapter does, with what runs on its loop cancelled at the end."""
        return self.group.spawn(self._stop())

    def cancel_something(self) -> None:
        """Cancel one of the tasks that are under way, but for the heart."""
        heart = self.core._tasks  # noqa: SLF001
        tasks = [
            task for task in self.group.tasks if task.started and task not in heart and task not in self.protected
        ]
        if tasks:
            self.world.log(self.name, "CANCELS A TASK")
            tasks[self.world.scheduler.pick(len(tasks))].cancel_now()

    # -- inside --------------------------------------------------------------------------------------

    async def _start(self) -> None:
        try:
            await self.core.start(self.url)
        except SkyhooksError as error:
            self.world.log(self.name, f"could not start: {error}")
            self.kill()

    async def _stop(self) -> None:
        await self.core.stop(1.0)
        self.world.log(self.name, "stopped")
        self.stopped = True
        self.listening = False
        for listener in self.listeners:
            listener.close()
        for task in list(self.group.tasks):
            if task is not self.world.scheduler.current:
                task.cancel_now()

    async def _cursor(self, keys: Sequence[str]) -> str | None:
        try:
            return await self.core.cursor({"k": list(keys)})
        except (StoreUnavailable, NotStarted):
            return None

    async def _register(self, listener: Listener, since: str | None) -> None:
        world = self.world
        began = world.scheduler.now
        world.log(self.name, f"{listener.name} registers {listener.keys} since {listener.places if since else None}")
        try:
            keys = {"k": [key[2:] for key in listener.keys]}
            registration = await self.core.register(keys, listener.called, since=since, on_gap=listener.called)
        except (StoreUnavailable, NotStarted) as error:
            listener.close()
            world.log(self.name, f"{listener.name} is not registered: {error}")
            self._check_seconds("register", began)
        except Cancelled:
            listener.close()
            raise
        else:
            listener.returned(registration)
            world.log(self.name, f"{listener.name} is registered")

    async def _subscribe(self, listener: Listener, since: str | None, size: int, reader_seconds: float) -> None:
        world = self.world
        try:
            keys = {"k": [key[2:] for key in listener.keys]}
            stream = await self.core.open_stream(keys, since=since, max_pending=size)
        except (StoreUnavailable, NotStarted):
            listener.close()
            return
        except Cancelled:
            listener.close()
            raise
        listener.stream = stream
        if stream.registration is not None:
            listener.returned(stream.registration)
        world.log(self.name, f"{listener.name} is a stream of {listener.keys}")
        task = world.scheduler.current
        self.protected.add(task)
        while not stream.ended and listener.closed_at is None:
            if stream.pending:
                await self.runtime.sleep(world.scheduler.random() * reader_seconds)
                if stream.pending and listener.closed_at is None:
                    listener.called(stream.take())
            else:
                news = self.runtime.future()
                stream.wake = lambda news=news: news.set(None)  # type: ignore[misc]
                await news.wait(None)
        listener.close()
        await self.core.close_stream(stream)

    async def _unregister(self, listener: Listener) -> None:
        self.world.log(self.name, f"{listener.name} unregisters")
        listener.close()
        try:
            if listener.stream is not None:
                await self.core.close_stream(listener.stream)
            elif listener.registration is not None:
                await self.core.unregister(listener.registration)
        except StoreUnavailable as error:
            self.world.violate(f"unregister raised {error!r}")

    def _invoke(self, registration: Registration, what: Notification | Gap) -> None:
        if not self.group.alive:
            return
        if isinstance(what, Notification):
            registration.callback(what)
        elif registration.on_gap is not None:
            registration.on_gap(what)

    def _tell(self, error: BaseException, _: Notification | None) -> None:
        if isinstance(error, UrlShared):
            self.shared += 1
            if not any(web is not self and web.url == self.url for web in self.world.webs):
                self.world.violate(f"{self.name} was displaced by itself")
            self.world.log(self.name, "is told that its URL is shared")
            if self.shared > 1:
                self.world.violate(f"{self.name} was displaced {self.shared} times")
        else:
            self.world.violate(f"{self.name} was told of {error!r}")

    def _failed(self, error: BaseException) -> None:
        self.world.violate(f"a task of {self.name} raised {error!r}")

    def _check_seconds(self, what: str, began: float) -> None:
        seconds = self.world.scheduler.now - began
        if seconds > STORE_SECONDS + SLACK_SECONDS:
            self.world.violate(f"{what} raised StoreUnavailable after {seconds:.2f} s")


class Joining:
    """A registration under way."""

    def __init__(self, listener: Listener, task: Task) -> None:
        self.listener = listener
        self.task = task

    async def done(self) -> Listener:
        """Wait until it is registered, or has failed."""
        if self.listener.returned_at is None and not self.task.done:
            await self.task.wait()
        return self.listener


class Note:
    """One call of `notify` and what came of it."""

    def __init__(self, job: Job, keys: tuple[str, ...], *, ephemeral: bool, id: str | None) -> None:
        self.job = job
        self.keys = keys
        self.ephemeral = ephemeral
        self.id = id
        self.nonce = ""
        self.began_at = job.world.moment()
        self.began = job.world.scheduler.now
        self.ended_at = 0
        self.receipt: Receipt | None = None
        self.failed = False


class Job:
    """A job process with its notifier."""

    def __init__(self, world: World, name: str, options: dict[str, Any]) -> None:
        self.world = world
        self.name = name
        self.group = Group(world.scheduler, self._failed)
        self.runtime = Runtime(world, self.group, name)
        self.core = NotifierCore(STORE, self.runtime, secrets=world.secrets, **options)

    def notify(
        self, *keys: str, id: str | None = None, ephemeral: bool = False, data: object = None, timeout: float | None = None
    ) -> Task:
        """Notify, in a task of its own; the task's result is the note of it."""
        if not self.group.alive:
            return self.world.director.spawn(_nothing())
        return self.group.spawn(self._notify(self._note(keys, ephemeral, id), data, timeout))

    def notify_many(self, items: Sequence[tuple[str, bool]]) -> Task:
        """Notify several (key, ephemeral) at once."""
        notes = [self._note((key,), ephemeral, None) for key, ephemeral in items]
        return self.group.spawn(self._notify_many(notes))

    def submit(self, keys: Sequence[str]) -> Task:
        """Submit a notification for each of these keys, in this order, and wait for the receipts."""
        return self.group.spawn(self._submit([self._note((key,), False, None) for key in keys]))

    def kill(self) -> None:
        """Kill -9."""
        self.world.log(self.name, "KILLED")
        self.group.kill()

    # -- inside --------------------------------------------------------------------------------------

    def _note(self, keys: Sequence[str], ephemeral: bool, id: str | None) -> Note:
        note = Note(self, tuple(f"k={key}" for key in keys), ephemeral=ephemeral, id=id)
        self.world.notes.append(note)
        return note

    def _prepare(self, note: Note, data: object, timeout: float | None = None) -> Any:
        sending = self.core.prepare(
            {"k": [key[2:] for key in note.keys]},
            self.world.name("d") if data is None else data,
            id=note.id,
            ephemeral=note.ephemeral,
            timeout_seconds=timeout,
        )
        note.nonce = sending.nonce
        note.id = sending.id
        if self.world.trace is not None:
            kind = "ephemeral " if note.ephemeral else ""
            self.world.log(self.name, f"notifies {note.keys} {kind}{sending.id[-10:]} {sending.data!r}")
        return sending

    async def _notify(self, note: Note, data: object, timeout: float | None) -> Note:
        sending = self._prepare(note, data, timeout)
        try:
            note.receipt = await self.core.notify(sending)
        except StoreUnavailable as error:
            note.failed = True
            self._check_failure(note, error)
        note.ended_at = self.world.moment()
        self._check_receipt(note)
        return note

    async def _notify_many(self, notes: list[Note]) -> list[Note]:
        sendings = [self._prepare(note, None) for note in notes]
        try:
            receipts = await self.core.notify_many(sendings)
        except StoreUnavailable:
            receipts = []
        for note, receipt in zip(notes, receipts, strict=False):
            note.receipt = receipt
            note.ended_at = self.world.moment()
            self._check_receipt(note)
        return notes

    async def _submit(self, notes: list[Note]) -> None:
        sendings = []
        for note in notes:
            sendings.append(self._prepare(note, None))
            await self.core.submit(sendings[-1])
        for note, sending in zip(notes, sendings, strict=True):
            if not await sending.wait(60.0):
                self.world.violate(f"{note.id} was submitted and never came to an end")
            if sending.error is None:
                note.receipt = sending.receipt()
                note.ended_at = self.world.moment()
                self._check_receipt(note)

    def _check_failure(self, note: Note, error: StoreUnavailable) -> None:
        seconds = self.world.scheduler.now - note.began
        self.world.log(self.name, f"{note.id} failed: {error}")
        if seconds > STORE_SECONDS + SLACK_SECONDS:
            self.world.violate(f"notify raised StoreUnavailable after {seconds:.2f} s")

    def _check_receipt(self, note: Note) -> None:
        receipt = note.receipt
        if receipt is None:
            return
        world = self.world
        if world.trace is not None:
            shown = ", ".join(f"{one.instance_id[:4]}:{one.outcome.value}:{one.callbacks}" for one in receipt.deliveries)
            world.log(self.name, f"receipt of {note.id}: {'duplicate ' if receipt.duplicate else ''}[{shown}]")
        named = [one.instance_id for one in receipt.deliveries]
        if len(set(named)) != len(named):
            world.violate(f"the receipt of {note.id} names an instance twice")
        if not note.ephemeral and set(named) != self.runtime.published.get(note.nonce, set()):
            world.violate(f"the receipt of {note.id} names {named}, the store {self.runtime.published.get(note.nonce)}")
        for one in receipt.deliveries:
            wrong = Outcome.DEFERRED if note.ephemeral else Outcome.LOST
            if one.outcome is Outcome.REFUSED and (not world.may_refuse or world.may_refuse not in (one.error or "")):
                world.violate(f"{note.id} was refused: {one.error}")
            if one.outcome is wrong:
                world.violate(f"{note.id}: {one.outcome} of {'an ephemeral' if note.ephemeral else 'a retained'} one")
            if one.error is not None and "in the notifier" in one.error:
                world.violate(f"{note.id}: {one.error}")

    def _failed(self, error: BaseException) -> None:
        self.world.violate(f"a task of {self.name} raised {error!r}")


async def _nothing() -> None:
    return None


async def _tried(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    try:
        await work()
    except StoreUnavailable:
        return


Scenario = Callable[[World], Coroutine[Any, Any, None]]
