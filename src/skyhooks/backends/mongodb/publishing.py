"""Publishing: appending key by key, or to many keys in one trip; then who holds them and lives."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..._values import Entry, Publication, Published
from .appending import TAIL, Answer, Appender
from .database import Database
from .leases import live


def publish(database: Database, publications: Sequence[Publication]) -> list[Published]:
    """`Store.publish`."""
    groups: dict[str, list[Publication]] = {}
    for publication in publications:
        groups.setdefault(publication.key, []).append(publication)
    logs = {key: Appender(database, key, group) for key, group in groups.items()}
    _append_together(database, [log for log in logs.values() if _is_single(log)])
    for log in logs.values():
        if not log.answers:
            log.append()
    alive = live(database, (holder for log in logs.values() for holder in log.holders))
    targets = {key: tuple(alive[one] for one in log.holders if one in alive) for key, log in logs.items()}
    answers = _answers(publications, logs)
    return [
        msgspec.structs.replace(answer, targets=targets[publication.key])
        for publication, answer in zip(publications, answers, strict=True)
    ]


def _is_single(log: Appender) -> bool:
    """Tell whether one notification goes to one key: with several keys, the order of the keys counts (PROTOCOL 9)."""
    return len(log.firsts) == 1 and not any(one.keys for one in log.firsts.values())


def _append_together(database: Database, logs: Sequence[Appender]) -> None:
    """Append to many keys in two trips, however many there are; what that leaves open stays without an answer."""
    if len(logs) < 2:
        return
    refused = set(database.keys.offer_all([log.request() for log in logs]))
    offered = {log.key: log for place, log in enumerate(logs) if place not in refused}
    for document in database.keys.find({"_id": {"$in": list(offered)}}, TAIL):
        offered[document["_id"]].accept(document)


def _answers(publications: Sequence[Publication], logs: dict[str, Appender]) -> list[Published]:
    """Answer each: an id's first publication by what became of it, any further one as what repeats it."""
    answers = []
    for one in publications:
        first, answer = logs[one.key].firsts[one.id], logs[one.key].answers[one.id]
        entry = answer.entry if one is first else answer.entry or _stored(first, answer)
        answers.append(Published(answer.position, (), answer.nonce != one.nonce, entry))
    return answers


def _stored(first: Publication, answer: Answer) -> Entry | None:
    if answer.position is None:
        return None
    seq = answer.position.seq
    return Entry(seq, first.id, first.data, first.sent_at, first.keys, first.nonce, first.mac)
