"""A registry's life, the same in every world: listen, prove, join; leave, close. Async, names no loop."""

from __future__ import annotations

from typing import Any, Protocol

from ._bridge.door import Door
from ._bridge.feed import Feed
from ._bridge.options import BridgeOptions
from ._calls import Calls
from ._notifier import NotifierCore
from ._registry import Outlet, RegistryCore
from ._settings import RegistrySettings, advertised_url, label, listen_address
from ._values import Receipt
from .abc import Future, Runtime
from .exceptions import NotStarted, UrlUnreachable


class OwnListener(Protocol):
    """What takes POSTs for a registry that listens for itself."""

    async def start(self, host: str, port: int) -> None:
        """Listen on an address; port 0 is one that the system picks.

        Raises:
            OSError: the address is not this machine's, or is taken.
            ValueError: the certificate cannot be loaded.
        """

    @property
    def port(self) -> int:
        """Where it listens."""

    async def close(self) -> None:
        """Accept nothing more, let written answers flow for a second at most, close all connections. Twice is fine."""


class RegistryRuntime(Runtime, Protocol):
    """A runtime that knows what callbacks have begun, and can be closed."""

    async def settle(self, seconds: float) -> None:
        """Wait until what callbacks began has ended, but no longer than this."""

    async def close(self) -> None:
        """Stop what runs, and wait for it; then close client, threads and the store."""


class World(Protocol):
    """What a framework brings to a registry."""

    framework: str
    calls: Calls

    @property
    def outlet(self) -> Outlet:
        """Where the registry's calls go; the same for all lives."""

    def check(self) -> None:
        """Make sure that this process is fit for the framework.

        Raises:
            NotStarted: saying what to do first.
        """

    def runtime(self, settings: RegistrySettings) -> RegistryRuntime:
        """Make the runtime of one life."""

    def listener(self, core: RegistryCore, settings: RegistrySettings) -> OwnListener:
        """Make the own listener of one life: `core.receive` answers, then `core.dispatch` starts the calls."""


class Life:
    """One registry from `start` to `stop`, put together from a world's parts."""

    def __init__(self, settings: RegistrySettings, world: World) -> None:
        self.settings = settings
        self.runtime: RegistryRuntime | None = None
        self._world = world
        self._start_ended: Future[None] | None = None
        self._core: RegistryCore | None = None
        self._notifier: NotifierCore | None = None
        self._listener: OwnListener | None = None
        self._door: Door | None = None

    @property
    def begun(self) -> bool:
        """Whether there is something to stop."""
        return self._core is not None

    @property
    def core(self) -> RegistryCore:
        """The registry.

        Raises:
            NotStarted: there is none yet.
        """
        if self._core is None:
            raise NotStarted("this registry has not been started", "call start() first")
        return self._core

    async def start(self) -> None:
        """Listen, prove that the URL reaches this very process, join; where that fails, nothing is left of it."""
        if self._core is not None:
            self._core.check_process()
            if self._core.running:
                return
            raise NotStarted("this registry has been stopped or is being started", "make and start a new one")
        self._world.check()
        self.runtime = runtime = self._world.runtime(self.settings)
        self._core = core = self._make_core(runtime)
        self._door = Door(runtime, lambda: core.store_answers)
        self._notifier = NotifierCore(self.settings.store, runtime, secrets=self.settings.secrets)
        self._start_ended = runtime.future()
        try:
            url = await self._open_listener(runtime, core)
            if url is not None:
                self.settings.url_policy.check_url(url)
            await core.start(url)
        except BaseException:
            await self._close()
            self._core = None
            raise
        finally:
            self._start_ended.set(None)

    async def stop(self, drain_seconds: float) -> None:
        """Leave, let callbacks end within `drain_seconds`, close; a start that is under way comes to its end first."""
        if self._start_ended is not None:
            await self._start_ended.wait(None)
        core, runtime = self._core, self.runtime
        if core is None or runtime is None:
            return  # that start has failed, and left nothing
        try:
            until = runtime.now() + drain_seconds
            await core.stop(drain_seconds)
            await runtime.settle(until - runtime.now())
        finally:
            await self._close()

    def feed(self, options: BridgeOptions) -> Feed:
        """Make what a bridge reads for one client."""
        core, runtime = self.core, self.runtime
        if runtime is None or self._door is None:
            raise NotStarted("this registry has not been started", "call start() first")
        return Feed(core, runtime, options, self._door)

    async def notify(
        self, keys: Any, data: object, *, id: str | None, ephemeral: bool, timeout_seconds: float | None
    ) -> Receipt:
        """Publish from this process."""
        self.core.check_process()
        notifier = self._notifier
        if notifier is None:
            raise NotStarted("this registry has not been started", "call start() first")
        return await notifier.notify(
            notifier.prepare(keys, data, id=id, ephemeral=ephemeral, timeout_seconds=timeout_seconds)
        )

    def _make_core(self, runtime: Runtime) -> RegistryCore:
        settings, world = self.settings, self._world
        return RegistryCore(
            settings.store,
            runtime,
            world.outlet,
            secrets=settings.secrets,
            lease_seconds=settings.lease_seconds,
            heartbeat_seconds=settings.heartbeat_seconds,
            max_body_bytes=settings.max_body_bytes,
            allow_unsigned=settings.allow_unsigned,
            legacy=settings.legacy,
            label=label(world.framework),
            tell=world.calls.tell,
            counts=world.calls.counts,
        )

    async def _open_listener(self, runtime: Runtime, core: RegistryCore) -> str | None:
        settings = self.settings
        if settings.url is not None or settings.listen is None:
            return settings.url
        local_address = await runtime.call(settings.store.local_address)
        address = listen_address(settings, local_address)
        if address is None:
            return None
        listener = self._world.listener(core, settings)
        try:
            await listener.start(*address)
        except OSError as error:
            raise UrlUnreachable(f"{address[0]}:{address[1]}", f"cannot listen there ({error.strerror})") from error
        self._listener = listener
        return advertised_url(settings, (address[0], listener.port), local_address)

    async def _close(self) -> None:
        if self._notifier is not None:
            self._notifier.close()
        if self._listener is not None:
            await self._listener.close()
        if self.runtime is not None:
            await self.runtime.close()
