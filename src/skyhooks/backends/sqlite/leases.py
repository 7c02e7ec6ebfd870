"""Instances and their leases; what has moved for them."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from ..._values import Instance, Joined, Position, Renewal, RenewalState
from .._tokens import make_token, take_token
from .connection import Connection

SWEEP = 2000
"""How many hooks are removed in one transaction: a million at once would hold up every writer for seconds."""


@lru_cache(maxsize=4096)
def decode_instance(details: bytes) -> Instance:
    """Decode a row; cached by its bytes, so that it need not be told of changes."""
    return msgspec.json.decode(details, type=Instance)


def join(db: Connection, instance: Instance, lease_seconds: float) -> Joined:
    """`Store.join`."""
    displaced = _displace(db, instance)
    now = db.now()
    details = msgspec.json.encode(msgspec.structs.replace(instance, lease_left_seconds=None))
    row = (instance.instance_id, instance.url, details, now, now + lease_seconds)
    generation: int = db.value(_JOIN, row)
    return Joined(displaced, make_token(generation, instance.url))


_JOIN = """
INSERT INTO instances (instance_id, url, details, since, expires) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (instance_id) DO UPDATE SET
    url = excluded.url,
    details = excluded.details,
    since = iif(details IS NULL, excluded.since, since),
    expires = excluded.expires,
    generation = generation + 1
RETURNING generation
"""


def _displace(db: Connection, instance: Instance) -> tuple[str, ...]:
    query = "SELECT member, instance_id FROM instances WHERE url = ? AND instance_id <> ? ORDER BY member"
    others = db.rows(query, (instance.url, instance.instance_id))
    for member, _ in others:
        depart(db, member)
    return tuple(instance_id for _, instance_id in others)


def renew(db: Connection, instance_id: str, lease_seconds: float, token: str) -> Renewal:
    """`Store.renew`: what moved since is marked with the generation of that token, or a later one."""
    told, url = take_token(token)
    row = db.row(_RENEW, (db.now() + lease_seconds, instance_id))
    if row is None:
        taken = db.value("SELECT count(*) FROM instances WHERE url = ?", (url,))
        return Renewal(RenewalState.DISPLACED if taken else RenewalState.EXPIRED, {}, "")
    member, own_url, generation = row
    # A token from the future is of a store that was restored since: everything is told again.
    since = told if told < generation else 0
    db.execute("DELETE FROM moves WHERE member = ? AND generation < ?", (member, since))
    heads = {key: Position(epoch, seq) for key, epoch, seq in db.rows(_MOVED, (member, since))}
    return Renewal(RenewalState.ALIVE, heads, make_token(generation, own_url))


_RENEW = """
UPDATE instances SET expires = ?, generation = generation + 1
WHERE instance_id = ? AND details NOT NULL
RETURNING member, url, generation
"""
_MOVED = """
SELECT key, epoch, seq FROM moves
CROSS JOIN hooks USING (key_id, member)
CROSS JOIN keys USING (key_id)
WHERE moves.member = ? AND generation >= ?
"""


def leave(db: Connection, instance_id: str) -> None:
    """`Store.leave`."""
    member = db.value("SELECT member FROM instances WHERE instance_id = ?", (instance_id,))
    if member is not None:
        depart(db, member)


def depart(db: Connection, member: int) -> int:
    """Remove a row, and the first of its hooks; return how many."""
    db.execute("DELETE FROM instances WHERE member = ?", (member,))
    db.execute("INSERT INTO departed VALUES (?)", (member,))
    return sweep(db, member)


def sweep(db: Connection, member: int) -> int:
    """Remove some of a departed member's hooks and moves; return how many hooks."""
    hooks = db.rows("SELECT key_id, member FROM hooks WHERE member = ? LIMIT ?", (member, SWEEP))
    db.executemany("DELETE FROM hooks WHERE key_id = ? AND member = ?", hooks)
    moves = db.rows("SELECT generation, key_id, member FROM moves WHERE member = ? LIMIT ?", (member, SWEEP))
    db.executemany("DELETE FROM moves WHERE generation = ? AND key_id = ? AND member = ?", moves)
    if max(len(hooks), len(moves)) < SWEEP:
        db.execute("DELETE FROM departed WHERE member = ?", (member,))
    return len(hooks)


def instances(db: Connection) -> list[Instance]:
    """`Store.instances`."""
    now = db.now()
    rows = db.rows("SELECT details, expires FROM instances WHERE expires > ? ORDER BY since, member", (now,))
    return [
        msgspec.structs.replace(decode_instance(details), lease_left_seconds=expires - now) for details, expires in rows
    ]
