"""Publishing: appending, marking the hooks that have moved, reading the targets, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..._values import Instance, Publication, Published
from .connection import Connection
from .leases import decode_instance
from .log import Log


def publish(db: Connection, publications: Sequence[Publication]) -> list[Published]:
    """`Store.publish`."""
    now = db.now()
    logs: dict[str, Log] = {}
    answers = []
    for publication in publications:
        log = logs.get(publication.key)
        if log is None:
            log = logs[publication.key] = Log.of_key(db, publication.key, now)
        answers.append(log.append(publication))
    targets = {key: _finish(db, log, now) for key, log in logs.items()}
    return [
        msgspec.structs.replace(answer, targets=targets[publication.key])
        for publication, answer in zip(publications, answers, strict=True)
    ]


def _finish(db: Connection, log: Log, now: float) -> tuple[Instance, ...]:
    holders = db.rows(_HOLDERS, (now, log.key_id))
    if log.grown:
        log.trim(leave=1)
        log.save()
        db.executemany(_MOVE, [(member, generation, log.key_id) for _, _, member, generation in holders])
    return tuple(decode_instance(details) for details, live, *_ in holders if live)


# Those past their lease are no targets, but may still renew it: they too have to hear what has moved.
_HOLDERS = """
SELECT details, expires > ?, member, generation FROM hooks
CROSS JOIN instances USING (member)
WHERE key_id = ? AND details NOT NULL
"""
_MOVE = "INSERT OR IGNORE INTO moves VALUES (?, ?, ?)"
