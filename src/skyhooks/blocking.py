"""The blocking notifier, for jobs, scripts and Celery tasks: thread-safe and fork-safe, on plain sockets."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Mapping
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ._blocking_runtime import BlockingPoster, BlockingRuntime
from ._driver import run
from ._notifier import NotifierCore
from ._policy import NOTIFY_SECONDS
from ._sending import Sending
from ._settings import Secret, check_positive, secrets_from
from ._sockets import SocketClient
from ._stores import open_store
from ._tls import client_context
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
    """Brings results to whoever waits for them.

    One notifier serves all threads of a process; a forked child that uses it gets its own connections, and what the parent
    had queued stays the parent's. The constructor touches nothing: the store opens at first use. A notifier that is never
    closed keeps no process alive; what `submit` has queued then dies with the process.

    `client` may be a `requests.Session` (proxies, adapters, mutual TLS); the default client is faster, and connects to the
    very address that the URL policy has checked.
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
        check_positive(
            timeout_seconds=timeout_seconds, max_connections=max_connections, max_pending_bytes=max_pending_bytes
        )
        self._store = open_store(store)
        self._secrets = secrets_from(secret)
        self._timeout_seconds = timeout_seconds
        self._url_policy = url_policy or UrlPolicy()
        self._client = _checked(client)
        self._max_connections = max_connections
        self._max_pending_bytes = max_pending_bytes
        self._cafile = cafile
        self._closed = False
        self._lock = Lock()
        self._runtime: BlockingRuntime | None = None
        self._core: NotifierCore | None = None
        _notifiers.add(self)

    # -- verbs ------------------------------------------------------------------------------------

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
        """Queue it and return; what piles up goes together. What is queued dies with the process: `flush` before.

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
        """Return the live instances that hold any of these keys: who would be rung now.

        Raises:
            StoreUnavailable: within 3 s.
        """
        return run(self._opened().interest(keys))

    def close(self, timeout_seconds: float = 5) -> None:
        """Flush, then close. Twice is fine."""
        self._closed = True
        with self._lock:
            core, self._core = self._core, None
            runtime, self._runtime = self._runtime, None
        if core is not None and runtime is not None:
            core.close()
            run(core.flush(timeout_seconds))
            runtime.close()
            self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- inside -----------------------------------------------------------------------------------

    def _opened(self) -> NotifierCore:
        core = self._core
        if core is not None:
            return core
        with self._lock:
            if self._closed:
                raise NotStarted("this notifier has been closed", "make a new one")
            if self._core is None:
                self._runtime = BlockingRuntime(self._make_client())
                self._core = NotifierCore(
                    self._store,
                    self._runtime,
                    secrets=self._secrets,
                    timeout_seconds=self._timeout_seconds,
                    max_pending_bytes=self._max_pending_bytes,
                )
            return self._core

    def _make_client(self) -> BlockingPoster:
        if self._client is not None:
            from ._requests import RequestsClient

            return RequestsClient(self._client, self._url_policy)
        return SocketClient(
            self._url_policy, max_connections=self._max_connections, ssl_context=client_context(self._cafile)
        )

    def _forget(self) -> None:
        """Begin anew: in a forked child nothing of the parent's is used, not even its locks (PROTOCOL 24)."""
        self._lock = Lock()
        self._runtime = None
        self._core = None


def _checked(client: requests.Session | None) -> requests.Session | None:
    if client is not None:
        from ._requests import check_session

        check_session(client)
    return client


_notifiers: weakref.WeakSet[Notifier] = weakref.WeakSet()


def _after_fork() -> None:
    for notifier in list(_notifiers):
        notifier._forget()


os.register_at_fork(after_in_child=_after_fork)
