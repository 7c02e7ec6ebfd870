"""Where the demo's processes meet: a store of which one key, drawn at random, is the demo's own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from .._keys import canonical_keys
from .._stores import open_store
from .._urls import shown_url
from .._values import Position
from ..abc import Store

PAGE_ENTRIES = 500

T = TypeVar("T")


class Log(msgspec.Struct, frozen=True):
    """What the store says was published."""

    ids: list[str]
    """Of the notifications that it still keeps, in their order."""
    trimmed: int = 0
    """How many came before these, and are no longer kept."""

    @property
    def published(self) -> int:
        """How many there were in all."""
        return self.trimmed + len(self.ids)


class DemoStore:
    """A store by its URL, opened only as long as something is asked. Blocking.

    Every method raises `StoreUnavailable` or `StoreCorrupt` as the store does.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.shown = shown_url(url)
        self.keys = {"demo": secrets.token_hex(4)}
        (self._key,) = canonical_keys(self.keys)

    def begin(self) -> None:
        """Begin the key's log: so a store that is away is found before any process is started."""
        self._ask(lambda store: store.positions([self._key]))

    def log(self) -> Log:
        """Read the key's log."""
        return self._ask(self._read)

    def forget(self, instance_ids: Iterable[str]) -> None:
        """Remove what killed instances left; the log goes by the store's retention."""

        def leave(store: Store) -> None:
            for instance_id in instance_ids:
                store.leave(instance_id)

        self._ask(leave)

    def _read(self, store: Store) -> Log:
        ids: list[str] = []
        head = 0
        after: Position | None = None
        while (page := store.read(self._key, after, PAGE_ENTRIES)) is not None:
            head = page.head
            if not page.entries:
                break
            ids += [entry.id for entry in page.entries]
            after = Position(page.epoch, page.entries[-1].seq)
        return Log(ids, head - len(ids))

    def _ask(self, question: Callable[[Store], T]) -> T:
        store = open_store(self.url)
        try:
            return question(store)
        finally:
            store.close()
