"""A store as plain data, one call after the other: what the real one is compared with.

Leases never run out here and retention is by number only, so that no clock decides anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..._values import Entry, Instance, Position, Publication, Retention


@dataclass
class Log:
    """One key's log. Epochs are the store's to draw; the model is told the first that it sees."""

    epoch: str
    seq: int = 0
    floor: int = 0
    entries: list[Entry] = field(default_factory=list)
    remembered: list[tuple[str, str]] = field(default_factory=list)

    @property
    def head(self) -> Position:
        """Where it ends."""
        return Position(self.epoch, self.seq)


@dataclass
class Row:
    """An instance that has joined, and what it has not been told."""

    instance: Instance
    tokens: dict[str, set[str]] = field(default_factory=dict)
    """For each token it was given: the held keys to which something was published since."""


class Model:
    """What a store must hold after the calls it was given."""

    def __init__(self, retention: Retention) -> None:
        self.retention = retention
        self.logs: dict[str, Log] = {}
        self.rows: dict[str, Row] = {}
        self.hooks: dict[str, dict[str, int]] = {}

    def join(self, instance: Instance, token: str) -> set[str]:
        """Record it, and return whom it displaces."""
        displaced = {
            other
            for other, row in self.rows.items()
            if instance.url is not None and row.instance.url == instance.url and other != instance.instance_id
        }
        for other in displaced:
            self.leave(other)
        row = self.rows.setdefault(instance.instance_id, Row(instance))
        row.instance = instance
        row.tokens[token] = set()
        return displaced

    def leave(self, instance_id: str) -> None:
        """Remove row and hooks."""
        self.rows.pop(instance_id, None)
        self.hooks.pop(instance_id, None)

    def add_hooks(self, instance_id: str, keys: Sequence[str], number: int) -> None:
        """Keep the largest number."""
        held = self.hooks.setdefault(instance_id, {})
        for key in keys:
            held[key] = max(number, held.get(key, number))

    def remove_hooks(self, instance_id: str, keys: Sequence[str], number: int) -> None:
        """Remove those with a smaller number."""
        held = self.hooks.get(instance_id, {})
        for key in keys:
            if held.get(key, number) < number:
                del held[key]
                for unheard in self.rows[instance_id].tokens.values() if instance_id in self.rows else ():
                    unheard.discard(key)

    def targets(self, key: str) -> set[str]:
        """Return the ids of the instances that hold a key."""
        return {holder for holder in self.rows if key in self.hooks.get(holder, {})}

    def knows(self, publication: Publication) -> tuple[Entry | None, str] | None:
        """Return the entry (None: no longer kept) and the nonce that stand under an id."""
        log = self.logs[publication.key]
        for entry in log.entries:
            if entry.id == publication.id:
                return entry, entry.nonce
        nonces = dict(log.remembered[-self.retention.dedupe_ids :])
        return (None, nonces[publication.id]) if publication.id in nonces else None

    def append(self, publication: Publication) -> Position:
        """Append what is not known."""
        log = self.logs[publication.key]
        log.seq += 1
        log.entries.append(
            Entry(
                log.seq,
                publication.id,
                publication.data,
                publication.sent_at,
                publication.keys,
                publication.nonce,
                publication.mac,
            )
        )
        if publication.remember:
            log.remembered = [one for one in log.remembered if one[0] != publication.id]
            log.remembered.append((publication.id, publication.nonce))
        for holder in self.targets(publication.key):
            for unheard in self.rows[holder].tokens.values():
                unheard.add(publication.key)
        return log.head

    def trim(self, key: str) -> None:
        """Drop from the start what is past `keep`."""
        log = self.logs[key]
        log.entries = log.entries[-self.retention.keep :]
        log.floor = log.seq - len(log.entries)

    def entries_behind(self, key: str, after: Position | None) -> list[Entry]:
        """Return what a read from there must bring, were there no limit."""
        log = self.logs[key]
        known = after is not None and after.epoch == log.epoch and after.seq >= log.floor
        start = after.seq if known and after is not None else log.floor
        return [entry for entry in log.entries if entry.seq > start]
