"""Publishing: one update appends to a key, if it knows none of the ids; what it knows is looked up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec
from pymongo.errors import DuplicateKeyError

from ..._values import Entry, Instance, Position, Publication, Published
from .database import START, Database
from .documents import Document
from .leases import live
from .log import append_to, chunks
from .records import KnownId, LogEntry, decode, fields_of, new_mark
from .tending import Appended, is_crowded, tend


class Answer(msgspec.Struct, frozen=True):
    """What stands under an id."""

    position: Position | None
    nonce: str
    entry: Entry | None
    """As it was stored before; None also where it was appended just now."""


def publish(database: Database, publications: Sequence[Publication]) -> list[Published]:
    """`Store.publish`: key by key in the order they are first named, then who holds them and lives."""
    groups: dict[str, list[Publication]] = {}
    for publication in publications:
        groups.setdefault(publication.key, []).append(publication)
    logs = {key: _Log(database, key) for key in groups}
    for key, group in groups.items():
        logs[key].publish(group)
    alive = live(database, (holder for log in logs.values() for holder in log.holders))
    targets = {key: tuple(_present(log.holders, alive)) for key, log in logs.items()}
    return [
        msgspec.structs.replace(answer, targets=targets[publication.key])
        for publication, answer in zip(publications, _in_order(publications, logs), strict=True)
    ]


def _present(holders: Iterable[str], alive: dict[str, Instance]) -> Iterable[Instance]:
    return (alive[holder] for holder in holders if holder in alive)


def _in_order(publications: Sequence[Publication], logs: dict[str, _Log]) -> Iterable[Published]:
    """Answer each: an id's first publication by what became of it, any further one as what repeats it."""
    seen: set[tuple[str, str]] = set()
    for one in publications:
        answer = logs[one.key].answers[one.id]
        first = (one.key, one.id) not in seen
        seen.add((one.key, one.id))
        if first:
            yield Published(answer.position, (), answer.nonce != one.nonce, answer.entry)
        else:
            yield Published(
                answer.position, (), answer.nonce != one.nonce, answer.entry or _stored(one, publications, answer)
            )


def _stored(one: Publication, publications: Sequence[Publication], answer: Answer) -> Entry | None:
    if answer.position is None:
        return None
    first = next(other for other in publications if (other.key, other.id) == (one.key, one.id))
    return Entry(answer.position.seq, first.id, first.data, first.sent_at, first.keys, first.nonce, first.mac)


class _Log:
    """One key's log while something is published to it."""

    def __init__(self, database: Database, key: str) -> None:
        self._database = database
        self._key = key
        self.holders: list[str] = []
        """As of after the last append, or the last look."""
        self.answers: dict[str, Answer] = {}

    def publish(self, publications: Sequence[Publication]) -> None:
        """Append what the log does not know, and say in `answers` what became of each id."""
        firsts: dict[str, Publication] = {}
        for publication in publications:
            firsts.setdefault(publication.id, publication)
        appended = None
        for chunk in chunks(list(firsts.values())):
            appended = self._append(chunk) or appended
        if appended is not None and is_crowded(appended, self._database.retention):
            tend(self._database, self._key, appended.moved)

    def _append(self, chunk: list[Publication]) -> Appended | None:
        """Append a chunk, but for the ids that are known; None if all are."""
        mark = new_mark()
        while chunk:
            try:
                appended = self._try(chunk, mark)
            except DuplicateKeyError:
                chunk = self._look(chunk, mark)
                continue
            for place, one in enumerate(chunk, appended.seq - len(chunk) + 1):
                self.answers[one.id] = Answer(Position(appended.epoch, place), one.nonce, None)
            return appended
        return None

    def _try(self, chunk: Sequence[Publication], mark: str) -> Appended:
        """Append, if none of the ids is known and this very append has not been made.

        It may be repeated, since its mark says whether it was made: also where its entries are trimmed already.

        Raises:
            DuplicateKeyError: one of them is known, or it was made; or another client made the record just now.

        """
        ids = [one.id for one in chunk]
        unknown: Document = {"$nin": ids} if len(ids) > 1 else {"$ne": ids[0]}
        where = {"_id": self._key, "log.i": unknown, "known.i": unknown, f"at.{mark}": {"$exists": False}}
        update = append_to(chunk, mark, self._database.retention.dedupe_ids)
        found = self._database.keys.modify(where, update, fields_of(Appended), upsert=True)
        appended = decode(Appended, found or {})
        self.holders = appended.holders
        return appended

    def _look(self, chunk: list[Publication], mark: str) -> list[Publication]:
        """Answer for those of a chunk that the log knows; return those that are still to be appended."""
        touch = {"$currentDate": {"touched": True}}
        found = self._database.keys.modify({"_id": self._key}, touch, fields_of(_Record))
        if found is None:
            return chunk
        record = decode(_Record, found)
        self.holders = record.holders
        entries = {entry.i: entry.entry(seq) for seq, entry in enumerate(record.log, record.first)}
        if mark in record.at:
            for one in chunk:
                self.answers[one.id] = _own(one, record, entries)
            return []
        known = {one.i: one for one in record.known}
        self._forget(known, record)
        for one in chunk:
            entry = entries.get(one.id)
            if entry is not None:
                self.answers[one.id] = Answer(Position(record.epoch, entry.seq), entry.nonce, entry)
            elif one.id in known:
                self.answers[one.id] = Answer(None, known[one.id].n, None)
        return [one for one in chunk if one.id not in self.answers]

    def _forget(self, known: dict[str, KnownId], record: _Record) -> None:
        """Take out the ids whose time is over, here and in the store."""
        over = record.touched - timedelta(seconds=self._database.retention.dedupe_seconds)
        marks = {one.m for one in known.values() if record.at.get(one.m, START) <= over}
        if marks:
            self._database.keys.update({"_id": self._key}, {"$pull": {"known": {"m": {"$in": list(marks)}}}})
        for one in [one for one in known.values() if one.m in marks]:
            del known[one.i]


def _own(one: Publication, record: _Record, entries: dict[str, Entry]) -> Answer:
    """Answer for an append of ours whose first answer was lost."""
    entry = entries.get(one.id)
    return Answer(None if entry is None else Position(record.epoch, entry.seq), one.nonce, None)


class _Record(msgspec.Struct, frozen=True):
    epoch: str
    seq: int
    touched: datetime
    floor: int = 0
    log: tuple[LogEntry, ...] = ()
    known: tuple[KnownId, ...] = ()
    at: dict[str, datetime] = {}
    holders: list[str] = []

    @property
    def first(self) -> int:
        """The `seq` of the oldest entry."""
        return self.floor + 1
