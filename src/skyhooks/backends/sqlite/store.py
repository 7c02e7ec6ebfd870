"""The SQLite store: each operation of the contract as a transaction."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from urllib.parse import unquote, urlsplit
from weakref import finalize

from ..._values import Hook, Instance, Joined, Page, Position, Publication, Published, Reaped, Renewal, Retention
from .._retention import refuse_options, take_retention
from . import hooks, leases, log, publishing, reaping, records, schema
from .pool import Pools

REAP_SECONDS = 1.5
"""How long one call of `reap` goes on."""


class SQLiteStore:
    """A store in one file, for the processes of one machine."""

    def __init__(self, url: str) -> None:
        path, retention = parse(url)
        self._pools = Pools(path, retention)
        finalize(self, self._pools.close)

    def join(self, instance: Instance, lease_seconds: float) -> Joined:
        return self._pools.own.write(leases.join, instance, lease_seconds)

    def renew(self, instance_id: str, lease_seconds: float, token: str) -> Renewal:
        return self._pools.own.write(leases.renew, instance_id, lease_seconds, token)

    def add_hooks(self, instance_id: str, keys: Sequence[str], number: int) -> dict[str, Position]:
        pool = self._pools.own
        standing = pool.read(hooks.standing, instance_id, keys, number)
        return standing if standing is not None else pool.write(hooks.add, instance_id, keys, number)

    def remove_hooks(self, instance_id: str, keys: Sequence[str], number: int) -> None:
        self._pools.own.write(hooks.remove, instance_id, keys, number)

    def leave(self, instance_id: str) -> None:
        self._pools.own.write(leases.leave, instance_id)

    def positions(self, keys: Sequence[str]) -> dict[str, Position]:
        pool = self._pools.own
        heads = pool.read(records.heads, keys)
        return heads if heads is not None else pool.write(records.open_keys, keys)

    def targets(self, keys: Sequence[str]) -> dict[str, tuple[Instance, ...]]:
        return self._pools.own.read(hooks.targets, keys)

    def instances(self) -> list[Instance]:
        return self._pools.own.read(leases.instances)

    def hooks(self, keys: Sequence[str] | None = None) -> Iterator[Hook]:
        if keys is not None:
            targets = self.targets(sorted(set(keys)))
            return (Hook(key, holder) for key in targets for holder in sorted(one.instance_id for one in targets[key]))
        return self._all_hooks()

    def read(self, key: str, after: Position | None, limit: int) -> Page | None:
        return self._pools.own.read(log.read, key, after, limit)

    def publish(self, publications: Sequence[Publication]) -> list[Published]:
        return self._pools.own.write(publishing.publish, publications)

    def reap(self) -> Reaped:
        pool = self._pools.own
        deadline = time.monotonic() + REAP_SECONDS
        reaped = Reaped()
        while time.monotonic() < deadline and pool.read(reaping.is_due):
            some = pool.write(reaping.reap)
            reaped = Reaped(
                reaped.instances + some.instances,
                reaped.hooks + some.hooks,
                reaped.entries + some.entries,
                reaped.keys + some.keys,
            )
        return reaped

    def renew_epochs(self) -> int:
        return self._pools.own.write(schema.renew_epochs)

    def close(self) -> None:
        self._pools.close()

    def local_address(self) -> str | None:
        return None

    def __repr__(self) -> str:
        return f"SQLiteStore({self._pools.path!r})"

    def _all_hooks(self) -> Iterator[Hook]:
        last = Hook("", "")
        while page := self._pools.own.read(hooks.page, last):
            yield from page
            last = page[-1]


def parse(url: str) -> tuple[str, Retention]:
    """Return the absolute path and the retention that a URL names.

    Raises:
        ValueError: with what is wrong and what would be right.

    """
    parts = urlsplit(url)
    if parts.netloc or not parts.path.startswith("/"):
        raise ValueError(
            "write sqlite:///name.db for a file in the working directory, sqlite:////path/name.db for another"
        )
    if parts.fragment:
        raise ValueError("a # in a file's name is written %23 in a store's URL")
    path = unquote(parts.path[1:])
    if path in ("", ":memory:"):
        raise ValueError("SQLite in memory cannot be shared; use memory:// for a store within one process")
    if "\0" in path or path.endswith("/"):
        raise ValueError("a store's URL names a file; sqlite:///name.db is one in the working directory")
    retention, options = take_retention(parts.query)
    refuse_options(options)
    return os.path.abspath(path), retention
