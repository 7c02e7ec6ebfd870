"""A notifier on Twisted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

from treq.client import HTTPClient
from twisted.internet.defer import Deferred, succeed

from .._notifier import NotifierCore
from .._policy import NOTIFY_SECONDS
from .._sending import Sending
from .._settings import Secret, notifier_settings
from .._urls import UrlPolicy
from .._values import Instance, Receipt
from ..abc import Store
from ..exceptions import NotStarted
from ._client import Client
from ._deferred import outside
from ._reactor import Reactor, Turns, check_thread, running_reactor
from ._runtime import Poster, TwistedRuntime
from ._tls import ClientTls
from ._treq import TreqClient, agent_of

Keys = Mapping[str, object]


class Submission:
    """What `submit` fires with: a light handle on a receipt that is still to come."""

    __slots__ = ("_sending",)

    def __init__(self, sending: Sending) -> None:
        self._sending = sending

    @property
    def id(self) -> str:
        """The notification's id."""
        return self._sending.id

    @property
    def done(self) -> bool:
        """Whether the receipt, or an error, is there."""
        return self._sending.done

    def result(self, timeout_seconds: float | None = None) -> Deferred[Receipt]:
        """Wait for the receipt.

        Fails with:
            StoreUnavailable: it was not published, or nobody knows whether it was.
            TimeoutError: it is not there yet; it goes on.
        """
        check_thread()
        return outside(self._result(timeout_seconds))

    async def _result(self, timeout_seconds: float | None) -> Receipt:
        if not await self._sending.wait(timeout_seconds):
            raise TimeoutError(f"notification {self._sending.id} is still on its way")
        return self._sending.receipt()


class Notifier:
    """Brings results to whoever waits for them, from Twisted code.

    `client` may be a `treq.client.HTTPClient`; give its agent a persistent `HTTPConnectionPool`, see `Registry`.
    """

    def __init__(
        self,
        store: str | Store | None = None,
        *,
        secret: Secret = None,
        timeout_seconds: float = NOTIFY_SECONDS,
        url_policy: UrlPolicy | None = None,
        client: HTTPClient | None = None,
        max_connections: int = 32,
        max_pending_bytes: int = 67_108_864,
        cafile: str | None = None,
        reactor: Reactor | None = None,
    ) -> None:
        self._settings = notifier_settings(
            store=store,
            secret=secret,
            timeout_seconds=timeout_seconds,
            url_policy=url_policy,
            max_connections=max_connections,
            max_pending_bytes=max_pending_bytes,
            cafile=cafile,
        )
        if client is not None:
            agent_of(client)
        self._client = client
        self._reactor = reactor
        self._runtime: TwistedRuntime | None = None
        self._core: NotifierCore | None = None
        self._closed = False

    def notify(
        self,
        keys: Keys,
        data: object,
        *,
        id: str | None = None,
        ephemeral: bool = False,
        timeout_seconds: float | None = None,
    ) -> Deferred[Receipt]:
        """Append to the keys' logs, ring every instance that holds one of them, and say who got it.

        With an `id` of your own, doing it twice within an hour is doing it once. `ephemeral=True` skips the log: at
        most once, in no order. Cancelled, it stops at once; the `CancelledError` has a note of what was not sent.

        Fails with:
            InvalidKey, InvalidData: nothing was touched.
            StoreUnavailable: within 3 s; whether it was published is unknown: repeat it with the same id.
        """
        check_thread()
        return outside(self._notify(keys, data, id, ephemeral, timeout_seconds))

    def notify_many(self, items: Iterable[tuple[Keys, object]]) -> Deferred[list[Receipt]]:
        """Do so for many (keys, data), published in their order, in as few trips as possible."""
        check_thread()
        return outside(self._notify_many(items))

    def submit(
        self, keys: Keys, data: object, *, id: str | None = None, ephemeral: bool = False, block: bool = True
    ) -> Deferred[Submission]:
        """Queue it; fires when it is queued. What is queued dies with the process, so `flush` before it ends.

        Fails with:
            QueueFull: `block` is false and `max_pending_bytes` are waiting.
        """
        check_thread()
        return outside(self._submit(keys, data, id, ephemeral, block))

    def flush(self, timeout_seconds: float = 5) -> Deferred[bool]:
        """Wait until all that was submitted has been sent; fires with False when the time ran out first."""
        check_thread()
        return outside(self._flush(timeout_seconds))

    def interest(self, keys: Keys) -> Deferred[list[Instance]]:
        """Return the live instances that hold any of these keys."""
        check_thread()
        return outside(self._interest(keys))

    def close(self, timeout_seconds: float = 5) -> Deferred[None]:
        """Flush, then close. Twice is fine."""
        check_thread()
        return outside(self._close(timeout_seconds))

    def __aenter__(self) -> Deferred[Self]:
        return succeed(self)

    def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Deferred[None]:
        return self.close()

    # -- inside -----------------------------------------------------------------------------------

    async def _notify(
        self, keys: Keys, data: object, id: str | None, ephemeral: bool, timeout_seconds: float | None
    ) -> Receipt:
        core = self._opened()
        return await core.notify(core.prepare(keys, data, id=id, ephemeral=ephemeral, timeout_seconds=timeout_seconds))

    async def _notify_many(self, items: Iterable[tuple[Keys, object]]) -> list[Receipt]:
        core = self._opened()
        return await core.notify_many([core.prepare(keys, data) for keys, data in items])

    async def _submit(self, keys: Keys, data: object, id: str | None, ephemeral: bool, block: bool) -> Submission:
        core = self._opened()
        sending = core.prepare(keys, data, id=id, ephemeral=ephemeral)
        await core.submit(sending, block=block)
        return Submission(sending)

    async def _flush(self, timeout_seconds: float) -> bool:
        return await self._opened().flush(timeout_seconds)

    async def _interest(self, keys: Keys) -> list[Instance]:
        return await self._opened().interest(keys)

    async def _close(self, timeout_seconds: float) -> None:
        self._closed = True
        core, self._core = self._core, None
        if core is None or self._runtime is None:
            return
        core.close()
        await core.flush(timeout_seconds)
        await self._runtime.close()

    def _opened(self) -> NotifierCore:
        if self._closed:
            raise NotStarted("this notifier has been closed", "make a new one")
        if self._core is None:
            reactor = self._reactor or running_reactor()
            turns = Turns(reactor)
            self._runtime = TwistedRuntime(reactor, turns, self._make_client(reactor, turns), self._settings.store)
            self._core = self._settings.core(self._runtime)
        return self._core

    def _make_client(self, reactor: Reactor, turns: Turns) -> Poster:
        settings = self._settings
        if self._client is not None:
            return TreqClient(reactor, self._client, settings.url_policy, max_connections=settings.max_connections)
        tls = ClientTls(settings.cafile)
        return Client(reactor, turns, settings.url_policy, tls, max_connections=settings.max_connections)
