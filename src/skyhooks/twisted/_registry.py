"""A registry on Twisted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from functools import cached_property
from types import TracebackType
from typing import Any, Self

from treq.client import HTTPClient
from twisted.internet.defer import Deferred

from .._bridge.feed import Feed
from .._bridge.options import BridgeOptions
from .._calls import Calls, OnError
from .._dispatch import Dispatcher
from .._http import Response
from .._inbox import Headers
from .._life import Life
from .._notification import Gap, Notification
from .._registration import Registration
from .._registry import RegistryCore
from .._settings import RegistrySettings, Secret, check_positive, registry_settings
from .._urls import UrlPolicy, parse_url
from .._values import Receipt
from ..abc import Callback, GapCallback, Store
from ..exceptions import ForkedRegistry
from ._client import Client
from ._deferred import Shared, adopted, outside
from ._listener import Listener
from ._reactor import AfterWrites, Reactor, Turns, check_thread, running_reactor
from ._runtime import Poster, TwistedRuntime
from ._stream import Subscription
from ._tasks import TwistedTask
from ._tls import ClientTls, server_options
from ._treq import TreqClient, agent_of

Keys = Mapping[str, object]


class Registry:
    """This process's callbacks, and its place among those who are rung.

    The constructor checks its arguments and touches nothing; `start` opens the store, listens, proves that the URL
    reaches this very process, and joins. Callbacks run on the reactor's thread; they may be functions, return Deferreds,
    or be `async def`; under the asyncio reactor they may return its tasks and futures, too.

    By default it opens its own listener, beside whatever else the process serves. With `url=` mount `WebhookResource` in
    your site instead, and start the registry once the site listens. `client` may be a `treq.client.HTTPClient`; the
    default client is faster, logs nothing of its connections, and connects to the very address that the URL policy has
    checked. Make yours as `HTTPClient(Agent(reactor, pool=HTTPConnectionPool(reactor)))`: an agent without such a pool
    connects anew for each request, and Twisted logs the start and the stop of a factory each time. `RegistryService`
    starts and stops a registry with `twistd`.

    A callback's Deferred or coroutine is handled here: what it fails with goes to `on_error`, `stop` waits for it. What
    is to be told besides goes to stdlib's logger `skyhooks`; `RegistryService` brings that to twisted.logger.
    """

    framework = "twisted"

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
        client: HTTPClient | None = None,
        certfile: str | None = None,
        keyfile: str | None = None,
        cafile: str | None = None,
        reactor: Reactor | None = None,
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
        if client is not None:
            agent_of(client)
        self._world = _World(self.framework, on_error, client, reactor)
        self._life = Life(self._settings, self._world)
        self._stopped: Shared[None] | None = None

    # -- life -------------------------------------------------------------------------------------

    def start(self) -> Deferred[None]:
        """Listen, prove that the URL reaches this very process, join. Cancelled, it undoes what it has done.

        Fails with:
            UrlUnreachable: jobs would not reach this process.
            UrlShared: they would reach others as well.
            UrlBlocked: the URL policy, here as in jobs, forbids calling it.
            StoreUnavailable, StoreCorrupt: of the store.
        """
        self._check_thread()
        if not self._life.begun:
            self._stopped = None  # of a start that failed
        return outside(self._life.start())

    def stop(self, drain_seconds: float = 10) -> Deferred[None]:
        """Take no new registrations, end the streams within `drain_seconds`, leave, close.

        Deferreds and coroutines that callbacks have returned have as long to end. Twice is fine, also at once: one stop
        serves all who ask for it, and goes on when one of them is cancelled.
        """
        self._check_thread()
        return outside(self._stop(drain_seconds))

    def __aenter__(self) -> Deferred[Self]:
        return self.start().addCallback(lambda _: self)

    def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Deferred[None]:
        return self.stop()

    @property
    def reactor(self) -> Reactor:
        """The reactor that it runs on: the one that was given, else the process's."""
        return self._world.reactor

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

    def register(
        self, keys: Keys, callback: Callback, *, since: str | None = None, on_gap: GapCallback | None = None
    ) -> Deferred[Registration]:
        """Have `callback(notification)` called for every notification to any of these keys, from now on.

        With `since`, a cursor or `"start"`, first for what the log has after it. It may be called before this fires.
        Cancelled, it registers nothing.

        Fails with:
            InvalidKey, InvalidCursor: nothing was touched.
            StoreUnavailable: within 3 s; nothing is registered.
        """
        self._check_thread()
        return outside(self._register(keys, callback, since, on_gap))

    def unregister(self, registration: Registration) -> Deferred[None]:
        """End a registration: no call starts from now on. Twice is fine; store trouble is repaired in the background."""
        self._check_thread()
        return outside(self._unregister(registration))

    def subscribe(self, keys: Keys, *, since: str | None = None, max_pending: int = 256) -> Subscription:
        """Read what a registration would be called with: `async with` it, then iterate; or `open` it and ask for `next`."""
        self._check_thread()
        check_positive(max_pending=max_pending)
        return Subscription(self._world.turns, self._life.core, keys, since, max_pending)

    def cursor(self, keys: Keys) -> Deferred[str]:
        """Return where these keys are now: take it before a job is started, and hand it to whoever will wait.

        Fails with:
            StoreUnavailable: within 3 s.
        """
        self._check_thread()
        return outside(self._cursor(keys))

    def notify(
        self,
        keys: Keys,
        data: object,
        *,
        id: str | None = None,
        ephemeral: bool = False,
        timeout_seconds: float | None = None,
    ) -> Deferred[Receipt]:
        """Publish from this process; see `Notifier.notify`."""
        self._check_thread()
        return outside(self._life.notify(keys, data, id=id, ephemeral=ephemeral, timeout_seconds=timeout_seconds))

    # -- what a mounted resource calls ------------------------------------------------------------

    @property
    def max_body_bytes(self) -> int:
        """The largest body that is taken."""
        return self._settings.max_body_bytes

    @property
    def path(self) -> bytes | None:
        """The path that `url=` has; None where the registry listens for itself."""
        url = self._settings.url
        return parse_url(url).target.partition("?")[0].encode() if url is not None else None

    def receive(self, headers: Headers, body: bytes) -> Response:
        """Answer what was POSTed to the mounted resource; call `dispatch` once the answer has been written."""
        return self._life.core.receive(headers, body)

    def dispatch(self) -> None:
        """Start the calls that are due, as soon as what was written is with the sockets."""
        self._world.after_writes()

    def feed(self, options: BridgeOptions) -> Feed:
        """Make what a bridge reads for one client; `open` it, and close it when the client has gone."""
        return self._life.feed(options)

    # -- inside -----------------------------------------------------------------------------------

    async def _stop(self, drain_seconds: float) -> None:
        if not self._life.begun:
            return
        self._life.core.check_process()  # in a child, to close what is shared would make the parent deaf
        self._world.disown()  # a callback that stops the registry is not waited for
        if self._stopped is None:
            self._stopped = stopped = Shared[None]()
            self._world.turns.later(lambda: self._begin_stop(stopped, drain_seconds))
        await self._stopped.wait()

    def _begin_stop(self, stopped: Shared[None], drain_seconds: float) -> None:
        outside(self._life.stop(drain_seconds)).addBoth(stopped.fire)

    async def _register(
        self, keys: Keys, callback: Callback, since: str | None, on_gap: GapCallback | None
    ) -> Registration:
        return await self._life.core.register(keys, callback, since=since, on_gap=on_gap)

    async def _unregister(self, registration: Registration) -> None:
        await self._life.core.unregister(registration)

    async def _cursor(self, keys: Keys) -> str:
        return await self._life.core.cursor(keys)

    def _check_thread(self) -> None:
        """Raise `RuntimeError` in a thread that is not the reactor's; what is forked is told so by its core instead."""
        if self._life.begun:
            try:
                self._life.core.check_process()
            except ForkedRegistry:
                return
        check_thread()


