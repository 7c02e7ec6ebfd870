"""What all parts of the suite share: fixtures, values, waiting for a store's own answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from ..._stores import open_store
from ..._values import Entry, Instance, Page, Position, Publication, Published
from ...abc import Store

LONG = 600.0
"""Seconds that a test does not last."""
SHORT = 0.05
"""Seconds that a test waits out."""

MakeStore = Callable[..., Store]


class StoreTests:
    """The fixtures; a part of the suite adds the tests."""

    multi_process = True
    """Other processes reach the same store by its URL, and it outlives the object that opened it."""
    moved_is_exact = False
    """`renew` never reports a key to which nothing was published since the token."""

    @pytest.fixture
    def new_url(self) -> Callable[[str], str]:
        raise NotImplementedError("give a fixture `new_url` that returns a function from a query to a fresh URL")

    @pytest.fixture
    def make_store(self, new_url: Callable[[str], str]) -> Iterator[MakeStore]:
        """Make a fresh store, with a retention: `make_store(keep=3)`."""
        stores = []

        def make(**retention: float) -> Store:
            store = open_store(new_url(urlencode(retention)))
            stores.append(store)
            return store

        yield make
        for store in stores:
            store.close()

    @pytest.fixture
    def store(self, make_store: MakeStore) -> Store:
        """A fresh store with the default retention."""
        return make_store()


def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for the store to say so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.005)


def an_instance(name: str = "", *, url: str | None = "", **details: Any) -> Instance:
    """An instance that nobody else is, with a URL of its own unless one is given."""
    name = f"{name}-{uuid4().hex}"
    return Instance(name, f"http://127.0.0.1:8000/{name}" if url == "" else url, 1_700_000_000_000, **details)


def a_key(name: str = "key") -> str:
    """A key that nobody else uses."""
    return f"{name}={uuid4().hex}"


def a_publication(
    key: str, id: str = "", nonce: str = "", *, data: bytes = b"{}", remember: bool = False
) -> Publication:
    """A notification on its way; with an id of its own unless one is given."""
    return Publication(key, id or uuid4().hex, nonce or uuid4().hex, data, time.time(), remember=remember)


def publish(store: Store, key: str, times: int = 1, **details: Any) -> list[Published]:
    """Publish to one key, one call each."""
    return [answer for _ in range(times) for answer in store.publish([a_publication(key, **details)])]


def held_by(store: Store, key: str) -> set[str]:
    """The ids of a key's live instances."""
    return {instance.instance_id for instance in store.targets([key])[key]}


def alive(store: Store) -> set[str]:
    """The ids of all live instances."""
    return {instance.instance_id for instance in store.instances()}


def page(store: Store, key: str, after: Position | None = None, limit: int = 1000) -> Page:
    """Read a key that has a record."""
    found = store.read(key, after, limit)
    assert found is not None
    return found


def seqs(found: Page) -> list[int]:
    """The places of a page's entries."""
    return [entry.seq for entry in found.entries]


def read_all(store: Store, key: str, limit: int) -> list[Entry]:
    """Read a log from its start, page by page."""
    entries: list[Entry] = []
    after = None
    while True:
        found = page(store, key, after, limit)
        if not found.entries:
            assert after is None or after.seq == found.head
            return entries
        entries += found.entries
        after = Position(found.epoch, found.entries[-1].seq)
