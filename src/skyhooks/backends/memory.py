"""The reference store: one process, nothing kept past it. `memory://name`; the name is shared within the process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import msgspec

from .._values import (
    Hook,
    Instance,
    Joined,
    Page,
    Position,
    Publication,
    Published,
    Reaped,
    Renewal,
    RenewalState,
    Retention,
)
from ._log import Log, new_epoch
from ._retention import refuse_options, take_retention
from ._tokens import make_token, take_token

ORPHAN_SECONDS = 60.0
"""How long hooks wait for their instance to join."""
IDLE_SECONDS = 3600.0


class MemoryStore:
    """A store for one process: for tests, demos and trying out. It lives as long as any store object of its name.

    A forked child starts with an empty one.
    """

    instant = True
    """Its operations wait for nothing: an event loop may call them in place."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._retention, options = take_retention(parts.query)
        refuse_options(options)
        self._name = parts.netloc + parts.path
        self._shared: _Memory | None = None

    def join(self, instance: Instance, lease_seconds: float) -> Joined:
        with self._open() as memory:
            return memory.join(instance, lease_seconds)

    def renew(self, instance_id: str, lease_seconds: float, token: str) -> Renewal:
        with self._open() as memory:
            return memory.renew(instance_id, lease_seconds, token)

    def add_hooks(self, instance_id: str, keys: Sequence[str], number: int) -> dict[str, Position]:
        with self._open() as memory:
            return memory.add_hooks(instance_id, keys, number)

    def remove_hooks(self, instance_id: str, keys: Sequence[str], number: int) -> None:
        with self._open() as memory:
            memory.remove_hooks(instance_id, keys, number)

    def leave(self, instance_id: str) -> None:
        with self._open() as memory:
            memory.leave(instance_id)

    def positions(self, keys: Sequence[str]) -> dict[str, Position]:
        with self._open() as memory:
            return {key: memory.touched(key).head for key in keys}

    def targets(self, keys: Sequence[str]) -> dict[str, tuple[Instance, ...]]:
        with self._open() as memory:
            return memory.targets(keys)

    def instances(self) -> list[Instance]:
        with self._open() as memory:
            return memory.instances()

    def hooks(self, keys: Sequence[str] | None = None) -> Iterator[Hook]:
        with self._open() as memory:
            found = memory.hooks(keys)
        yield from found

    def read(self, key: str, after: Position | None, limit: int) -> Page | None:
        with self._open() as memory:
            log = memory.logs.get(key)
            return None if log is None else log.page(after, limit)

    def publish(self, publications: Sequence[Publication]) -> list[Published]:
        with self._open() as memory:
            return memory.publish(publications)

    def reap(self) -> Reaped:
        with self._open() as memory:
            return memory.reap()

    def renew_epochs(self) -> int:
        with self._open() as memory:
            return memory.renew_epochs()

    def close(self) -> None:
        """Do nothing: what is kept lives as long as this object, or another one of its name."""

    def local_address(self) -> str | None:
        return None

    def _open(self) -> _Memory:
        if self._shared is None or self._shared.pid != os.getpid():
            with _opening:
                self._shared = _memories.setdefault((os.getpid(), self._name), _Memory(self._retention))
        return self._shared


class _Member:
    """An instance id: its row, once it has joined, and its hooks. `moved` holds its moved keys, last moved last."""

    __slots__ = ("added", "expires", "hooks", "instance", "joined", "moved")

    def __init__(self) -> None:
        self.instance: Instance | None = None
        self.joined = 0
        self.expires = 0.0
        self.added = 0.0
        self.hooks: dict[str, int] = {}
        self.moved: dict[str, int] = {}


