"""What a key's record no longer keeps: entries past the retention, forgotten ids, the times of both."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
from bson import Int64

from ..._values import Retention
from .database import START, Database
from .documents import Document
from .records import decode, fields_of

MARK_SECONDS = 10.0
"""How long an append's mark stays at least: as long as the append may still be repeated by whoever lost its answer."""
TEND_SECONDS = 60.0
"""A log to which something is published is looked at this often."""
YOUNG = 8
"""A log with fewer entries that nobody has looked at yet is left to reap: most never have more."""
DOCUMENT_BYTES = 12_000_000
ENTRY_BYTES = 200
"""What an entry takes in a document beside what it counts, with its time: a document may have 16 MB."""


class Appended(msgspec.Struct, frozen=True):
    """A record right after an append."""

    epoch: str
    seq: int
    moved: datetime
    bytes: int
    floor: int = 0
    holders: list[str] = []
    tended: datetime | None = None
    oldest: datetime | None = None


class _Item(msgspec.Struct, frozen=True):
    i: str
    m: str
    z: int


class _Marked(msgspec.Struct, frozen=True):
    m: str


class Survey(msgspec.Struct, frozen=True):
    """All of a record but the data."""

    key: str = msgspec.field(name="_id")
    epoch: str
    seq: int
    bytes: int
    floor: int = 0
    touched: datetime = START
    due: datetime | None = None
    log: tuple[_Item, ...] = ()
    known: tuple[_Marked, ...] = ()
    at: dict[str, datetime] = {}
    holders: list[str] = []

    def time(self, item: _Item | _Marked) -> datetime:
        """Return when it was appended."""
        return self.at.get(item.m, START)


_BRIEF = tuple(name for name in fields_of(Survey) if name not in ("log", "known"))
SURVEY = (*_BRIEF, *(f"log.{name}" for name in fields_of(_Item)), *(f"known.{name}" for name in fields_of(_Marked)))
"""The fields of a survey. Entries' data stays where it is."""


def is_crowded(record: Appended, retention: Retention) -> bool:
    """Tell after an append whether it is time to tend the log.

    A little late, in proportion to what is kept: a busy log is then tended now and then, not with each publish.
    """
    count = record.seq - record.floor
    if record.bytes > retention.keep_bytes * (1 + 1 / 64) or _is_full(record.bytes, count):
        return True
    if record.tended is None or record.oldest is None:
        return count > retention.keep or count >= YOUNG
    age = (record.moved - record.oldest).total_seconds()
    if count > retention.keep + retention.keep // 64 and age >= retention.keep_min_seconds * 1.25:
        return True
    aged = age >= max(retention.keep_min_seconds, retention.keep_seconds) * (1 + 1 / 16)
    return aged or (record.moved - record.tended).total_seconds() >= TEND_SECONDS


class Plan(msgspec.Struct, frozen=True):
    """What is to go from a record, and when its oldest remaining entry was appended."""

    entries: tuple[_Item, ...]
    forgotten: tuple[str, ...]
    """Marks of ids whose time is over."""
    marks: tuple[str, ...]
    """Marks that name nothing any more."""
    oldest: datetime | None

    def update(self, now: datetime) -> Document:
        """Return what does it."""
        update: Document = {"$set": {"tended": now}}
        pull: Document = {}
        unset: Document = {f"at.{mark}": "" for mark in self.marks}
        if self.entries:
            pull["log"] = {"i": {"$in": [entry.i for entry in self.entries]}}
            update["$inc"] = {
                "floor": Int64(len(self.entries)),
                "bytes": Int64(-sum(entry.z for entry in self.entries)),
            }
        if self.forgotten:
            pull["known"] = {"m": {"$in": list(self.forgotten)}}
        if self.oldest is None:
            unset["oldest"] = ""
        else:
            update["$set"]["oldest"] = self.oldest
        if pull:
            update["$pull"] = pull
        if unset:
            update["$unset"] = unset
        return update


def plan(record: Survey, now: datetime, retention: Retention, *, leave: int) -> Plan:
    """Decide what is to go, all but the newest `leave` entries at most."""
    over = _count_over(record, now, retention, leave)
    kept = record.log[over:]
    forgotten = _before(record, record.known, now - timedelta(seconds=retention.dedupe_seconds))
    named = {entry.m for entry in kept} | {one.m for one in record.known if one.m not in forgotten}
    stale = now - timedelta(seconds=MARK_SECONDS)
    marks = tuple(mark for mark, at in record.at.items() if mark not in named and at <= stale)
    return Plan(record.log[:over], tuple(forgotten), marks, record.time(kept[0]) if kept else None)


def next_due(record: Survey, planned: Plan, retention: Retention) -> datetime | None:
    """Return when reap has to look at it again; None where it has hooks and nothing that will pass."""
    dues = []
    kept = record.log[len(planned.entries) :]
    if kept:
        seconds = 0.0 if len(kept) > retention.keep else retention.keep_seconds
        dues.append(record.time(kept[0]) + timedelta(seconds=max(seconds, retention.keep_min_seconds)))
    remembered = [record.time(one) for one in record.known if one.m not in planned.forgotten]
    if remembered:
        dues.append(min(remembered) + timedelta(seconds=retention.dedupe_seconds))
    return min(dues, default=None)


def tend(database: Database, key: str, now: datetime) -> None:
    """Remove what is no longer kept from a log that was appended to just now; the newest entry stays."""
    found = database.keys.get({"_id": key}, SURVEY)
    if found is not None:
        record = decode(Survey, found)
        planned = plan(record, now, database.retention, leave=1)
        database.keys.update(unchanged(record), planned.update(now))


def unchanged(record: Survey) -> Document:
    """Return what matches a record only while what a survey calls its first entries are its first entries."""
    return {"_id": record.key, "epoch": record.epoch, "floor": record.floor}


def _count_over(record: Survey, now: datetime, retention: Retention, leave: int) -> int:
    size = record.bytes
    over = 0
    for entry in record.log[: len(record.log) - leave]:
        count = len(record.log) - over
        age = (now - record.time(entry)).total_seconds()
        aged = count > retention.keep or age >= retention.keep_seconds
        if not (size > retention.keep_bytes or _is_full(size, count) or (aged and age >= retention.keep_min_seconds)):
            break
        size -= entry.z
        over += 1
    return over


def _is_full(size: int, count: int) -> bool:
    return size + count * ENTRY_BYTES > DOCUMENT_BYTES


def _before(record: Survey, items: tuple[_Marked, ...], then: datetime) -> dict[str, None]:
    return {one.m: None for one in items if record.time(one) <= then}
