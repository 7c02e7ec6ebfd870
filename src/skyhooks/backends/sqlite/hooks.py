"""Hooks: adding, removing, listing."""

from __future__ import annotations

from collections.abc import Sequence

from ..._values import Hook, Instance, Position
from .connection import Connection
from .leases import decode_instance
from .records import open_key

PAGE = 500
"""How many hooks `page` reads in one transaction."""


def standing(db: Connection, instance_id: str, keys: Sequence[str], number: int) -> dict[str, Position] | None:
    """Return the keys' heads if all hooks stand with that number or a larger one; stop at the first that does not."""
    member = db.value("SELECT member FROM instances WHERE instance_id = ?", (instance_id,))
    heads = {}
    for key in keys:
        row = db.row(_STANDING, (key, member, number))
        if row is None:
            return None
        heads[key] = Position(*row)
    return heads


_STANDING = """
SELECT epoch, seq FROM keys JOIN hooks USING (key_id)
WHERE key = ? AND member = ? AND number >= ?
"""


def add(db: Connection, instance_id: str, keys: Sequence[str], number: int) -> dict[str, Position]:
    """`Store.add_hooks`, where something is to be written."""
    now = db.now()
    member = db.value(_MEMBER, (instance_id, now))
    heads = {}
    for key in keys:
        key_id, heads[key] = open_key(db, key, now)
        db.execute(_ADD, (key_id, member, number))
    return heads


_MEMBER = """
INSERT INTO instances (instance_id, since) VALUES (?, ?)
ON CONFLICT (instance_id) DO UPDATE SET since = iif(details IS NULL, excluded.since, since)
RETURNING member
"""
_ADD = """
INSERT INTO hooks (key_id, member, number) VALUES (?, ?, ?)
ON CONFLICT (key_id, member) DO UPDATE SET number = max(number, excluded.number)
"""


def remove(db: Connection, instance_id: str, keys: Sequence[str], number: int) -> None:
    """`Store.remove_hooks`."""
    now = db.now()
    for key in keys:
        if db.value(_REMOVE, (key, instance_id, number)) is not None:
            db.execute("UPDATE keys SET touched = ? WHERE key = ?", (now, key))


_REMOVE = """
DELETE FROM hooks
WHERE key_id = (SELECT key_id FROM keys WHERE key = ?)
    AND member = (SELECT member FROM instances WHERE instance_id = ?)
    AND number < ?
RETURNING key_id
"""


def targets(db: Connection, keys: Sequence[str]) -> dict[str, tuple[Instance, ...]]:
    """`Store.targets`."""
    now = db.now()
    return {key: tuple(decode_instance(details) for (details,) in db.rows(_TARGETS, (key, now))) for key in keys}


_TARGETS = """
SELECT details FROM keys
JOIN hooks USING (key_id)
CROSS JOIN instances USING (member)
WHERE key = ? AND expires > ?
"""


def page(db: Connection, after: Hook) -> list[Hook]:
    """Return the live hooks right behind that one, by key and instance id."""
    rows = db.rows(_PAGE, (after.key, after.key, after.instance_id, db.now(), PAGE))
    return [Hook(key, instance_id) for key, instance_id in rows]


_PAGE = """
SELECT key, instance_id FROM keys
JOIN hooks USING (key_id)
CROSS JOIN instances USING (member)
WHERE key >= ? AND (key, instance_id) > (?, ?) AND expires > ?
ORDER BY key, instance_id
LIMIT ?
"""
