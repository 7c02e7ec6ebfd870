"""One key's log: what is appended to it, how its pages are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from bson import Int64

from ..._values import Entry, Page, Position, Publication
from .._log import PAGE_BYTES, entry_bytes
from .database import Database
from .documents import Document
from .hooks import made
from .records import KnownId, LogEntry, decode, fields_of

CHUNK = 500
"""How many entries one append holds at most, and with `PAGE_BYTES` of them, how large it gets."""


class Bounds(msgspec.Struct, frozen=True):
    """Where a log begins and ends."""

    epoch: str
    seq: int
    floor: int


class Piece(Bounds, frozen=True):
    """A part of a log, and its bounds at that moment."""

    log: tuple[LogEntry, ...] = ()


def read(database: Database, key: str, after: Position | None, limit: int) -> Page | None:
    """`Store.read`: where the log is, then its entries, if it was not trimmed in between."""
    while True:
        found = database.keys.get({"_id": key}, fields_of(Bounds))
        if found is None:
            return None
        bounds = decode(Bounds, found)
        start = _start(bounds, after)
        if start >= bounds.seq:
            return Page(bounds.epoch, bounds.floor, bounds.seq, ())
        piece = _piece(database, key, bounds, start - bounds.floor, limit)
        if piece is not None:
            entries = tuple(_cut(entry.entry(start + place) for place, entry in enumerate(piece.log, 1)))
            return Page(piece.epoch, piece.floor, piece.seq, entries)


def _start(bounds: Bounds, after: Position | None) -> int:
    behind = after is not None and after.epoch == bounds.epoch and after.seq >= bounds.floor
    return after.seq if after is not None and behind else bounds.floor


def _piece(database: Database, key: str, bounds: Bounds, skip: int, limit: int) -> Piece | None:
    fields: Document = dict.fromkeys(fields_of(Bounds), 1)
    fields["log"] = {"$slice": [skip, max(1, min(limit, CHUNK))]}
    found = database.keys.get({"_id": key, "epoch": bounds.epoch, "floor": bounds.floor}, fields)
    return None if found is None else decode(Piece, found)


def _cut(entries: Iterable[Entry]) -> Iterator[Entry]:
    size = 0
    for entry in entries:
        size += len(entry.data)
        if size > PAGE_BYTES and size > len(entry.data):
            return
        yield entry


def append_to(publications: Sequence[Publication], mark: str, dedupe_ids: int) -> Document:
    """Return the update that appends, makes the record where there is none, and lets the holders know."""
    record = made()
    update: dict[str, dict[str, Any]] = {
        "$inc": {"seq": Int64(len(publications)), "bytes": Int64(sum(map(entry_bytes, publications)))},
        "$push": {"log": {"$each": [_encode(one, mark) for one in publications]}},
        "$currentDate": {f"at.{mark}": True, "moved": True, "touched": True, "due": True},
        "$setOnInsert": {"epoch": record["epoch"], "floor": record["floor"]},
    }
    known = [KnownId(one.id, one.nonce, mark) for one in publications if one.remember]
    if known:
        update["$push"]["known"] = {"$each": [msgspec.structs.asdict(one) for one in known], "$slice": -dedupe_ids}
    return update


def chunks(publications: Sequence[Publication]) -> Iterator[list[Publication]]:
    """Split what one document cannot take at once (PROTOCOL 16)."""
    chunk: list[Publication] = []
    size = 0
    for publication in publications:
        size += entry_bytes(publication)
        if chunk and (size > PAGE_BYTES or len(chunk) == CHUNK):
            yield chunk
            chunk, size = [], entry_bytes(publication)
        chunk.append(publication)
    if chunk:
        yield chunk


def _encode(one: Publication, mark: str) -> Document:
    """Write an entry as `LogEntry` reads it; short names, since a document holds thousands."""
    entry = {"i": one.id, "m": mark, "z": entry_bytes(one), "s": one.sent_at, "d": one.data, "n": one.nonce}
    if one.keys:
        entry["k"] = list(one.keys)
    if one.mac is not None:
        entry["a"] = one.mac
    return entry
