"""Removing what has expired, in transactions that are short enough for others to come between."""

from __future__ import annotations

from ..._values import Reaped
from .connection import Connection
from .leases import SWEEP, depart, sweep
from .log import Log
from .records import idle_seconds

ORPHAN_SECONDS = 60.0
"""How long hooks wait for their instance to join."""
_KEYS = 500


def is_due(db: Connection) -> bool:
    """Tell whether there is anything to remove."""
    now = db.now()
    due: int = db.value(_DUE, (now, now - ORPHAN_SECONDS, now))
    return bool(due)


_EXPIRED = "SELECT member, details NOT NULL FROM instances WHERE expires <= ? OR (details IS NULL AND since <= ?)"
_DUE = f"""
SELECT EXISTS ({_EXPIRED}) OR EXISTS (SELECT 1 FROM departed) OR EXISTS (SELECT 1 FROM keys WHERE due <= ?)
"""


def reap(db: Connection) -> Reaped:
    """Remove some of what has expired."""
    now = db.now()
    instances, hooks = _reap_instances(db, now)
    entries, keys = _reap_keys(db, now)
    return Reaped(instances, hooks, entries, keys)


def _reap_instances(db: Connection, now: float) -> tuple[int, int]:
    instances = hooks = 0
    for member, joined in db.rows(_EXPIRED, (now, now - ORPHAN_SECONDS)):
        instances += joined
        hooks += depart(db, member)
        if hooks >= SWEEP:
            return instances, hooks
    for (member,) in db.rows("SELECT member FROM departed LIMIT 1"):
        hooks += sweep(db, member)
    return instances, hooks


def _reap_keys(db: Connection, now: float) -> tuple[int, int]:
    entries = keys = 0
    idle = idle_seconds(db.retention)
    query = "SELECT key_id FROM keys WHERE due <= ? ORDER BY due LIMIT ?"
    for (key_id,) in db.rows(query, (now, _KEYS)):
        log = Log.of_record(db, key_id, now)
        entries += log.trim(leave=0)
        log.forget()
        keys += log.settle(idle)
    return entries, keys
