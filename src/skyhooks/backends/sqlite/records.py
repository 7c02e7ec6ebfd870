"""The record of a key: made where somebody asks for it, dropped when nobody has for a long time."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from ..._values import Position, Retention
from .connection import Connection

IDLE_SECONDS = 3600.0
_SLACK = 1 / 6
"""A touch is written down only if the last one is older than this part of the time that it buys."""


def idle_seconds(retention: Retention) -> float:
    """Return for how long a record without hook and entry is kept."""
    return max(IDLE_SECONDS, retention.keep_seconds, retention.dedupe_seconds) * (1 + _SLACK)


def heads(db: Connection, keys: Sequence[str]) -> dict[str, Position] | None:
    """Return the keys' heads; None: some need `open_key`."""
    stale = db.now() - idle_seconds(db.retention) * _SLACK
    found = {}
    for key in keys:
        row = db.row("SELECT epoch, seq FROM keys WHERE key = ? AND touched > ?", (key, stale))
        if row is None:
            return None
        found[key] = Position(*row)
    return found


def open_keys(db: Connection, keys: Sequence[str]) -> dict[str, Position]:
    """Make or touch the keys' records, and return their heads."""
    now = db.now()
    return {key: open_key(db, key, now)[1] for key in keys}


def open_key(db: Connection, key: str, now: float) -> tuple[int, Position]:
    """Make or touch a key's record, and return its number and head."""
    row = db.row("SELECT key_id, epoch, seq, touched FROM keys WHERE key = ?", (key,))
    if row is None:
        epoch = secrets.token_hex(8)
        insert = "INSERT INTO keys (key, epoch, touched, due) VALUES (?, ?, ?, ?) RETURNING key_id"
        return db.value(insert, (key, epoch, now, now + idle_seconds(db.retention))), Position(epoch, 0)
    key_id, epoch, seq, touched = row
    if touched <= now - idle_seconds(db.retention) * _SLACK:
        db.execute("UPDATE keys SET touched = ? WHERE key_id = ?", (now, key_id))
    return key_id, Position(epoch, seq)
