"""One key's log: appending, the ids it knows, trimming, and when reap has to look at it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from ..._values import Entry, Page, Position, Publication, Published
from .._log import PAGE_BYTES, entry_bytes
from .connection import Connection
from .records import open_key

_FORGET_AT_ONCE = 2
"""How many old ids are looked at for each new one: so their number falls, in bounded work."""
_LEAST_DUE_SECONDS = 0.01
"""Reap never sees a record twice in one go, however times were rounded."""
_ENTRY = "seq, id, data, sent_at, keys, nonce, mac"


class Log:
    """A log within one transaction: the key's record is read once, and written by `save`."""

    key_id: int
    epoch: str
    grown: bool
    """Something was appended."""

    __slots__ = (
        "_bytes",
        "_db",
        "_due",
        "_floor",
        "_now",
        "_oldest",
        "_remembered",
        "_seq",
        "epoch",
        "grown",
        "key_id",
    )

    def __init__(self, db: Connection, row: tuple[Any, ...], now: float) -> None:
        self._db = db
        self._now = now
        self._seq: int
        self._floor: int
        self._bytes: int
        self._oldest: float | None
        self._remembered: int
        self._due: float
        self.key_id, self.epoch, self._seq, self._floor, self._bytes, self._oldest, self._remembered, self._due = row
        self.grown = False

    @classmethod
    def of_key(cls, db: Connection, key: str, now: float) -> Log:
        """Open a key's log, made where there is none."""
        row = db.row(f"{_LOG} WHERE key = ?", (key,))
        if row is None:
            open_key(db, key, now)
            return cls.of_key(db, key, now)
        return cls(db, row, now)

    @classmethod
    def of_record(cls, db: Connection, key_id: int, now: float) -> Log:
        """Open the log of an existing record."""
        return cls(db, db.rows(f"{_LOG} WHERE key_id = ?", (key_id,))[0], now)

    def append(self, publication: Publication) -> Published:
        """Append unless the id is known, and say what `Store.publish` answers, but for the targets."""
        nonce = self._remembered_nonce(publication.id) if self._remembered else None
        if nonce is not None or not self._insert(publication):
            return self._known(publication, nonce)
        if publication.remember:
            self._remember(publication)
        return Published(Position(self.epoch, self._seq), ())

    def trim(self, *, leave: int) -> int:
        """Drop from the start what is no longer kept, all but the newest `leave`; return how many."""
        if self._oldest is None or not self._is_over(self._oldest):
            return 0
        before, self._oldest = self._floor, None
        rows = self._db.execute("SELECT seq, appended, size FROM entries WHERE key_id = ? ORDER BY seq", (self.key_id,))
        for seq, appended, size in rows:
            if seq > self._seq - leave or not self._is_over(appended):
                self._oldest = appended
                break
            self._floor = seq
            self._bytes -= size
        rows.close(True)
        self._db.execute("DELETE FROM entries WHERE key_id = ? AND seq <= ?", (self.key_id, self._floor))
        return self._floor - before

    def save(self) -> None:
        """Write the record after appending."""
        row = (self._seq, self._floor, self._bytes, self._oldest, self._remembered, self._now)
        due = self._entries_due
        if due < self._due:
            self._db.execute(_SAVE_DUE, (*row, due, self.key_id))
        else:
            self._db.execute(_SAVE, (*row, self.key_id))

    def forget(self) -> None:
        """Drop the ids whose time is over."""
        over = (self.key_id, self._now - self._db.retention.dedupe_seconds, self._forgotten)
        self._db.execute("DELETE FROM remembered WHERE key_id = ? AND (appended <= ? OR ordinal <= ?)", over)

    def settle(self, idle_seconds: float) -> bool:
        """Write the record after reaping; or drop it, and say so, if nobody needs it."""
        [(touched, hooks, oldest_id)] = self._db.rows(_USES, (self.key_id,))
        if self._oldest is None and oldest_id is None and not hooks and touched + idle_seconds <= self._now:
            self._db.execute("DELETE FROM keys WHERE key_id = ?", (self.key_id,))
            return True
        ids_due = math.inf if oldest_id is None else oldest_id + self._db.retention.dedupe_seconds
        due = min(self._entries_due, ids_due)
        if due == math.inf:
            due = touched + idle_seconds if touched + idle_seconds > self._now else self._now + idle_seconds
        row = (self._floor, self._bytes, self._oldest, max(due, self._now + _LEAST_DUE_SECONDS), self.key_id)
        self._db.execute("UPDATE keys SET floor = ?, bytes = ?, oldest = ?, due = ? WHERE key_id = ?", row)
        return False

    @property
    def _entries_due(self) -> float:
        if self._oldest is None:
            return math.inf
        keep = self._db.retention
        crowded = self._seq - self._floor > keep.keep
        return self._oldest + (keep.keep_min_seconds if crowded else max(keep.keep_min_seconds, keep.keep_seconds))

    @property
    def _forgotten(self) -> int:
        """The number of the last id that is forgotten because of how many came after it."""
        return self._remembered - self._db.retention.dedupe_ids

    def _is_over(self, appended: float) -> bool:
        keep = self._db.retention
        age = self._now - appended
        aged = self._seq - self._floor > keep.keep or age >= keep.keep_seconds
        return self._bytes > keep.keep_bytes or (aged and age >= keep.keep_min_seconds)

    def _insert(self, publication: Publication) -> bool:
        size = entry_bytes(publication)
        keys = "\n".join(publication.keys) or None
        head = (self.key_id, self._seq + 1, publication.id, publication.data, publication.sent_at, keys)
        self._db.execute(_INSERT, (*head, publication.nonce, publication.mac, self._now, size))
        if not self._db.raw.changes():
            return False
        self.grown = True
        self._seq += 1
        self._bytes += size
        if self._oldest is None:
            self._oldest = self._now
        return True

    def _known(self, publication: Publication, nonce: str | None) -> Published:
        rows = self._db.rows(_BY_ID, (self.key_id, publication.id))
        if not rows:
            return Published(None, (), nonce != publication.nonce)
        entry = decode_entry(rows[0])
        return Published(Position(self.epoch, entry.seq), (), entry.nonce != publication.nonce, entry)

    def _remembered_nonce(self, id: str) -> str | None:
        since = self._now - self._db.retention.dedupe_seconds
        nonce: str | None = self._db.value(_NONCE, (self.key_id, id, since))
        return nonce

    def _remember(self, publication: Publication) -> None:
        self._remembered += 1
        row = (self.key_id, self._remembered, publication.id, publication.nonce, self._now)
        self._db.execute("INSERT OR REPLACE INTO remembered VALUES (?, ?, ?, ?, ?)", row)
        over = (self._now - self._db.retention.dedupe_seconds, self._forgotten)
        self._db.execute(_FORGET, (self.key_id, self.key_id, _FORGET_AT_ONCE, *over))


