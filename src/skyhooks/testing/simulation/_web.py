"""A web process: a registry, and those who wait in it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from ..._cursor import decode_cursor, key_hash
from ..._dispatch import Dispatcher
from ..._notification import Gap, Notification
from ..._registration import Registration
from ..._registry import RegistryCore
from ...abc import STORE_SECONDS
from ...exceptions import NotStarted, SkyhooksError, StoreUnavailable, UnverifiedEntry, UrlShared
from ._listener import Listener
from ._runtime import Runtime
from ._scheduler import Cancelled, Group, Task
from ._server import STORE
from ._weather import SLACK_SECONDS

if TYPE_CHECKING:
    from ._world import World


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
        self.core = RegistryCore(
            STORE, self.runtime, self.dispatcher, secrets=world.secrets, tell=self._tell, label=name, **options
        )
        if not world.looks:
            # Heartbeats that trust their tokens: with a million keys, almost all of them do.
            self.core._heartbeat._look_at_slice = _nothing  # type: ignore[method-assign]  # of this one alone

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
        return self.group.spawn(_tried(self.core._heartbeat.reap))

    def cursor(self, *keys: str) -> Task:
        """Take a cursor; the task's result is it, or None."""
        return self.group.spawn(self._cursor(keys))

    def beat(self) -> Task:
        """Beat once more than the heart does by itself."""
        return self.group.spawn(_tried(self.core._heartbeat.beat) if self.alive else _nothing())

    def register(
        self,
        *keys: str,
        since: str | None = None,
        stream: int = 0,
        reader_seconds: float = 0.0,
        eagerly: bool = False,
    ) -> Joining:
        """Begin to register a callback, or a stream of at most `stream` pending items."""
        places = {}
        if since not in (None, "start"):
            known = decode_cursor(since or "")
            places = {f"k={key}": known[key_hash(f"k={key}")] for key in keys if key_hash(f"k={key}") in known}
        listener = Listener(self, self.world.name("r"), tuple(f"k={key}" for key in keys), since, places)
        self.listeners.append(listener)
        work = self._subscribe(listener, since, stream, reader_seconds) if stream else self._register(listener, since)
        return Joining(listener, self.group.spawn_eagerly(work) if eagerly else self.group.spawn(work))

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
        heart = self.core._tasks
        tasks = [task for task in self.group.tasks if task.started and task not in heart and task not in self.protected]
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
        elif not (isinstance(error, UnverifiedEntry) and self.world.strangers):
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
        listener = self.listener
        while listener.returned_at is None and listener.closed_at is None and not self.task.done:
            await listener.web.world.sleep(0.02)
        return listener


async def _nothing() -> None:
    return None


async def _tried(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    try:
        await work()
    except StoreUnavailable:
        return
