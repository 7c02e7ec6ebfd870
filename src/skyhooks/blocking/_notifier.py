"""`Notifier`: the verbs, and what they stand on in a process; made anew after a fork."""

from __future__ import annotations

import os
import weakref
from threading import Lock
from typing import TYPE_CHECKING

from .._blocking_verbs import BlockingVerbs
from .._driver import run
from .._notifier import NotifierCore
from .._policy import NOTIFY_SECONDS
from .._settings import Secret, notifier_settings
from .._tls import client_context
from .._urls import UrlPolicy
from ..abc import Store
from ..exceptions import NotStarted
from ._runtime import BlockingPoster, BlockingRuntime
from ._sockets import SocketClient

if TYPE_CHECKING:
    import requests


class Notifier(BlockingVerbs):
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
        self._settings = notifier_settings(
            store=store,
            secret=secret,
            timeout_seconds=timeout_seconds,
            url_policy=url_policy,
            max_connections=max_connections,
            max_pending_bytes=max_pending_bytes,
            cafile=cafile,
        )
        self._client = _checked(client)
        self._closed = False
        self._lock = Lock()
        self._runtime: BlockingRuntime | None = None
        self._core: NotifierCore | None = None
        _notifiers.add(self)

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
            self._settings.store.close()

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
                self._core = self._settings.core(self._runtime)
            return self._core

    def _make_client(self) -> BlockingPoster:
        settings = self._settings
        if self._client is not None:
            from .._requests import RequestsClient

            return RequestsClient(self._client, settings.url_policy)
        return SocketClient(
            settings.url_policy, max_connections=settings.max_connections, ssl_context=client_context(settings.cafile)
        )

    def _forget(self) -> None:
        """Begin anew: in a forked child nothing of the parent's is used, not even its locks (PROTOCOL 24)."""
        self._lock = Lock()
        self._runtime = None
        self._core = None


def _checked(client: requests.Session | None) -> requests.Session | None:
    if client is not None:
        from .._requests import check_session

        check_session(client)
    return client


_notifiers: weakref.WeakSet[Notifier] = weakref.WeakSet()


def _after_fork() -> None:
    for notifier in list(_notifiers):
        notifier._forget()


os.register_at_fork(after_in_child=_after_fork)
