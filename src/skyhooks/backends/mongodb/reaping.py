"""Removing what has expired, some documents at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta

from ..._values import Reaped
from .database import Database
from .documents import Document
from .hooks import idle_seconds
from .leases import EXPIRED, depart, remove_departed
from .records import decode
from .tending import SURVEY, Survey, next_due, plan, unchanged

REAP_SECONDS = 1.5
"""How long one call of `reap` goes on."""
ORPHAN_SECONDS = 60.0
"""How long hooks wait for their instance to join."""
_KEYS = 200


def reap(database: Database) -> Reaped:
    """`Store.reap`."""
    until = time.monotonic() + REAP_SECONDS
    now = database.now()
    instances, hooks = _reap_instances(database, now, until)
    entries, keys = _reap_keys(database, now, until)
    return Reaped(instances, hooks, entries, keys)


def _reap_instances(database: Database, now: datetime, until: float) -> tuple[int, int]:
    expired = database.instances.find(EXPIRED, ["_id"])
    instances = sum(depart(database, one["_id"], EXPIRED) for one in expired)
    # Those that departed just now, those whose remover died on the way, and those that never joined.
    orphaned: Document = {
        "details": {"$exists": False},
        "$or": [{"added": {"$exists": False}}, {"added": {"$lte": now - timedelta(seconds=ORPHAN_SECONDS)}}],
    }
    hooks = 0
    for one in database.instances.find(orphaned, ["_id"]):
        if time.monotonic() < until:
            hooks += remove_departed(database, one["_id"], orphaned)
    return instances, hooks


def _reap_keys(database: Database, now: datetime, until: float) -> tuple[int, int]:
    entries = keys = 0
    for record in _due(database, now, until):
        trimmed, dropped = _reap_key(database, record, now)
        entries += trimmed
        keys += dropped
    return entries, keys


def _due(database: Database, now: datetime, until: float) -> Iterator[Survey]:
    """Give the records that are due, each once: one that was changed meanwhile is left to the next call."""
    seen: set[str] = set()
    where = {"due": {"$lte": now - timedelta(seconds=database.retention.keep_min_seconds)}}
    while time.monotonic() < until:
        found = [decode(Survey, one) for one in database.keys.find(where, SURVEY, order="due", limit=_KEYS)]
        fresh = [record for record in found if record.key not in seen]
        if not fresh:
            return
        for record in fresh:
            if time.monotonic() < until:
                seen.add(record.key)
                yield record


def _reap_key(database: Database, record: Survey, now: datetime) -> tuple[int, int]:
    """Tend one record, or drop it if nobody needs it; return how many entries and records went."""
    planned = plan(record, now, database.retention, leave=0)
    due = next_due(record, planned, database.retention)
    where = {**unchanged(record), "due": _not_later(record.due or now)}
    if due is None and not record.holders:
        idle = record.touched + timedelta(seconds=idle_seconds(database))
        if idle <= now and not planned.entries:
            empty: Document = {"holders.0": {"$exists": False}, "log.0": {"$exists": False}}
            return 0, database.keys.delete({**where, "touched": _not_later(record.touched), **empty})
        due = max(now, idle)
    update = planned.update(now)
    if due is None:
        update.setdefault("$unset", {})["due"] = ""
    else:
        update["$set"]["due"] = due - timedelta(seconds=database.retention.keep_min_seconds)
    return len(planned.entries) * database.keys.update(where, update), 0


def _not_later(then: datetime) -> Document:
    """Return what a time matches that was not written since; mongo-java-server 1.47 keeps parts of a millisecond."""
    return {"$lt": then + timedelta(milliseconds=1)}