_LOG = "SELECT key_id, epoch, seq, floor, bytes, oldest, remembered, due FROM keys"
_SAVE = "UPDATE keys SET seq = ?, floor = ?, bytes = ?, oldest = ?, remembered = ?, touched = ? WHERE key_id = ?"
_SAVE_DUE = _SAVE.replace(" WHERE", ", due = ? WHERE")  # keys_due is written only where it has to be
_INSERT = f"INSERT INTO entries (key_id, {_ENTRY}, appended, size) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_BY_ID = f"SELECT {_ENTRY} FROM entries WHERE key_id = ? AND id = ?"
_NONCE = "SELECT nonce FROM remembered WHERE key_id = ? AND id = ? AND appended > ?"
_FORGET = """
DELETE FROM remembered
WHERE key_id = ?
    AND ordinal IN (SELECT ordinal FROM remembered WHERE key_id = ? ORDER BY ordinal LIMIT ?)
    AND (appended <= ? OR ordinal <= ?)
"""
_USES = """
SELECT
    touched,
    EXISTS (SELECT 1 FROM hooks WHERE hooks.key_id = keys.key_id),
    (SELECT min(appended) FROM remembered WHERE remembered.key_id = keys.key_id)
FROM keys WHERE key_id = ?
"""


def decode_entry(row: tuple[Any, ...]) -> Entry:
    """Make an entry of the columns `_ENTRY`."""
    seq, name, data, sent_at, keys, nonce, mac = row
    return Entry(seq, name, data, sent_at, tuple(keys.split("\n")) if keys else (), nonce, mac)


def read(db: Connection, key: str, after: Position | None, limit: int) -> Page | None:
    """`Store.read`."""
    found = db.row("SELECT key_id, epoch, floor, seq FROM keys WHERE key = ?", (key,))
    if found is None:
        return None
    key_id, epoch, floor, head = found
    behind = after is not None and after.epoch == epoch and after.seq >= floor
    start = after.seq if after is not None and behind else floor
    rows = db.execute(_READ, (key_id, min(start, _MAX_SEQ), limit))
    entries = tuple(_page(rows))
    rows.close(True)
    return Page(epoch, floor, head, entries)


_READ = f"SELECT {_ENTRY} FROM entries WHERE key_id = ? AND seq > ? ORDER BY seq LIMIT ?"
_MAX_SEQ = 2**63 - 1
"""SQLite's integers end here; a cursor's go further."""


def _page(rows: Iterable[tuple[Any, ...]]) -> Iterator[Entry]:
    size = 0
    for row in rows:
        entry = decode_entry(row)
        size += len(entry.data)
        if size > PAGE_BYTES and size > len(entry.data):
            return
        yield entry
