"""The registry on plain asyncio: what Tornado's is made of, and the command line stands on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self

from .._bridge.feed import Feed
from .._bridge.options import BridgeOptions
from .._calls import Calls, OnError
from .._dispatch import Dispatcher
from .._http import Response
from .._inbox import Headers
from .._life import Life
from .._registration import Registration
from .._registry import RegistryCore
from .._settings import RegistrySettings, Secret, check_positive, registry_settings
from .._tls import client_context, server_context
from .._urls import UrlPolicy
from .._values import Receipt
from ..abc import Callback, GapCallback, Store
from .io import Client, Listener
from .runtime import AsyncioRuntime, Poster
from .stream import Subscription

Keys = Mapping[str, object]


class Registry:
    """This process's callbacks, and its place among those who are rung.

    The constructor checks its arguments and touches nothing; `start` opens the store, listens, proves that the URL
    reaches this very process, and joins. Callbacks may be plain or async functions; they run on the loop.
    """

    framework = "asyncio"

    def __init__(
        self,
        store: str | Store | None = None,
        *,
        url: str | None = None,
        listen: str | None = "auto",
        advertise: str | None = None,
        secret: Secret = None,
        lease_seconds: float = 30.0,
        heartbeat_seconds: float = 10.0,
        max_body_bytes: int = 1_048_576,
        on_error: OnError | None = None,
        url_policy: UrlPolicy | None = None,
        allow_unsigned: bool = False,
        legacy: bool = True,
        client: Any = None,
        certfile: str | None = None,
        keyfile: str | None = None,
        cafile: str | None = None,
    ) -> None:
        self._settings = registry_settings(
            store=store,
            url=url,
            listen=listen,
            advertise=advertise,
            secret=secret,
            lease_seconds=lease_seconds,
            heartbeat_seconds=heartbeat_seconds,
            max_body_bytes=max_body_bytes,
            url_policy=url_policy,
            allow_unsigned=allow_unsigned,
            legacy=legacy,
            certfile=certfile,
            keyfile=keyfile,
            cafile=cafile,
        )
        self._check_client(client)
        self._client = client
        self._world = _World(self.framework, on_error, self._make_client)
        self._life = Life(self._settings, self._world)
        self._stopping: asyncio.Future[None] | None = None

    # -- life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen, prove that the URL reaches this very process, join.

        Raises:
            UrlUnreachable: jobs would not reach this process.
            UrlShared: they would reach others as well.
            UrlBlocked: the URL policy, here as in jobs, forbids calling it.
            StoreUnavailable, StoreCorrupt: of the store.
        """
        if not self._life.begun:
            self._stopping = None  # of a start that failed
        await self._life.start()

    async def stop(self, drain_seconds: float = 10) -> None:
        """Take no new registrations, end the streams within `drain_seconds`, leave, close.

        Async callbacks that are under way have as long to end. Twice is fine, also at once: one stop serves all who ask
        for it, and goes on when one of them is cancelled.
        """
        if not self._life.begun:
            return
        self._life.core.check_process()  # in a child, to close what is shared would make the parent deaf
        self._world.disown(asyncio.current_task())  # a callback that stops the registry is not waited for
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(self._life.stop(drain_seconds))
        await asyncio.shield(self._stopping)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str | None:
        """Where jobs POST to this process; None in pull mode."""
        return self._life.core.url

    @property
    def instance_id(self) -> str:
        """Who this process is among the instances; new whenever it joins."""
        return self._life.core.instance_id

    @property
    def counts(self) -> Mapping[str, int]:
        """How often what has happened so far, by name: `received`, `gaps`, `callback_errors`, `unverified` and others."""
        return self._life.core.counts

    # -- verbs ------------------------------------------------------------------------------------

    async def register(
        self, keys: Keys, callback: Callback, *, since: str | None = None, on_gap: GapCallback | None = None
    ) -> Registration:
        """Have `callback(notification)` called for every notification to any of these keys, from now on.

        With `since`, a cursor or `"start"`, first for what the log has after it. It may be called before this returns.

        Raises:
            InvalidKey, InvalidCursor: nothing was touched.
            StoreUnavailable: within 3 s; nothing is registered.
        """
        return await self._life.core.register(keys, callback, since=since, on_gap=on_gap)

    async def unregister(self, registration: Registration) -> None:
        """End a registration: no call starts from now on. Twice is fine; store trouble is repaired in the background."""
        await self._life.core.unregister(registration)

    def subscribe(self, keys: Keys, *, since: str | None = None, max_pending: int = 256) -> Subscription:
        """Read what a registration would be called with: `async with` it, then iterate."""
        check_positive(max_pending=max_pending)
        return Subscription(self._life.core, keys, since, max_pending)

    async def cursor(self, keys: Keys) -> str:
        """Return where these keys are now: take it before a job is started, and hand it to whoever will wait.

        Raises:
            StoreUnavailable: within 3 s.
        """
        return await self._life.core.cursor(keys)

    async def notify(
        self,
        keys: Keys,
        data: object,
        *,
        id: str | None = None,
        ephemeral: bool = False,
        timeout_seconds: float | None = None,
    ) -> Receipt:
        """Publish from this process; see `Notifier.notify`."""
        return await self._life.notify(keys, data, id=id, ephemeral=ephemeral, timeout_seconds=timeout_seconds)

    # -- what a mounted handler calls -------------------------------------------------------------

    @property
    def max_body_bytes(self) -> int:
        """The largest body that is taken."""
        return self._settings.max_body_bytes

    def receive(self, headers: Headers, body: bytes) -> Response:
        """Answer what was POSTed to the mounted handler; call `dispatch` once the answer is on its way."""
        return self._life.core.receive(headers, body)

    def dispatch(self) -> None:
        """Start the calls that are due."""
        self._world.outlet.dispatch()

    def feed(self, options: BridgeOptions) -> Feed:
        """Make what a bridge reads for one client; `open` it, and close it when the client has gone."""
        return self._life.feed(options)

    # -- inside -----------------------------------------------------------------------------------

    def _check_client(self, client: object) -> None:
        if client is not None:
            raise TypeError("client= is for adapters, as skyhooks.tornado is one; leave it out here")

    def _make_client(self) -> Poster:
        return Client(self._settings.url_policy, ssl_context=client_context(self._settings.cafile))


class _World:
    """asyncio's parts of a registry."""

    def __init__(self, framework: str, on_error: OnError | None, make_client: Callable[[], Poster]) -> None:
        self.framework = framework
        self.calls = Calls(on_error, self._adopt)
        self.outlet = Dispatcher(self.calls.invoke)
        self._make_client = make_client
        self._runtime: AsyncioRuntime | None = None

    def check(self) -> None:
        """Do nothing: asyncio runs in every process."""

    def runtime(self, settings: RegistrySettings) -> AsyncioRuntime:
        self._runtime = AsyncioRuntime(self._make_client(), settings.store)
        return self._runtime

    def listener(self, core: RegistryCore, settings: RegistrySettings) -> Listener:
        context = server_context(settings.certfile, settings.keyfile)
        return Listener(core.receive, core.dispatch, max_body_bytes=settings.max_body_bytes, ssl_context=context)

    def disown(self, task: asyncio.Future[Any] | None) -> None:
        """Do not wait for this one, when the registry stops."""
        if self._runtime is not None:
            self._runtime.disown(task)

    def _adopt(self, result: Awaitable[Any], failed: Callable[[BaseException], None]) -> None:
        if self._runtime is not None:
            self._runtime.adopt(asyncio.ensure_future(result), failed)
