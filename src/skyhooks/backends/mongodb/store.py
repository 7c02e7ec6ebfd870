"""The MongoDB store: each operation of the contract on the documents of one database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from weakref import finalize

from ..._values import Hook, Instance, Joined, Page, Position, Publication, Published, Reaped, Renewal
from . import epochs, hooks, leases, log, publishing, reaping
from .addresses import address_towards
from .connection import Connections
from .database import Database
from .urls import parse

HOOKS_PAGE = 500
"""How many keys `hooks` reads in one operation."""


class MongoDBStore:
    """A store in one database of a MongoDB deployment, for the processes of many machines.

    `renew_epochs` is no single operation: it goes on until all logs are done, each step bounded.
    """

    cooperative = True
    """It waits only on Python's sockets and locks, so that gevent, once patched, lets others run meanwhile."""

    def __init__(self, url: str) -> None:
        self._connections = Connections(parse(url))
        finalize(self, self._connections.close)

    def join(self, instance: Instance, lease_seconds: float) -> Joined:
        self._connections.doubt()  # whoever joins again may do so because the database was dropped, indexes and all
        return self._connections.run(leases.join, instance, lease_seconds)

    def renew(self, instance_id: str, lease_seconds: float, token: str) -> Renewal:
        return self._connections.run(leases.renew, instance_id, lease_seconds, token)

    def add_hooks(self, instance_id: str, keys: Sequence[str], number: int) -> dict[str, Position]:
        return self._connections.run(hooks.add, instance_id, keys, number)

    def remove_hooks(self, instance_id: str, keys: Sequence[str], number: int) -> None:
        self._connections.run(hooks.remove, instance_id, keys, number)

    def leave(self, instance_id: str) -> None:
        self._connections.run(leases.leave, instance_id)

    def positions(self, keys: Sequence[str]) -> dict[str, Position]:
        return self._connections.run(hooks.positions, keys)

    def targets(self, keys: Sequence[str]) -> dict[str, tuple[Instance, ...]]:
        return self._connections.run(_targets, keys)

    def instances(self) -> list[Instance]:
        return self._connections.run(leases.instances)

    def hooks(self, keys: Sequence[str] | None = None) -> Iterator[Hook]:
        if keys is None:
            return self._all_hooks()
        return iter(self._connections.run(_hooks_on, sorted(set(keys))))

    def read(self, key: str, after: Position | None, limit: int) -> Page | None:
        return self._connections.run(log.read, key, after, limit)

    def publish(self, publications: Sequence[Publication]) -> list[Published]:
        return self._connections.run(publishing.publish, publications)

    def reap(self) -> Reaped:
        return self._connections.run(reaping.reap)

    def renew_epochs(self) -> int:
        renewed, last = self._connections.run(epochs.renew_some, "")
        while last is not None:
            some, last = self._connections.run(epochs.renew_some, last)
            renewed += some
        return renewed

    def close(self) -> None:
        self._connections.close()

    def local_address(self) -> str | None:
        self._connections.run(_reach)
        return address_towards(self._connections.nodes())

    def __repr__(self) -> str:
        return f"MongoDBStore({self._connections.address.shown!r})"

    def _all_hooks(self) -> Iterator[Hook]:
        found, last = self._connections.run(_hooks_after, "")
        while last is not None:
            yield from found
            found, last = self._connections.run(_hooks_after, last)


def _targets(database: Database, keys: Sequence[str]) -> dict[str, tuple[Instance, ...]]:
    held = hooks.holders(database, keys)
    alive = leases.live(database, (holder for holders in held.values() for holder in holders))
    return {key: tuple(alive[holder] for holder in held[key] if holder in alive) for key in keys}


def _hooks_on(database: Database, keys: Sequence[str]) -> list[Hook]:
    return _live_hooks(database, hooks.holders(database, keys))


def _hooks_after(database: Database, key: str) -> tuple[list[Hook], str | None]:
    held = hooks.page(database, key, HOOKS_PAGE)
    return _live_hooks(database, held), max(held, default=None)


def _live_hooks(database: Database, held: dict[str, list[str]]) -> list[Hook]:
    alive = leases.live(database, (holder for holders in held.values() for holder in holders))
    return [Hook(key, holder) for key, holders in held.items() for holder in sorted(holders) if holder in alive]


def _reach(database: Database) -> None:
    """Make one trip, after which the servers are known."""
    database.meta.get({"_id": "store"}, ["_id"])
