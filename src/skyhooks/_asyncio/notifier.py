"""A notifier on plain asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from .._notifier import NotifierCore
from .._policy import NOTIFY_SECONDS
from .._sending import Sending
from .._settings import Secret, notifier_settings
from .._tls import client_context
from .._urls import UrlPolicy
from .._values import Instance, Receipt
from ..abc import Store
from ..exceptions import NotStarted
from .io import Client
from .runtime import AsyncioRuntime, Poster

Keys = Mapping[str, object]


class Submission:
    """What `submit` returns: a light handle on a receipt that is still to come."""

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

    async def result(self, timeout_seconds: float | None = None) -> Receipt:
        """Wait for the receipt.

        Raises:
            StoreUnavailable: it was not published, or nobody knows whether it was.
            TimeoutError: it is not there yet; it goes on.
        """
        if not await self._sending.wait(timeout_seconds):
            raise TimeoutError(f"notification {self._sending.id} is still on its way")
        return self._sending.receipt()


class Notifier:
    """Brings results to whoever waits for them; for async code. `skyhooks.Notifier` is the blocking one."""

    def __init__(
        self,
        store: str | Store | None = None,
        *,
        secret: Secret = None,
        timeout_seconds: float = NOTIFY_SECONDS,
        url_policy: UrlPolicy | None = None,
        client: Any = None,
        max_connections: int = 32,
        max_pending_bytes: int = 67_108_864,
        cafile: str | None = None,
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
        self._check_client(client)
        self._client = client
        self._runtime: AsyncioRuntime | None = None
        self._core: NotifierCore | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def notify(
        self,
        keys: Keys,
        data: object,
        *,
        id: str | None = None,
        ephemeral: bool = False,
        timeout_seconds: float | None = None,
    ) -> Receipt:
        """Append to the keys' logs, ring every instance that holds one of them, and say who got it.

        With an `id` of your own, doing it twice within an hour is doing it once. `ephemeral=True` skips the log: at
        most once, in no order.

        Raises:
            InvalidKey, InvalidData: nothing was touched.
            StoreUnavailable: within 3 s; whether it was published is unknown: repeat it with the same id.
        """
        core = self._opened()
        return await core.notify(core.prepare(keys, data, id=id, ephemeral=ephemeral, timeout_seconds=timeout_seconds))

    async def notify_many(self, items: Iterable[tuple[Keys, object]]) -> list[Receipt]:
        """Do so for many (keys, data), published in their order, in as few trips as possible."""
        core = self._opened()
        return await core.notify_many([core.prepare(keys, data) for keys, data in items])

    async def submit(
        self, keys: Keys, data: object, *, id: str | None = None, ephemeral: bool = False, block: bool = True
    ) -> Submission:
        """Queue it and return; what is queued dies with the process, so `flush` before it ends.

        Raises:
            QueueFull: `block` is false and `max_pending_bytes` are waiting.
        """
        core = self._opened()
        sending = core.prepare(keys, data, id=id, ephemeral=ephemeral)
        await core.submit(sending, block=block)
        return Submission(sending)

    async def flush(self, timeout_seconds: float = 5) -> bool:
        """Wait until all that was submitted has been sent; False when the time ran out first."""
        return await self._opened().flush(timeout_seconds)

    async def interest(self, keys: Keys) -> list[Instance]:
        """Return the live instances that hold any of these keys."""
        return await self._opened().interest(keys)

    async def close(self, timeout_seconds: float = 5) -> None:
        """Flush, then close. Twice is fine."""
        self._closed = True
        core, self._core = self._core, None
        if core is None or self._runtime is None:
            return
        core.close()
        await core.flush(timeout_seconds)
        await self._runtime.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _opened(self) -> NotifierCore:
        if self._closed:
            raise NotStarted("this notifier has been closed", "make a new one")
        if self._loop is not None and self._loop is not asyncio.get_running_loop():
            raise NotStarted(
                "this notifier belongs to another event loop", "make one in each, or close it before its loop ends"
            )
        if self._core is None:
            self._loop = asyncio.get_running_loop()
            self._runtime = AsyncioRuntime(self._make_client(), self._settings.store)
            self._core = self._settings.core(self._runtime)
        return self._core

    def _check_client(self, client: object) -> None:
        if client is not None:
            raise TypeError("client= is for adapters, as skyhooks.tornado is one; leave it out here")

    def _make_client(self) -> Poster:
        settings = self._settings
        return Client(
            settings.url_policy,
            max_connections=settings.max_connections,
            ssl_context=client_context(settings.cafile),
        )
