"""Registry under gevent: plain cooperative values, a greenlet wherever others would need a thread."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

import gevent
from gevent import Greenlet

from .._bridge.feed import Feed
from .._bridge.options import BridgeOptions
from .._calls import OnError
from .._driver import run
from .._http import Response
from .._inbox import Headers
from .._life import Life
from .._registration import Registration
from .._registry import RegistryCore
from .._settings import RegistrySettings, Secret, check_positive, registry_settings
from .._tls import server_context
from .._urls import UrlPolicy
from .._values import Receipt
from ..abc import Callback, GapCallback, Store
from ..exceptions import NotStarted
from ._calls import Callings
from ._clients import check_client, make_client
from ._greenlets import Ended
from ._listener import Listener
from ._runtime import GeventRuntime, check_patched
from ._stream import Subscription

if TYPE_CHECKING:
    import requests

Keys = Mapping[str, object]


class Registry:
    """This process's callbacks, and its place among those who are rung.

    The constructor checks its arguments and touches nothing; `start` opens the store, listens, proves that the URL
    reaches this very process, and joins. By default it opens its own listener, which works under gunicorn and behind load
    balancers. With `url=` mount `WebhookApp(registry)` in your WSGI application instead, and start the registry once the
    server listens. `client` may be a `requests.Session`; the default client is faster, and connects to the very address
    that the URL policy has checked.

    Callbacks are plain functions, called in greenlets: one that blocks delays only its own registration's calls, which
    start one after another. What they return is let go, but for a `Greenlet`: its failure is told to `on_error`, and
    `stop` waits for it. Use it in the thread that started it.

    A forked child is none of its business, so under gunicorn (`-k gevent`) each worker starts its own:
    `def post_worker_init(worker): registry.start()` and `def worker_exit(server, worker): registry.stop()`, in
    `gunicorn.conf.py`; with `preload_app`, patch first there.
    """

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
        client: requests.Session | None = None,
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
        check_client(client)
        self._world = _World(on_error, client)
        self._life = Life(self._settings, self._world)
        self._stopping: Greenlet[..., Ended[None]] | None = None
        self._hub: object = None

    # -- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Listen, prove that the URL reaches this very process, join.

        Raises:
            UrlUnreachable: jobs would not reach this process.
            UrlShared: they would reach others as well.
            UrlBlocked: the URL policy, here as in jobs, forbids calling it.
            StoreUnavailable, StoreCorrupt: of the store.
            NotStarted: gevent has not patched this process.
        """
        if not self._life.begun:
            self._hub = gevent.get_hub()
            self._stopping = None  # of a start that failed
        run(self._life.start())

    def stop(self, drain_seconds: float = 10) -> None:
        """Take no new registrations, end the streams within `drain_seconds`, leave, close.

        Callbacks that are under way have as long to end, then they are killed. Twice is fine, also at once: one stop
        serves all who ask for it, and goes on when one of them is killed.
        """
        if not self._life.begun:
            return
        self._here()  # in a child, to close what is shared would make the parent deaf
        self._world.outlet.disown(gevent.getcurrent())  # a callback that stops the registry is not waited for
        if self._stopping is None:
            self._stopping = gevent.spawn(Ended, lambda: run(self._life.stop(drain_seconds)))
        self._stopping.get().get()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

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
    ) -> Registration:
        """Have `callback(notification)` called for every notification to any of these keys, from now on.

        With `since`, a cursor or `"start"`, first for what the log has after it. It may be called before this returns.

        Raises:
            InvalidKey, InvalidCursor: nothing was touched.
            StoreUnavailable: within 3 s; nothing is registered.
        """
        return run(self._here().register(keys, callback, since=since, on_gap=on_gap))

    def unregister(self, registration: Registration) -> None:
        """End a registration: no call starts from now on. Twice is fine; store trouble is repaired in the background."""
        run(self._here().unregister(registration))

    def subscribe(self, keys: Keys, *, since: str | None = None, max_pending: int = 256) -> Subscription:
        """Read what a registration would be called with: `with` it, then iterate."""
        check_positive(max_pending=max_pending)
        return Subscription(self._here(), keys, since, max_pending)

    def cursor(self, keys: Keys) -> str:
        """Return where these keys are now: take it before a job is started, and hand it to whoever will wait.

        Raises:
            StoreUnavailable: within 3 s.
        """
        return run(self._here().cursor(keys))

    def notify(
        self,
        keys: Keys,
        data: object,
        *,
        id: str | None = None,
        ephemeral: bool = False,
        timeout_seconds: float | None = None,
    ) -> Receipt:
        """Publish from this process; see `Notifier.notify`."""
        self._here()
        notifying = self._life.notify(keys, data, id=id, ephemeral=ephemeral, timeout_seconds=timeout_seconds)
        return run(notifying)

    def _here(self) -> RegistryCore:
        """Return the core, to who may use it.

        Raises:
            NotStarted: there is none yet, or it belongs to another thread; nothing was touched.
            ForkedRegistry: it is the parent's.
        """
        core = self._life.core
        core.check_process()
        if gevent.get_hub() is not self._hub:
            raise NotStarted("this registry belongs to another thread's hub", "use it in the thread that started it")
        return core

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


class _World:
    """gevent's parts of a registry."""

    framework = "gevent"

    def __init__(self, on_error: OnError | None, client: requests.Session | None) -> None:
        self.outlet = Callings(on_error)
        self.calls = self.outlet.calls
        self._client = client

    def check(self) -> None:
        check_patched()

    def runtime(self, settings: RegistrySettings) -> GeventRuntime:
        client = make_client(self._client, settings.url_policy, cafile=settings.cafile)
        return GeventRuntime(client, settings.store, self.outlet.running)

    def listener(self, core: RegistryCore, settings: RegistrySettings) -> Listener:
        context = server_context(settings.certfile, settings.keyfile)
        return Listener(core.receive, core.dispatch, max_body_bytes=settings.max_body_bytes, ssl_context=context)