class _Memory:
    """What all stores of one name share. Its methods run under its lock."""

    def __init__(self, retention: Retention) -> None:
        self.pid = os.getpid()
        self.retention = retention
        self.logs: dict[str, Log] = {}
        self._lock = threading.Lock()
        self._members: dict[str, _Member] = {}
        self._holders: dict[str, dict[str, None]] = {}
        self._moves = 0
        self._joins = 0

    def __enter__(self) -> _Memory:
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def join(self, instance: Instance, lease_seconds: float) -> Joined:
        displaced = [] if instance.url is None else self._others(instance.url, instance.instance_id)
        for other in displaced:
            self.leave(other)
        member = self._members.setdefault(instance.instance_id, _Member())
        if member.instance is None:
            self._joins += 1
            member.joined = self._joins
        member.instance = msgspec.structs.replace(instance, lease_left_seconds=None)
        member.expires = time.monotonic() + lease_seconds
        return Joined(tuple(displaced), make_token(self._moves, instance.url))

    def renew(self, instance_id: str, lease_seconds: float, token: str) -> Renewal:
        told, url = take_token(token)
        member = self._members.get(instance_id)
        if member is None or member.instance is None:
            displaced = bool(url and self._others(url, instance_id))
            return Renewal(RenewalState.DISPLACED if displaced else RenewalState.EXPIRED, {}, "")
        member.expires = time.monotonic() + lease_seconds
        moved = takewhile(lambda item: item[1] > told, reversed(member.moved.items()))
        heads = {key: self.logs[key].head for key, _ in moved}
        return Renewal(RenewalState.ALIVE, heads, make_token(self._moves, member.instance.url))

    def add_hooks(self, instance_id: str, keys: Sequence[str], number: int) -> dict[str, Position]:
        member = self._members.setdefault(instance_id, _Member())
        member.added = time.monotonic()
        for key in keys:
            member.hooks[key] = max(number, member.hooks.get(key, number))
            self._holders.setdefault(key, {})[instance_id] = None
        return {key: self.touched(key).head for key in keys}

    def remove_hooks(self, instance_id: str, keys: Sequence[str], number: int) -> None:
        member = self._members.get(instance_id)
        for key in keys if member else ():
            if member and member.hooks.get(key, number) < number:
                self._remove_hook(instance_id, member, key)

    def leave(self, instance_id: str) -> int:
        """Remove a row with its hooks, and return how many those were."""
        member = self._members.pop(instance_id, _Member())
        keys = list(member.hooks)
        for key in keys:
            self._remove_hook(instance_id, member, key)
        return len(keys)

    def targets(self, keys: Iterable[str]) -> dict[str, tuple[Instance, ...]]:
        now = time.monotonic()
        return {key: tuple(self._live(key, now)) for key in keys}

    def instances(self) -> list[Instance]:
        now = time.monotonic()
        return [
            msgspec.structs.replace(member.instance, lease_left_seconds=member.expires - now)
            for member in sorted(self._members.values(), key=lambda member: member.joined)
            if member.instance and member.expires > now
        ]

    def hooks(self, keys: Sequence[str] | None) -> list[Hook]:
        targets = self.targets(sorted(self._holders if keys is None else set(keys)))
        return [Hook(key, holder) for key in targets for holder in sorted(one.instance_id for one in targets[key])]

    def publish(self, publications: Sequence[Publication]) -> list[Published]:
        now = time.monotonic()
        answers = [self.touched(one.key).append(one, now, self.retention) for one in publications]
        for key in {one.key for one in publications}:
            self.logs[key].trim(now, self.retention, leave=1)
        for one, answer in zip(publications, answers, strict=True):
            if answer.entry is None and answer.position is not None:
                self._move(one.key)
        targets = self.targets({one.key for one in publications})
        return [
            msgspec.structs.replace(answer, targets=targets[one.key])
            for one, answer in zip(publications, answers, strict=True)
        ]

    def reap(self) -> Reaped:
        now = time.monotonic()
        gone = [member for member, row in self._members.items() if row.instance and row.expires <= now]
        orphaned = [
            member for member, row in self._members.items() if not row.instance and row.added <= now - ORPHAN_SECONDS
        ]
        hooks = sum(map(self.leave, gone + orphaned))
        entries = sum(log.trim(now, self.retention, leave=0) for log in self.logs.values())
        idle = [key for key, log in self.logs.items() if self._is_idle(key, log, now)]
        for key in idle:
            del self.logs[key]
        return Reaped(len(gone), hooks, entries, len(idle))

    def renew_epochs(self) -> int:
        for key, log in self.logs.items():
            log.epoch = new_epoch()
            self._move(key)
        return len(self.logs)

    def touched(self, key: str) -> Log:
        """Return a key's log, made where there is none, and keep it from being dropped for a while."""
        now = time.monotonic()
        log = self.logs.get(key)
        if log is None:
            log = self.logs[key] = Log(now)
        log.touched = now
        return log

    def _is_idle(self, key: str, log: Log, now: float) -> bool:
        log.forget(now, self.retention, at_most=self.retention.dedupe_ids)
        idle_seconds = max(IDLE_SECONDS, self.retention.keep_seconds, self.retention.dedupe_seconds)
        return key not in self._holders and log.empty and now - log.touched > idle_seconds

    def _live(self, key: str, now: float) -> Iterator[Instance]:
        for holder in self._holders.get(key, ()):
            member = self._members[holder]
            if member.instance and member.expires > now:
                yield member.instance

    def _move(self, key: str) -> None:
        self._moves += 1
        for holder in self._holders.get(key, ()):
            moved = self._members[holder].moved
            moved.pop(key, None)
            moved[key] = self._moves

    def _remove_hook(self, instance_id: str, member: _Member, key: str) -> None:
        del member.hooks[key]
        member.moved.pop(key, None)
        self.touched(key)
        holders = self._holders[key]
        del holders[instance_id]
        if not holders:
            del self._holders[key]

    def _others(self, url: str, instance_id: str) -> list[str]:
        return [
            other
            for other, member in self._members.items()
            if other != instance_id and member.instance and member.instance.url == url
        ]


_memories: WeakValueDictionary[tuple[int, str], _Memory] = WeakValueDictionary()
_opening = threading.Lock()


def _in_child() -> None:
    """Another thread may have held the lock when the process forked."""
    global _opening
    _opening = threading.Lock()


os.register_at_fork(after_in_child=_in_child)
