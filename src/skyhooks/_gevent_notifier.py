"""The notifier under gevent: plain cooperative values."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

import gevent

from ._driver import run
from ._gevent_clients import check_client, make_client
from ._gevent_runtime import GeventRuntime, Poster, check_patched
from ._notifier import NotifierCore
from ._policy import NOTIFY_SECONDS
from ._sending import Sending
from ._settings import Secret, notifier_settings
from ._urls import UrlPolicy
from ._values import Instance, Receipt
from .abc import Store
from .exceptions import NotStarted

if TYPE_CHECKING:
    import requests

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

    def result(self, timeout_seconds: float | None = None) -> Receipt:
        """Wait for the receipt.

        Raises:
            StoreUnavailable: it was not published, or nobody knows whether it was.
            TimeoutError: it is not there yet; it goes on.
        """
        if not run(self._sending.wait(timeout_seconds)):
            raise TimeoutError(f"notification {self._sending.id} is still on its way")
        return self._sending.receipt()


class Notifier:
    """Brings results to whoever waits for them, from greenlets; a `gevent.Timeout` works around each of its verbs.

    `client` may be a `requests.Session` (proxies, adapters, mutual TLS); the default client is faster, and connects to the
    very address that the URL policy has checked. One notifier serves all greenlets of a thread; a forked child that uses
    it begins anew.
    """

    def __init__(
        self,
        store: str | Store | None = None,
        *,
        secret: Secret = None,
        timeout_seconds: float = NOTIFY_SECONDS,
        url_policy: UrlPolicy | None = None,
        client: requests.Session | None = None,
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
        check_client(client)
        self._client = client
        self._runtime: GeventRuntime | None = None
        self._core: NotifierCore | None = None
        self._home: tuple[int, object] | None = None
        self._closed = False

    def notify(
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
        return run(core.notify(core.prepare(keys, data, id=id, ephemeral=ephemeral, timeout_seconds=timeout_seconds)))

    def notify_many(self, items: Iterable[tuple[Keys, object]]) -> list[Receipt]:
        """Do so for many (keys, data), published in their order, in as few trips as possible."""
        core = self._opened()
        return run(core.notify_many([core.prepare(keys, data) for keys, data in items]))

    def submit(
        self, keys: Keys, data: object, *, id: str | None = None, ephemeral: bool = False, block: bool = True
    ) -> Submission:
        """Queue it and return; what is queued dies with the process, so `flush` before it ends.

        Raises:
            QueueFull: `block` is false and `max_pending_bytes` are waiting.
        """
        core = self._opened()
        sending = core.prepare(keys, data, id=id, ephemeral=ephemeral)
        run(core.submit(sending, block=block))
        return Submission(sending)

    def flush(self, timeout_seconds: float = 5) -> bool:
        """Wait until all that was submitted has been sent; False when the time ran out first."""
        return run(self._opened().flush(timeout_seconds))

    def interest(self, keys: Keys) -> list[Instance]:
        """Return the live instances that hold any of these keys."""
        return run(self._opened().interest(keys))

    def close(self, timeout_seconds: float = 5) -> None:
        """Flush, then close. Twice is fine."""
        self._closed = True
        core, self._core = self._core, None
        runtime, self._runtime = self._runtime, None
        if core is not None and runtime is not None and self._home == _home():
            core.close()
            run(core.flush(timeout_seconds))
            run(runtime.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self) -> NotifierCore:
        if self._closed:
            raise NotStarted("this notifier has been closed", "make a new one")
        home = _home()
        if self._core is not None and self._home == home:
            return self._core
        if self._home is not None and self._home[0] == home[0]:
            raise NotStarted("this notifier belongs to another thread's hub", "make one in each thread")
        check_patched()
        self._home = home
        self._runtime = GeventRuntime(self._make_client(), self._settings.store)
        self._core = self._settings.core(self._runtime)
        return self._core

    def _make_client(self) -> Poster:
        settings = self._settings
        return make_client(
            self._client, settings.url_policy, cafile=settings.cafile, max_connections=settings.max_connections
        )


def _home() -> tuple[int, object]:
    """Tell where connections and threads belong: to a process, and to a hub in it."""
    return os.getpid(), gevent.get_hub()
