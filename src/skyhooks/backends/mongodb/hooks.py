"""Hooks: adding, removing, listing; and the records they stand in."""

from __future__ import annotations

import time
from collections.abc import Sequence

from bson import Int64

from ..._values import Position
from .._log import new_epoch
from .database import Database
from .documents import Document
from .records import Head, decode, fields_of, hook_field

IDLE_SECONDS = 3600.0
SWEEP = 1000
"""How many hooks are removed in one trip."""
SWEEP_SECONDS = 1.5
"""How long one operation goes on removing a departed instance's hooks; the rest is reap's."""
_SLACK = 1 / 6
"""A touch is written down only if the last one is older than this part of the time that it buys."""


def idle_seconds(database: Database) -> float:
    """Return for how long a record without hook and entry is kept."""
    retention = database.retention
    return max(IDLE_SECONDS, retention.keep_seconds, retention.dedupe_seconds) * (1 + _SLACK)


def made() -> Document:
    """Return what a record has that nobody has published to."""
    return {"epoch": new_epoch(), "seq": Int64(0), "floor": Int64(0), "bytes": Int64(0)}


def add(database: Database, instance_id: str, keys: Sequence[str], number: int) -> dict[str, Position]:
    """`Store.add_hooks`."""
    field = hook_field(instance_id)
    heads = _heads(database, keys, {field: {"$gte": number}})
    if len(heads) < len(keys):
        # Before the hooks: whoever dies in between leaves nothing that reap does not know of.
        database.instances.put(instance_id, {"$currentDate": {"added": True}})
    update = {
        "$max": {field: number},
        "$addToSet": {"holders": instance_id},
        "$currentDate": {"touched": True},
    }
    return _write(database, keys, update, heads)


def positions(database: Database, keys: Sequence[str]) -> dict[str, Position]:
    """`Store.positions`."""
    slack = int(idle_seconds(database) * _SLACK * 1000)
    fresh: Document = {"$expr": {"$gt": [{"$add": ["$touched", slack]}, "$$NOW"]}}
    heads = _heads(database, keys, fresh)
    return _write(database, keys, {"$currentDate": {"touched": True, "due": True}}, heads)


def remove(database: Database, instance_id: str, keys: Sequence[str], number: int) -> None:
    """`Store.remove_hooks`."""
    where = {"_id": {"$in": list(keys)}, hook_field(instance_id): {"$lt": number}}
    database.keys.update_all(where, _removal(instance_id))


def sweep(database: Database, instance_id: str) -> tuple[int, bool]:
    """Remove hooks of an id, while there is time; return how many, and whether that was all."""
    removed = 0
    until = time.monotonic() + SWEEP_SECONDS
    while found := database.keys.find({"holders": instance_id}, ["_id"], limit=SWEEP):
        if time.monotonic() > until:
            return removed, False
        where = {"_id": {"$in": [one["_id"] for one in found]}, "holders": instance_id}
        removed += database.keys.update_all(where, _removal(instance_id))
    return removed, True


def holders(database: Database, keys: Sequence[str]) -> dict[str, list[str]]:
    """Return, for every key given, the ids that have a hook on it, alive or not."""
    found = database.keys.find({"_id": {"$in": list(keys)}}, ["holders"])
    return {key: [] for key in keys} | {one["_id"]: one.get("holders", []) for one in found}


def page(database: Database, after: str, limit: int) -> dict[str, list[str]]:
    """Return the holders of the keys right behind that one, in order."""
    where = {"_id": {"$gt": after}, "holders.0": {"$exists": True}}
    found = database.keys.find(where, ["holders"], order="_id", limit=limit)
    return {one["_id"]: one["holders"] for one in found}


def _removal(instance_id: str) -> Document:
    return {
        "$unset": {hook_field(instance_id): ""},
        "$pull": {"holders": instance_id},
        "$currentDate": {"touched": True, "due": True},
    }


def _heads(database: Database, keys: Sequence[str], where: Document) -> dict[str, Position]:
    found = database.keys.find({"_id": {"$in": list(keys)}, **where}, fields_of(Head))
    heads = [decode(Head, document) for document in found]
    return {head.key: head.position for head in heads}


def _write(
    database: Database, keys: Sequence[str], update: Document, heads: dict[str, Position]
) -> dict[str, Position]:
    """Write the records whose heads are still missing, made where there is none, and return all heads.

    They are read after everything was written, not returned with each write, since what many keys need has to be two
    trips and not many: what is published in between sees the hook, and is behind the head as well.
    """
    while missing := [key for key in keys if key not in heads]:
        database.keys.put_all({key: {**update, "$setOnInsert": made()} for key in missing})
        heads |= _heads(database, missing, {})
    return heads