class _Call:
    """One call of a callback, for what runs within it."""

    __slots__ = ("disowned", "task")

    def __init__(self) -> None:
        self.disowned = False
        self.task: TwistedTask | None = None


_current: ContextVar[_Call | None] = ContextVar("skyhooks_call", default=None)


class _World:
    """Twisted's parts of a registry."""

    def __init__(
        self, framework: str, on_error: OnError | None, client: HTTPClient | None, reactor: Reactor | None
    ) -> None:
        self.framework = framework
        self.calls = Calls(on_error, self._adopt)
        self.outlet = Dispatcher(self._invoke)
        self._client = client
        self._reactor = reactor
        self._runtime: TwistedRuntime | None = None

    @cached_property
    def reactor(self) -> Reactor:
        return self._reactor or running_reactor()

    @cached_property
    def turns(self) -> Turns:
        return Turns(self.reactor)

    @cached_property
    def after_writes(self) -> AfterWrites:
        return AfterWrites(self.reactor, self.outlet.dispatch)

    def check(self) -> None:
        """Do nothing: a reactor that does not run yet will."""

    def runtime(self, settings: RegistrySettings) -> TwistedRuntime:
        self._runtime = TwistedRuntime(self.reactor, self.turns, self._make_client(settings), settings.store)
        return self._runtime

    def listener(self, core: RegistryCore, settings: RegistrySettings) -> Listener:
        return Listener(
            self.reactor,
            self.turns,
            core.receive,
            core.dispatch,
            max_body_bytes=settings.max_body_bytes,
            tls=server_options(settings.certfile, settings.keyfile),
        )

    def disown(self) -> None:
        """Neither wait for what the callback that is being called, or has come here, has begun, nor cancel it."""
        call = _current.get()
        if call is not None:
            call.disowned = True
            if call.task is not None:
                call.task.disown()

    def _invoke(self, registration: Registration, what: Notification | Gap) -> None:
        before = _current.set(_Call())
        try:
            self.calls.invoke(registration, what)
        finally:
            _current.reset(before)

    def _adopt(self, result: Awaitable[Any], failed: Callable[[BaseException], None]) -> None:
        if self._runtime is None:
            return
        task = self._runtime.adopt(adopted(result), failed)
        call = _current.get()
        if call is not None:
            call.task = task
            if call.disowned:
                task.disown()

    def _make_client(self, settings: RegistrySettings) -> Poster:
        if self._client is not None:
            return TreqClient(self.reactor, self._client, settings.url_policy)
        return Client(self.reactor, self.turns, settings.url_policy, ClientTls(settings.cafile))
