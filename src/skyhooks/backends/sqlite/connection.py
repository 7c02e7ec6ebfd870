"""One connection to a store's file: how it is opened, and how it waits."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import apsw

from ..._values import Retention
from ...exceptions import StoreUnavailable
from . import files, schema
from .errors import gone
from .files import Identity
from .native import sleep

JOURNAL_BYTES = 67_108_864
"""What is left of the write-ahead log once it has been longer."""
CACHE_KIB = 8192

_SHORTEST_WAIT_SECONDS = 0.0002
_LONGEST_WAIT_SECONDS = 0.004


class Connection:
    """An apsw connection, the file it is really of, and the store's retention."""

    __slots__ = ("_patience", "execute", "executemany", "identity", "raw", "retention")

    def __init__(self, raw: apsw.Connection, identity: Identity, patience: Patience) -> None:
        self.raw = raw
        self.execute = raw.execute
        self.executemany = raw.executemany
        self.identity = identity
        self.retention = Retention()
        self._patience = patience

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Execute, and return all rows."""
        return self.execute(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[object] = ()) -> tuple[Any, ...] | None:
        """Execute, and return the only row."""
        return next(iter(self.execute(sql, values).fetchall()), None)

    def value(self, sql: str, values: Sequence[object] = ()) -> Any:
        """Execute, and return the only row's only value; None where there is no row."""
        return self.execute(sql, values).get

    def now(self) -> float:
        """Read the store's clock, in Unix seconds."""
        now: float = self.value("SELECT unixepoch('subsec')")
        return now

    def wait_until(self, deadline: float) -> None:
        """Set by when (monotonic) others must have released their locks."""
        self._patience.deadline = deadline

    def close(self, *, checkpoint: bool) -> None:
        """Close it; `checkpoint=False` leaves the log beside the file as it is, though nobody else has it open."""
        if not checkpoint:
            self.raw.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self.raw.close(True)


class Patience:
    """Waits for others' locks: briefly at first, at random, never past the operation's deadline."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline

    def __call__(self, attempts: int) -> bool:
        left = self.deadline - time.monotonic()
        if left <= 0:
            return False
        longest = min(left, _LONGEST_WAIT_SECONDS, _SHORTEST_WAIT_SECONDS * 2 ** min(attempts, 10))
        sleep(longest * random.uniform(0.5, 1.0))  # noqa: S311 (jitter)
        return True


def connect(path: str, deadline: float, retention: Retention | None, on_commit: Callable[[int], None]) -> Connection:
    """Open a store's file; `retention` makes a store of it where there is none yet, None does not.

    Raises:
        StoreUnavailable: there is nothing to open.
        StoreCorrupt: it is no store.
        apsw.Error: for anything else.

    """
    while True:
        if files.identify(path) is None and retention is not None:
            files.create(path, deadline)
        identity = files.identify(path)
        if identity is None:
            raise gone(path)
        patience = Patience(deadline)
        connection = Connection(apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE), identity, patience)
        try:
            connection.raw.set_busy_handler(patience)
            connection.raw.set_wal_hook(partial(_tell, on_commit))
            if files.identify(path) == identity:
                _prepare(connection, path, retention)
                return connection
        except BaseException:
            connection.close(checkpoint=False)
            raise
        connection.close(checkpoint=False)


def _tell(on_commit: Callable[[int], None], _connection: apsw.Connection, _name: str, pages: int) -> int:
    on_commit(pages)
    return apsw.SQLITE_OK


def _prepare(db: Connection, path: str, retention: Retention | None) -> None:
    if schema.is_new(db, path) and retention is None:
        raise StoreUnavailable(f"{path} is empty; start a process, which makes a store of it")
    boot = files.boot_id()
    if db.value("PRAGMA journal_mode = wal") != "wal":
        raise StoreUnavailable(f"{path} is on a file system without shared memory; use a local disk")
    db.execute(f"PRAGMA synchronous = {'normal' if boot else 'full'}")
    db.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}")
    db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    _bring_up(db, path, retention, boot)
    db.retention = schema.retention(db)


def _bring_up(db: Connection, path: str, retention: Retention | None, boot: str) -> None:
    """Make the tables, and new epochs after a restart of the machine, where another process has not been faster."""
    if not schema.is_new(db, path) and schema.boot(db) == boot:
        return
    db.execute("BEGIN IMMEDIATE")
    if schema.is_new(db, path):
        if retention is not None:
            schema.create(db, retention, boot)
    elif schema.boot(db) != boot:
        schema.renew_epochs(db)
        schema.set_boot(db, boot)
    db.execute("COMMIT")
