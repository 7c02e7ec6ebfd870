"""One key's log while something is published to it: one update appends, if it knows none of the ids."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from pymongo.errors import DuplicateKeyError

from ..._values import Entry, Position, Publication
from .database import START, Database
from .documents import Document
from .log import append_to, chunks
from .records import KnownId, LogEntry, decode, fields_of, new_mark
from .tending import Appended, is_crowded, tend

TAIL: Document = {**dict.fromkeys(fields_of(Appended), 1), "log": {"$slice": -1}}
"""The fields of `Tail`."""


class Tail(Appended, frozen=True):
    """A record some time after an append, with its newest entry."""

    log: tuple[LogEntry, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """What stands under an id."""

    position: Position | None
    nonce: str
    entry: Entry | None
    """As it was stored before; None also where it was appended just now."""


class Appender:
    """What is to be published to one key, and what became of it."""

    def __init__(self, database: Database, key: str, publications: Sequence[Publication]) -> None:
        self._database = database
        self.key = key
        self.firsts: dict[str, Publication] = {}
        """The first publication of each id."""
        for publication in publications:
            self.firsts.setdefault(publication.id, publication)
        self._mark = new_mark()
        self.holders: list[str] = []
        """As of after the last append, or the last look."""
        self.answers: dict[str, Answer] = {}

    def append(self) -> None:
        """Append what the log does not know, and say in `answers` what became of each id."""
        for chunk in chunks(list(self.firsts.values())):
            self._append(chunk)
            self._mark = new_mark()

    def request(self) -> tuple[Document, Document]:
        """Return what appends all at once: the filter and the update.

        The filter: none of the ids is known, and this very append has not been made. It may be repeated, since its mark
        says whether it was made, also where its entries are trimmed already.
        """
        return self._request(list(self.firsts.values()))

    def accept(self, document: Document) -> bool:
        """Answer by what was read some time after the request for a single one was made; False: it does not tell."""
        tail = decode(Tail, document)
        if not tail.log or tail.log[-1].m != self._mark:
            return False
        self._appended(tail, list(self.firsts.values()))
        return True

    def _request(self, chunk: Sequence[Publication]) -> tuple[Document, Document]:
        ids = [one.id for one in chunk]
        unknown: Document = {"$nin": ids} if len(ids) > 1 else {"$ne": ids[0]}
        where = {"_id": self.key, "log.i": unknown, "known.i": unknown, f"at.{self._mark}": {"$exists": False}}
        return where, append_to(chunk, self._mark, self._database.retention.dedupe_ids)

    def _append(self, chunk: list[Publication]) -> None:
        while chunk:
            where, update = self._request(chunk)
            try:
                found = self._database.keys.modify(where, update, fields_of(Appended), upsert=True)
            except DuplicateKeyError:
                # One of them is known, or it was made; or another client made the record just now.
                chunk = self._look(chunk)
                continue
            self._appended(decode(Appended, found or {}), chunk)
            return

    def _appended(self, record: Appended, chunk: Sequence[Publication]) -> None:
        self.holders = record.holders
        for seq, one in enumerate(chunk, record.seq - len(chunk) + 1):
            self.answers[one.id] = Answer(Position(record.epoch, seq), one.nonce, None)
        if is_crowded(record, self._database.retention):
            tend(self._database, self.key, record.moved)

    def _look(self, chunk: list[Publication]) -> list[Publication]:
        """Answer for those of a chunk that the log knows; return those that are still to be appended."""
        touch = {"$currentDate": {"touched": True}}
        found = self._database.keys.modify({"_id": self.key}, touch, fields_of(_Record))
        if found is None:
            return chunk
        record = decode(_Record, found)
        self.holders = record.holders
        entries = {entry.i: entry.entry(seq) for seq, entry in enumerate(record.log, record.floor + 1)}
        if self._mark in record.at:
            for one in chunk:
                self.answers[one.id] = _own(one, record, entries)
            return []
        known = self._still_known(record)
        for one in chunk:
            entry = entries.get(one.id)
            if entry is not None:
                self.answers[one.id] = Answer(Position(record.epoch, entry.seq), entry.nonce, entry)
            elif one.id in known:
                self.answers[one.id] = Answer(None, known[one.id].n, None)
        return [one for one in chunk if one.id not in self.answers]

    def _still_known(self, record: _Record) -> dict[str, KnownId]:
        """Return the ids to remember, and take out of the store those whose time is over."""
        over = record.touched - timedelta(seconds=self._database.retention.dedupe_seconds)
        marks = {one.m for one in record.known if record.at.get(one.m, START) <= over}
        if marks:
            self._database.keys.update({"_id": self.key}, {"$pull": {"known": {"m": {"$in": list(marks)}}}})
        return {one.i: one for one in record.known if one.m not in marks}


def _own(one: Publication, record: _Record, entries: dict[str, Entry]) -> Answer:
    """Answer for an append of ours whose first answer was lost."""
    entry = entries.get(one.id)
    return Answer(None if entry is None else Position(record.epoch, entry.seq), one.nonce, None)


class _Record(msgspec.Struct, frozen=True):
    epoch: str
    touched: datetime
    floor: int = 0
    log: tuple[LogEntry, ...] = ()
    known: tuple[KnownId, ...] = ()
    at: dict[str, datetime] = {}
    holders: list[str] = []
