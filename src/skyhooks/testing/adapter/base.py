"""What an adapter gives to be judged, and what all parts of the suite share."""

from __future__ import annotations

import abc
import functools
import inspect
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from ..._notification import Gap, Notification
from ..._registration import Registration
from ..._stores import open_store
from ..._values import Instance, Outcome, Receipt
from ...abc import Store
from ..receiver import Receiver

T = TypeVar("T")

Keys = Mapping[str, object]

KEY = {"account": 42}
NAME = "account=42"
"""What a store calls `KEY`."""
QUICK: dict[str, Any] = {"heartbeat_seconds": 0.1, "lease_seconds": 30.0}
"""A registry that soon looks for what it has missed."""
PLANTED_KEY = bytes(range(32))
"""What signs for an instance that a test has planted."""
DIFFERS = "differs"
"""The property under which a test records in which way an adapter may do, and does, otherwise."""
RecordProperty = Callable[[str, object], None]
SECONDS = 10.0
"""How long anything is waited for."""


class AwaitedStream(Protocol):
    """What a subscription gives."""

    @property
    def cursor(self) -> str: ...

    def __aiter__(self) -> AsyncIterator[Notification | Gap]: ...

    def __anext__(self) -> Awaitable[Notification | Gap]: ...


class AwaitedRegistry(Protocol):
    """A registry whose verbs are awaited; an adapter that returns plain values or Deferreds wraps its own."""

    @property
    def url(self) -> str | None: ...

    @property
    def instance_id(self) -> str: ...

    @property
    def counts(self) -> Mapping[str, int]: ...

    def start(self) -> Awaitable[None]: ...

    def stop(self, drain_seconds: float = 10) -> Awaitable[None]: ...

    def register(
        self,
        keys: Keys,
        callback: Callable[[Notification], Any],
        *,
        since: str | None = None,
        on_gap: Callable[[Gap], Any] | None = None,
    ) -> Awaitable[Registration]: ...

    def unregister(self, registration: Registration) -> Awaitable[None]: ...

    def subscribe(
        self, keys: Keys, *, since: str | None = None, max_pending: int = 256
    ) -> AbstractAsyncContextManager[AwaitedStream]: ...

    def cursor(self, keys: Keys) -> Awaitable[str]: ...

    def notify(
        self,
        keys: Keys,
        data: object,
        *,
        id: str | None = None,
        ephemeral: bool = False,
        timeout_seconds: float | None = None,
    ) -> Awaitable[Receipt]: ...


class AwaitedSubmission(Protocol):
    """What `submit` gives."""

    @property
    def id(self) -> str: ...

    @property
    def done(self) -> bool: ...

    def result(self, timeout_seconds: float | None = None) -> Awaitable[Receipt]: ...


class AwaitedNotifier(Protocol):
    """A notifier whose verbs are awaited."""

    def notify(
        self,
        keys: Keys,
        data: object,
        *,
        id: str | None = None,
        ephemeral: bool = False,
        timeout_seconds: float | None = None,
    ) -> Awaitable[Receipt]: ...

    def notify_many(self, items: Iterable[tuple[Keys, object]]) -> Awaitable[list[Receipt]]: ...

    def submit(
        self, keys: Keys, data: object, *, id: str | None = None, ephemeral: bool = False, block: bool = True
    ) -> Awaitable[AwaitedSubmission]: ...

    def flush(self, timeout_seconds: float = 5) -> Awaitable[bool]: ...

    def interest(self, keys: Keys) -> Awaitable[list[Instance]]: ...

    def close(self, timeout_seconds: float = 5) -> Awaitable[None]: ...


