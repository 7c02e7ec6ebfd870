"""The notifier under gevent: plain cooperative values."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import gevent

from .._blocking_verbs import BlockingVerbs
from .._driver import run
from .._notifier import NotifierCore
from .._policy import NOTIFY_SECONDS
from .._settings import Secret, notifier_settings
from .._urls import UrlPolicy
from ..abc import Store
from ..exceptions import NotStarted
from ._clients import check_client, make_client
from ._runtime import GeventRuntime, Poster, check_patched

if TYPE_CHECKING:
    import requests


class Notifier(BlockingVerbs):
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

    def close(self, timeout_seconds: float = 5) -> None:
        """Flush, then close. Twice is fine."""
        self._closed = True
        core, self._core = self._core, None
        runtime, self._runtime = self._runtime, None
        if core is not None and runtime is not None and self._home == _home():
            core.close()
            run(core.flush(timeout_seconds))
            run(runtime.close())

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
