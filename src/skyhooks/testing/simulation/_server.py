"""The store as a model of its contract: what it holds, and its operations as generators that pause where others may come between."""

from __future__ import annotations

import copy
from collections.abc import Generator, Sequence
from typing import Any, cast

from ..._values import (
    Entry,
    Instance,
    Joined,
    Page,
    Position,
    Publication,
    Published,
    Renewal,
    RenewalState,
)
from ...abc import Store
from ...backends._tokens import make_token, take_token
from ...exceptions import StoreUnavailable
from ._scheduler import Scheduler

ORPHAN_SECONDS = 60.0

Steps = Generator[None, None, Any]
Appended = tuple[Position | None, bool, Entry | None]


class Row:
    """An instance as the store has it."""

    __slots__ = ("expires", "instance")

    def __init__(self, instance: Instance, expires: float) -> None:
        self.instance = instance
        self.expires = expires


class StoredHook:
    """A hook: the largest number it was added with, when, and when its key last moved."""

    __slots__ = ("added", "moved", "number")

    def __init__(self, number: int, added: float) -> None:
        self.number = number
        self.added = added
        self.moved = 0


class Record:
    """One key: its log and its hooks."""

    __slots__ = ("entries", "epoch", "floor", "hooks", "ids", "seq")

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.seq = 0
        self.floor = 0
        self.entries: list[Entry] = []
        self.hooks: dict[str, StoredHook] = {}
        self.ids: dict[str, tuple[str, Entry]] = {}

    @property
    def head(self) -> Position:
        """The newest entry's position."""
        return Position(self.epoch, self.seq)


