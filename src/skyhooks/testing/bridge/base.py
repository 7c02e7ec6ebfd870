"""What an adapter gives to have its bridges judged, and what all parts of the suite share."""

from __future__ import annotations

import abc
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal

import pytest

from ...abc import Store
from ...exceptions import StoreUnavailable
from ..adapter.base import KEY, QUICK, Adapter, AdapterTests, AwaitedNotifier, AwaitedRegistry
from ..adapter.raw import RawAnswer
from .clients import Browser, Item, NotOpened, Transport, open_browser

__all__ = [
    "KEY",
    "QUICK",
    "TRANSPORTS",
    "BridgeAdapter",
    "BridgeTests",
    "Distant",
    "Served",
    "Tab",
    "data_of",
    "each_transport",
]

TRANSPORTS: tuple[Transport, ...] = ("events", "socket", "poll")
each_transport = pytest.mark.parametrize("transport", TRANSPORTS)

Served = Literal["events", "socket", "poll", "script"]
"""What a bridge is called here: `EventSource`, `WebSocket`, `LongPoll`, `Script`."""


class BridgeAdapter(Adapter):
    """One framework, with its bridges: what a test class gives as the fixture `adapter`.

    Beside what `Adapter` asks for there are three methods::

        async def serve(self, registry, transport, *, keys, **options) -> str
        def allows(self, keys) -> Any
        def refuses(self, status) -> Any

    What `serve` began is ended by `run`, when a body is over, however it ended: connections that are still open too.
    """

    @abc.abstractmethod
    async def serve(self, registry: AwaitedRegistry, transport: Served, *, keys: Any, **options: Any) -> str:
        """Mount one bridge in an application of the framework, serve it, and return its URL.

        The server is the framework's own, on a free port of 127.0.0.1; each call makes one, at an `http://` URL without
        a query. `registry` is what `self.registry` returned, and runs. `keys` is what `allows` or `refuses` returned;
        for `"script"`, which serves `skyhooks.js` to anyone, it is not used, nor is the registry. The options go to the
        bridge as they are: `max_pending`, `policy`, `comment_seconds`, `origins`, and for `"events"` also `event`.
        """

    @abc.abstractmethod
    def allows(self, keys: Mapping[str, object]) -> Any:
        """Return a function for `keys=`, of the framework's request, that lets everybody have these keys."""

    @abc.abstractmethod
    def refuses(self, status: int) -> Any:
        """Return a function for `keys=` that refuses by the framework's own error; the status is 401 or 403.

        Where the framework has no such error for 403, by PermissionError, which is 403 everywhere.
        """


class Tab:
    """A browser's tab, which a body awaits: it blocks in a thread."""

    def __init__(self, adapter: Adapter, browser: Browser) -> None:
        self._adapter = adapter
        self.browser = browser

    @property
    def cursor(self) -> str:
        """Where it is: what it would give when it connects again."""
        return self.browser.cursor

    async def next(self) -> Item:
        """Wait for what comes next: a notification, a gap, or that it is to reconnect."""
        return await self._adapter.in_thread(self.browser.next)

    async def read(self, count: int) -> list[Item]:
        """Wait for so many."""
        return [await self.next() for _ in range(count)]

    async def close(self) -> None:
        """Go, without a word."""
        await self._adapter.in_thread(self.browser.close)


class BridgeTests(AdapterTests):
    """The fixtures, and what opens tabs; a part of the suite adds bodies."""

    @pytest.fixture
    def adapter(self) -> BridgeAdapter:
        raise NotImplementedError("give a fixture `adapter` that returns your framework's BridgeAdapter")

    @asynccontextmanager
    async def tab(
        self, adapter: Adapter, url: str, transport: Transport, since: str | None = None, **details: Any
    ) -> AsyncIterator[Tab]:
        """Open a tab, which is connected by then; it goes when the block is left."""
        tab = Tab(adapter, await adapter.in_thread(lambda: open_browser(transport, url, since, **details)))
        try:
            yield tab
        finally:
            await tab.close()

    async def mounted(
        self,
        adapter: BridgeAdapter,
        transport: Served,
        keys: Mapping[str, object] = KEY,
        *,
        store: Any = None,
        **options: Any,
    ) -> tuple[AwaitedRegistry, AwaitedNotifier, str]:
        """Start a registry, serve one bridge on it, and return both with a notifier; on the test's store or another."""
        registry = await adapter.started(store, **QUICK)
        url = await adapter.serve(registry, transport, keys=adapter.allows(keys), **options)
        return registry, adapter.notifier(store if isinstance(store, str) else None), url

    async def refused(
        self, adapter: Adapter, url: str, transport: Transport, since: str | None = None, **details: Any
    ) -> RawAnswer:
        """Be refused a connection, and return the answer."""
        with pytest.raises(NotOpened) as refused:
            await adapter.in_thread(lambda: open_browser(transport, url, since, **details))
        return refused.value.answer


class Distant:
    """A store that can be cut off, or be far away, and counts what it is asked."""

    instant = False

    def __init__(self, store: Store) -> None:
        self.calls: Counter[str] = Counter()
        self.is_cut = False
        self.seconds = 0.0
        """How long a hook takes to be added."""
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return partial(self._call, name)

    def _call(self, name: str, *args: object) -> object:
        self.calls[name] += 1
        if self.is_cut:
            raise StoreUnavailable("it is cut off")
        if name == "add_hooks":
            time.sleep(self.seconds)
        return getattr(self._store, name)(*args)


def data_of(items: list[Item]) -> list[object]:
    """Show notifications by their data, and all else by its kind."""
    return [item.data if item.kind == "notification" else item.kind for item in items]
