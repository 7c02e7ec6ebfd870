"""One key's log in memory: appending, ids, trimming. The clock is an argument."""

from __future__ import annotations

import math
import secrets
from collections import OrderedDict, deque
from itertools import islice

from .._values import Entry, Page, Position, Publication, Published, Retention

PAGE_BYTES = 1_048_576
"""A page ends before it holds more data than this, unless its first entry alone does."""


def new_epoch() -> str:
    """Draw the name of a log's life."""
    return secrets.token_hex(8)


def entry_bytes(publication: Publication) -> int:
    """Return what an entry counts against `keep_bytes`: all that its publication brought, but the key itself."""
    text = len(publication.id) + len(publication.nonce) + sum(map(len, publication.keys))
    return text + len(publication.data) + len(publication.mac or b"")


class Log:
    """A key's entries and the ids it knows. `appended` times are the store's and never go back."""

    __slots__ = ("_appended", "_bytes", "_ids", "_remembered", "_sizes", "entries", "epoch", "seq", "touched")

    def __init__(self, now: float) -> None:
        self.epoch = new_epoch()
        self.seq = 0
        self.touched = now
        self.entries: deque[Entry] = deque()
        self._appended: deque[float] = deque()
        self._sizes: deque[int] = deque()
        self._bytes = 0
        self._ids: dict[str, Entry] = {}
        self._remembered: OrderedDict[str, tuple[str, float]] = OrderedDict()

    @property
    def head(self) -> Position:
        """The position of the newest entry."""
        return Position(self.epoch, self.seq)

    @property
    def floor(self) -> int:
        """The `seq` of the last trimmed entry."""
        return self.seq - len(self.entries)

    @property
    def empty(self) -> bool:
        """No entry is kept and no id is remembered."""
        return not self.entries and not self._remembered

    def append(self, publication: Publication, now: float, retention: Retention) -> Published:
        """Append unless the id is known, and say what `Store.publish` answers, but for the targets."""
        self.touched = now
        kept = self._ids.get(publication.id)
        if kept is not None:
            return Published(Position(self.epoch, kept.seq), (), kept.nonce != publication.nonce, kept)
        nonce, appended = self._remembered.get(publication.id, ("", -math.inf))
        if not self._is_forgotten(appended, now, retention):
            return Published(None, (), nonce != publication.nonce)
        self._keep(publication, now)
        if publication.remember:
            self._remember(publication, now, retention)
        return Published(self.head, ())

    def trim(self, now: float, retention: Retention, *, leave: int) -> int:
        """Drop from the start what is no longer kept, all but the newest `leave`; return how many."""
        before = len(self.entries)
        while len(self.entries) > leave and self._is_over(now, retention):
            entry = self.entries.popleft()
            self._appended.popleft()
            self._bytes -= self._sizes.popleft()
            del self._ids[entry.id]
        return before - len(self.entries)

    def forget(self, now: float, retention: Retention, at_most: int) -> None:
        """Drop ids whose time is over."""
        for _, appended in list(islice(self._remembered.values(), at_most)):
            if self._is_forgotten(appended, now, retention):
                self._remembered.popitem(last=False)

    def page(self, after: Position | None, limit: int) -> Page:
        """Return what lies behind a position, as `Store.read` does."""
        behind = after is not None and after.epoch == self.epoch and after.seq >= self.floor
        start = min(after.seq, self.seq) - self.floor if after is not None and behind else 0
        found: list[Entry] = []
        size = 0
        for entry in islice(self.entries, start, start + limit):
            size += len(entry.data)
            if found and size > PAGE_BYTES:
                break
            found.append(entry)
        return Page(self.epoch, self.floor, self.seq, tuple(found))

    def _is_over(self, now: float, retention: Retention) -> bool:
        age = now - self._appended[0]
        aged = len(self.entries) > retention.keep or age > retention.keep_seconds
        return self._bytes > retention.keep_bytes or (aged and age >= retention.keep_min_seconds)

    def _keep(self, publication: Publication, now: float) -> None:
        self.seq += 1
        entry = _entry(self.seq, publication)
        self.entries.append(entry)
        self._appended.append(now)
        self._sizes.append(entry_bytes(publication))
        self._bytes += self._sizes[-1]
        self._ids[entry.id] = entry

    def _remember(self, publication: Publication, now: float, retention: Retention) -> None:
        self._remembered.pop(publication.id, None)
        self._remembered[publication.id] = (publication.nonce, now)
        if len(self._remembered) > retention.dedupe_ids:
            self._remembered.popitem(last=False)
        self.forget(now, retention, at_most=2)

    @staticmethod
    def _is_forgotten(appended: float, now: float, retention: Retention) -> bool:
        return now - appended >= retention.dedupe_seconds


def _entry(seq: int, publication: Publication) -> Entry:
    return Entry(
        seq,
        publication.id,
        publication.data,
        publication.sent_at,
        publication.keys,
        publication.nonce,
        publication.mac,
    )
