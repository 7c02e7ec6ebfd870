"""Instances and their leases; what has moved for them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec
from bson import Int64
from pymongo.errors import DuplicateKeyError

from ..._values import Instance, Joined, Position, Renewal, RenewalState
from .._tokens import make_token, take_token
from .database import Database, milliseconds, moment
from .documents import Document
from .hooks import sweep
from .records import Beat, Head, Row, decode, fields_of

MARGIN_SECONDS = 30.0
"""How far each renewal looks back behind its token: what was published then may have become visible only since, and a
new primary's clock may be behind the old one's (PROTOCOL 13)."""

_EXPIRES: Document = {"$add": ["$beat", "$lease_ms"]}
LIVE: Document = {"details": {"$exists": True}, "$expr": {"$gt": [_EXPIRES, "$$NOW"]}}
EXPIRED: Document = {"details": {"$exists": True}, "$expr": {"$lte": [_EXPIRES, "$$NOW"]}}
_DEPART: Document = {"$unset": dict.fromkeys(("details", "url", "beat", "lease_ms", "order", "added"), "")}


def join(database: Database, instance: Instance, lease_seconds: float) -> Joined:
    """`Store.join`."""
    order = database.meta.put("joins", {"$inc": {"joins": Int64(1)}})["joins"]
    update = _row(instance, lease_seconds)
    update["$min"] = {"order": order}  # a repeated join keeps its place
    displaced: list[str] = []
    while True:
        displaced += _displace(database, instance)
        try:
            row = database.instances.modify({"_id": instance.instance_id}, update, fields_of(Beat), upsert=True)
        except DuplicateKeyError:
            continue  # another one with this URL joined in between: the later one stays
        if row is not None:
            return Joined(tuple(displaced), make_token(milliseconds(decode(Beat, row).beat), instance.url))


def _row(instance: Instance, lease_seconds: float) -> Document:
    details = msgspec.json.encode(msgspec.structs.replace(instance, lease_left_seconds=None))
    values: Document = {"details": details, "lease_ms": _lease(lease_seconds)}
    if instance.url is None:
        return {"$set": values, "$currentDate": {"beat": True}, "$unset": {"url": ""}}
    return {"$set": {**values, "url": instance.url}, "$currentDate": {"beat": True}}


def _displace(database: Database, instance: Instance) -> list[str]:
    if instance.url is None:
        return []
    others = database.instances.find({"url": instance.url, "_id": {"$ne": instance.instance_id}}, ["_id"])
    departed = [other["_id"] for other in others if depart(database, other["_id"])]
    for instance_id in departed:
        remove_departed(database, instance_id)
    return departed


def renew(database: Database, instance_id: str, lease_seconds: float, token: str) -> Renewal:
    """`Store.renew`: whose answer tells again what was published in the last `MARGIN_SECONDS` before the token."""
    told, url = take_token(token)
    row = database.instances.modify(
        {"_id": instance_id, "details": {"$exists": True}},
        {"$set": {"lease_ms": _lease(lease_seconds)}, "$currentDate": {"beat": True}},
        fields_of(Beat),
    )
    if row is None:
        taken = url and database.instances.get({"url": url}, ["_id"])
        return Renewal(RenewalState.DISPLACED if taken else RenewalState.EXPIRED, {}, "")
    beat = decode(Beat, row)
    # Read after the token was taken: what moves in between is told twice, and never not at all.
    moved = _moved_since(database, instance_id, told, beat.beat)
    return Renewal(RenewalState.ALIVE, moved, make_token(milliseconds(beat.beat), beat.url))


def _moved_since(database: Database, instance_id: str, told: int, now: datetime) -> dict[str, Position]:
    since = moment(max(told - int(MARGIN_SECONDS * 1000), 0)) if told <= milliseconds(now + _MARGIN) else moment(0)
    found = database.keys.find({"holders": instance_id, "moved": {"$gte": since}}, fields_of(Head))
    heads = [decode(Head, document) for document in found]
    return {head.key: head.position for head in heads}


_MARGIN = timedelta(seconds=MARGIN_SECONDS)


def leave(database: Database, instance_id: str) -> None:
    """`Store.leave`."""
    depart(database, instance_id)
    remove_departed(database, instance_id)


def depart(database: Database, instance_id: str, where: Document | None = None) -> bool:
    """Remove a row, if that is so, and tell whether it was there; its hooks are `remove_departed`'s."""
    where = {"details": {"$exists": True}} if where is None else where
    return bool(database.instances.update({"_id": instance_id, **where}, _DEPART))


def remove_departed(database: Database, instance_id: str, where: Document | None = None) -> int:
    """Remove the hooks of an id without a row, as many as there is time for, then the rest of it; return how many."""
    hooks, done = sweep(database, instance_id)
    if done:
        nothing_added = {"details": {"$exists": False}, "added": {"$exists": False}}
        database.instances.delete({"_id": instance_id, **(nothing_added if where is None else where)})
    return hooks


def live(database: Database, instance_ids: Iterable[str]) -> dict[str, Instance]:
    """Return those of these instances whose lease runs."""
    wanted = list(dict.fromkeys(instance_ids))
    if not wanted:
        return {}
    rows = database.instances.find({"_id": {"$in": wanted}, **LIVE}, ["details"])
    return {row["_id"]: decode(Row, row).instance for row in rows}


def instances(database: Database) -> list[Instance]:
    """`Store.instances`."""
    now = database.now()
    rows = database.instances.find(LIVE, ["details", "beat", "lease_ms"], order="order")
    return [decode(_Listed, row).instance(now) for row in rows]


class _Listed(msgspec.Struct, frozen=True):
    details: bytes
    beat: datetime
    lease_ms: int

    def instance(self, now: datetime) -> Instance:
        left = (self.beat - now).total_seconds() + self.lease_ms / 1000
        return msgspec.structs.replace(Row(self.details).instance, lease_left_seconds=max(left, 0.0))


def _lease(lease_seconds: float) -> Int64:
    return Int64(round(lease_seconds * 1000))