class Adapter(abc.ABC):
    """One framework, with one way to be rung and one client: what a test class gives as the fixture `adapter`.

    What `registry` and `notifier` made is ended by `run`, when a body is over, however it ended.
    """

    mounted = False
    """The framework's handler is judged, not the own listener."""
    keeps_connections = True
    """The client that is judged uses a connection more than once."""
    own_client = True
    """No `client=` is judged, but the client that comes with the adapter."""
    refuses_first: frozenset[str] = frozenset()
    """Rows of the HTTP tests in which the framework's server refuses, in its own words, before a handler is asked."""

    def __init__(self, store_url: str) -> None:
        self.store_url = store_url

    @abc.abstractmethod
    def run(self, body: Coroutine[Any, Any, None]) -> None:
        """Run a test's body to its end, then end what it made; raise what it raised."""

    @abc.abstractmethod
    def registry(self, store: str | None = None, **options: Any) -> AwaitedRegistry:
        """Make a registry, mounted where that is judged, on this store or the test's own; do not start it."""

    @abc.abstractmethod
    def notifier(self, store: str | None = None, **options: Any) -> AwaitedNotifier:
        """Make a notifier with the client that is judged."""

    @abc.abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Wait."""

    @abc.abstractmethod
    async def in_thread(self, function: Callable[..., T], *args: object) -> T:
        """Run what blocks, without blocking the loop."""

    @abc.abstractmethod
    async def gather(self, *bodies: Coroutine[Any, Any, T]) -> list[T]:
        """Run these at once, wait for all, and return what they returned."""

    async def started(self, store: str | None = None, **options: Any) -> AwaitedRegistry:
        """Make a registry and start it."""
        registry = self.registry(store, **options)
        await registry.start()
        return registry

    async def until(self, condition: Callable[[], object], seconds: float = SECONDS) -> None:
        """Wait until it is so."""
        for _ in range(round(seconds / 0.005)):
            if condition():
                return
            await self.sleep(0.005)
        assert condition(), f"not so within {seconds:g} s"

    async def until_store(self, condition: Callable[[], object], seconds: float = SECONDS) -> None:
        """Wait until a store says so."""
        for _ in range(round(seconds / 0.02)):
            if await self.in_thread(condition):
                return
            await self.sleep(0.02)
        assert await self.in_thread(condition), f"not so within {seconds:g} s"

    def store_with(self, **retention: float) -> str:
        """Name a fresh store beside the test's own, with a retention."""
        return f"memory://{uuid4().hex}?{urlencode(retention)}"


class Heard(list[Notification]):
    """A callback that keeps what it is called with."""

    def __call__(self, notification: Notification) -> None:
        self.append(notification)

    @property
    def data(self) -> list[Any]:
        """What it was sent, in order."""
        return [notification.data for notification in self]


class AdapterTests:
    """The fixtures, and what runs the bodies; a part of the suite adds bodies."""

    def __init_subclass__(cls) -> None:
        """Let each coroutine be run by the adapter that it is given."""
        super().__init_subclass__()
        for name, body in list(vars(cls).items()):
            if name.startswith("test_") and inspect.iscoroutinefunction(body):
                setattr(cls, name, _run_by_adapter(body))

    @pytest.fixture
    def adapter(self) -> Adapter:
        raise NotImplementedError("give a fixture `adapter` that returns your framework's Adapter")

    @pytest.fixture
    def store_url(self) -> str:
        """The store that a test's registries and notifiers share, fresh for each."""
        return f"memory://{uuid4().hex}"

    @pytest.fixture
    def store(self, store_url: str) -> Iterator[Store]:
        """The same store, as whoever may write it sees it."""
        store = open_store(store_url)
        yield store
        store.close()

    @pytest.fixture
    def receiver(self) -> Iterator[Receiver]:
        """A peer that answers as it is told."""
        with Receiver() as receiver:
            yield receiver


def _run_by_adapter(body: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(body)
    def test(self: AdapterTests, **fixtures: Any) -> None:
        adapter: Adapter = fixtures["adapter"]
        adapter.run(body(self, **fixtures))

    return test


async def next_of(stream: AwaitedStream, count: int) -> list[Notification | Gap]:
    """Read so many items of a stream."""
    return [await anext(stream) for _ in range(count)]


def data_of(items: Iterable[Notification | Gap]) -> list[object]:
    """Show notifications by their data, and gaps by their reason."""
    return [item.data if isinstance(item, Notification) else item.reason for item in items]


def plant(store: Store, url: str | None, *, instance_id: str = "", **details: Any) -> Instance:
    """Write an instance and its hook on `KEY` into a store, as whoever may write it can."""
    details = {"signing_key": PLANTED_KEY, **details}
    instance = Instance(instance_id or uuid4().hex, url, int(time.time() * 1000), **details)
    store.join(instance, 60.0)
    store.add_hooks(instance.instance_id, [NAME], 1)
    return instance


def outcomes(receipt: Receipt) -> list[Outcome]:
    """Return the verdicts of a receipt."""
    return [delivery.outcome for delivery in receipt.deliveries]


def closed_port() -> int:
    """Return a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port