class Server:
    """The database: what many processes share. Its clock is the scheduler's.

    `history` keeps every entry that was ever durable, by key and epoch: the checker's truth.
    """

    majority = True
    """Whether reads see only what no failover can take back."""

    def __init__(self, scheduler: Scheduler, *, keep: int) -> None:
        self._scheduler = scheduler
        self.keep = keep
        self.page_entries = 500
        self.records: dict[str, Record] = {}
        self.rows: dict[str, Row] = {}
        self.history: dict[tuple[str, str], list[Entry]] = {}
        self.lives: dict[str, list[str]] = {}
        self.floors: dict[tuple[str, str], int] = {}
        self.rewound: set[str] = set()
        self.moves = 0
        self.owners: dict[str, str] = {}
        self.unsettled = False
        """Whether what is appended can still be taken back for a while."""
        self.settled: dict[str, int] = {}
        """Up to which seq no failover takes anything back, by epoch; where `unsettled`."""

    def begin(self, operation: str, arguments: tuple[Any, ...]) -> Steps:
        """Begin an operation."""
        steps: Steps = getattr(self, f"_{operation}")(*arguments)
        return steps

    # -- what operators and accidents do ------------------------------------------------------------

    def wipe(self) -> None:
        """Lose everything."""
        self.records.clear()
        self.rows.clear()

    def vanish(self, key: str) -> None:
        """Lose one key's record."""
        self.records.pop(key, None)

    def backup(self) -> tuple[dict[str, Record], dict[str, Row]]:
        """Copy everything."""
        return copy.deepcopy((self.records, self.rows))

    def restore(self, backup: tuple[dict[str, Record], dict[str, Row]]) -> None:
        """Go back to a copy, as it was: the acknowledged history behind it is lost."""
        self.records, self.rows = copy.deepcopy(backup)
        self.rewound.update(record.epoch for record in self.records.values())

    def renew_epochs(self) -> None:
        """Give every log a new epoch."""
        for key, record in self.records.items():
            old = self.history[key, record.epoch]
            record.epoch = self._epoch()
            self.lives[key].append(record.epoch)
            self.history[key, record.epoch] = list(old[: record.seq])
            self.floors[key, record.epoch] = record.floor
            self._move(record)

    def trim(self, key: str, keep: int) -> None:
        """Drop a log's oldest entries."""
        record = self.records.get(key)
        if record is None:
            return
        drop = len(record.entries) - keep
        if drop > 0:
            for entry in record.entries[:drop]:
                record.ids.pop(entry.id, None)
            del record.entries[:drop]
            record.floor += drop
            self.floors[key, record.epoch] = record.floor

    def fail_over(self) -> None:
        """Take back what was appended, read by some perhaps, but never acknowledged (PROTOCOL 15)."""
        for key, record in self.records.items():
            count = self._hidden(record)
            for entry in record.entries[len(record.entries) - count :]:
                record.ids.pop(entry.id, None)
            del record.entries[len(record.entries) - count :]
            record.seq -= count
            del self.history[key, record.epoch][record.seq :]

    # -- looking ------------------------------------------------------------------------------------

    def head(self, key: str) -> Position | None:
        """Return a log's head, if there is a log."""
        record = self.records.get(key)
        return None if record is None else self._seen_head(record)

    def hooked(self, instance_id: str) -> set[str]:
        """Return the keys that have a hook of this id."""
        return {key for key, record in self.records.items() if instance_id in record.hooks}

    # -- the operations ------------------------------------------------------------------------------

    def _join(self, instance: Instance, lease_seconds: float) -> Steps:
        told = self.moves
        self.owners[instance.instance_id] = instance.label
        self.rows[instance.instance_id] = Row(instance, self._scheduler.now + lease_seconds)
        displaced = []
        if instance.url is not None:
            displaced = [
                name
                for name, row in self.rows.items()
                if name != instance.instance_id and row.instance.url == instance.url
            ]
        for name in displaced:
            yield
            yield from self._leave(name)
        return Joined(tuple(displaced), make_token(told, instance.url))

    def _renew(self, instance_id: str, lease_seconds: float, token: str) -> Steps:
        told, url = take_token(token)
        row = self.rows.get(instance_id)
        if row is None:
            displaced = bool(url) and any(other.instance.url == url for other in self.rows.values())
            return Renewal(RenewalState.DISPLACED if displaced else RenewalState.EXPIRED, {}, "")
        row.expires = self._scheduler.now + lease_seconds
        now = self.moves
        yield
        moved = {}
        for key, record in self.records.items():
            hook = record.hooks.get(instance_id)
            if hook is not None and hook.moved > told:
                moved[key] = self._seen_head(record)
        return Renewal(RenewalState.ALIVE, moved, make_token(now, row.instance.url))

    def _add_hooks(self, instance_id: str, keys: Sequence[str], number: int) -> Steps:
        heads = {}
        for index, key in enumerate(keys):
            if index:
                yield
            record = self._record(key)
            hook = record.hooks.get(instance_id)
            if hook is None:
                record.hooks[instance_id] = StoredHook(number, self._scheduler.now)
            else:
                hook.number = max(hook.number, number)
            heads[key] = self._seen_head(record)
        return heads

    def _remove_hooks(self, instance_id: str, keys: Sequence[str], number: int) -> Steps:
        for index, key in enumerate(keys):
            if index:
                yield
            record = self.records.get(key)
            hook = record.hooks.get(instance_id) if record else None
            if record is not None and hook is not None and hook.number < number:
                del record.hooks[instance_id]

    def _leave(self, instance_id: str) -> Steps:
        self.rows.pop(instance_id, None)
        yield
        yield from self._pull(instance_id)

    def _positions(self, keys: Sequence[str]) -> Steps:
        yield from ()
        return {key: self._record(key).head for key in keys}

    def _instances(self) -> Steps:
        yield from ()
        return [row.instance for row in self.rows.values() if row.expires > self._scheduler.now]

    def _targets(self, keys: Sequence[str]) -> Steps:
        yield from ()
        return {key: self._live(key) for key in keys}

    def _read(self, key: str, after: Position | None, limit: int) -> Steps:
        yield from ()
        record = self.records.get(key)
        if record is None:
            return None
        floor = record.seq - len(record.entries)
        start = after.seq - floor if after is not None and after.epoch == record.epoch and after.seq >= floor else 0
        hidden = self._hidden(record) if self.majority else 0
        entries = record.entries[start : min(start + limit, start + self.page_entries, len(record.entries) - hidden)]
        return Page(record.epoch, floor, record.seq - hidden, tuple(entries))

    def _publish(self, publications: Sequence[Publication]) -> Steps:
        answers = []
        for index, publication in enumerate(publications):
            if index:
                yield
            answers.append(self._append(publication))
        yield
        if self.unsettled:
            yield from self._settle(publications, answers)
        return [
            Published(position, () if position is None else self._live(one.key), duplicate, entry)
            for one, (position, duplicate, entry) in zip(publications, answers, strict=True)
        ]

    def _reap(self) -> Steps:
        expired = [name for name, row in self.rows.items() if row.expires <= self._scheduler.now]
        for name in expired:
            row = self.rows.get(name)
            if row is None or row.expires > self._scheduler.now:
                continue
            del self.rows[name]
            yield
            yield from self._pull(name)
        old = self._scheduler.now - ORPHAN_SECONDS
        for record in list(self.records.values()):
            for name, hook in list(record.hooks.items()):
                if name not in self.rows and hook.added <= old:
                    record.hooks.pop(name, None)
        return None

    def _settle(self, publications: Sequence[Publication], answers: Sequence[Appended]) -> Steps:
        """Wait until a majority has it, unless a failover takes it back before."""
        yield
        for one, (position, _, entry) in zip(publications, answers, strict=True):
            if position is None or entry is not None:
                continue
            log = self.history.get((one.key, position.epoch), [])
            if len(log) < position.seq or log[position.seq - 1].nonce != one.nonce:
                raise StoreUnavailable("it was rolled back")
            self.settled[position.epoch] = max(position.seq, self.settled.get(position.epoch, 0))
            record = self.records.get(one.key)
            if record is not None:
                self._move(record)

    # -- inside --------------------------------------------------------------------------------------

    def _epoch(self) -> str:
        return f"{self._scheduler.rng.getrandbits(64):016x}"

    def _record(self, key: str) -> Record:
        record = self.records.get(key)
        if record is None:
            record = self.records[key] = Record(self._epoch())
            self.lives.setdefault(key, []).append(record.epoch)
            self.history[key, record.epoch] = []
            self.floors[key, record.epoch] = 0
        return record

    def _append(self, one: Publication) -> Appended:
        record = self._record(one.key)
        known = record.ids.get(one.id)
        if known is not None:
            nonce, entry = known
            return Position(record.epoch, entry.seq), self._is_duplicate(nonce, one.nonce), entry
        record.seq += 1
        entry = Entry(record.seq, one.id, one.data, one.sent_at, one.keys, one.nonce, one.mac)
        record.entries.append(entry)
        record.ids[one.id] = (one.nonce, entry)
        log = self.history[one.key, record.epoch]
        del log[record.seq - 1 :]
        log.append(entry)
        self._move(record)
        self.trim(one.key, self.keep)
        return record.head, False, None

    def _is_duplicate(self, nonce: str, mine: str) -> bool:
        return nonce != mine

    def _move(self, record: Record) -> None:
        self.moves += 1
        for hook in record.hooks.values():
            hook.moved = self.moves

    def _seen_head(self, record: Record) -> Position:
        return Position(record.epoch, record.seq - (self._hidden(record) if self.majority else 0))

    def _hidden(self, record: Record) -> int:
        return record.seq - self.settled.get(record.epoch, 0) if self.unsettled else 0

    def _live(self, key: str) -> tuple[Instance, ...]:
        record = self.records.get(key)
        now = self._scheduler.now
        rows = [self.rows.get(name) for name in (record.hooks if record else ())]
        return tuple(row.instance for row in rows if row is not None and row.expires > now)

    def _pull(self, instance_id: str) -> Steps:
        for record in list(self.records.values()):
            if record.hooks.pop(instance_id, None) is not None:
                yield


class ServerStore:
    """What the core takes for a `Store`: it names operations, and the simulated runtime carries the names to the server."""

    join = "join"
    renew = "renew"
    add_hooks = "add_hooks"
    remove_hooks = "remove_hooks"
    leave = "leave"
    positions = "positions"
    targets = "targets"
    instances = "instances"
    read = "read"
    publish = "publish"
    reap = "reap"


STORE = cast(Store, ServerStore())
