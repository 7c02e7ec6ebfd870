"""A process's connections to one file: one for each operation in flight, none across a fork."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar
from weakref import WeakSet

import apsw

from ..._values import Retention
from ...exceptions import StoreUnavailable
from . import files
from .checkpoints import Checkpointer
from .connection import Connection, connect
from .errors import WAIT_SECONDS, gone, translate
from .files import Identity
from .native import new_lock, sleep

P = ParamSpec("P")
T = TypeVar("T")

FORK_SECONDS = 3.0
"""How long a fork waits for operations in flight."""


class Pools:
    """The pools of one store object, by process: a parent's are left alone."""

    def __init__(self, path: str, retention: Retention) -> None:
        self.path = path
        self._retention = retention
        self._pools: dict[int, Pool] = {}

    @property
    def own(self) -> Pool:
        """This process's pool."""
        pid = os.getpid()
        return self._pools.get(pid) or self._pools.setdefault(pid, Pool(pid, self.path, self._retention))

    def close(self) -> None:
        """Close this process's pool; the next use opens another one."""
        pool = self._pools.pop(os.getpid(), None)
        if pool is not None:
            pool.close()


class Pool:
    """Runs operations in transactions on the file that has the path just then."""

    def __init__(self, pid: int, path: str, retention: Retention) -> None:
        self.pid = pid
        self._path = path
        self._retention = retention
        self._lock = new_lock()
        self._idle: list[Connection] = []
        self._in_flight = 0
        self._forking = False
        self._closed = False
        self._identity: Identity | None = None
        self._siblings: dict[str, Identity] = {}
        self._checkpointer = Checkpointer(self._run)
        with _pools_lock:
            _pools.add(self)

    def read(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function in a transaction that sees one state of the store."""

        def transact(connection: Connection) -> T:
            connection.execute("BEGIN")
            result = function(connection, *args, **kwargs)
            connection.execute("COMMIT")
            return result

        return self._run(transact, WAIT_SECONDS)

    def write(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function in a transaction in which nobody else writes."""

        def transact(connection: Connection) -> T:
            connection.execute("BEGIN IMMEDIATE")
            result = function(connection, *args, **kwargs)
            connection.execute("COMMIT")
            if files.identify(self._path) != connection.identity:
                raise gone(self._path)
            return result

        return self._run(transact, WAIT_SECONDS)

    def close(self) -> None:
        """End the thread and all connections; those in flight are closed when they are done."""
        self._checkpointer.stop()
        with self._lock:
            self._closed = True
        self._close_idle(checkpoint=True)

    def before_fork(self) -> None:
        """Close all connections: SQLite in the child would take the parent's locks for its own."""
        if self.pid != os.getpid():
            return
        with self._lock:
            self._forking = True
        deadline = time.monotonic() + FORK_SECONDS
        while self._in_flight and time.monotonic() < deadline:
            sleep(0.001)
        self._close_idle(checkpoint=False)

    def after_fork(self) -> None:
        """Let operations go on."""
        self._forking = False

    def _run(self, function: Callable[[Connection], T], wait_seconds: float) -> T:
        deadline = time.monotonic() + wait_seconds
        self._enter()
        try:
            return self._use(self._take(deadline), function)
        except apsw.Error as error:
            problem = translate(error, self._path)
            if problem is None:
                raise
            raise problem from error
        finally:
            with self._lock:
                self._in_flight -= 1

    def _use(self, connection: Connection, function: Callable[[Connection], T]) -> T:
        try:
            result = function(connection)
        except BaseException as error:
            self._recover(connection, error)
            raise
        self._give(connection)
        return result

    def _enter(self) -> None:
        while True:
            with self._lock:
                if not self._forking:
                    self._in_flight += 1
                    return
            sleep(0.001)

    def _take(self, deadline: float) -> Connection:
        found = files.identify(self._path)
        if self._identity is not None and found != self._identity:
            self._leave(found, deadline)
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            may_create = (self.pid, self._path) not in _opened
            connection = connect(
                self._path, deadline, self._retention if may_create else None, self._checkpointer.grown
            )
            self._adopt(connection)
        connection.wait_until(deadline)
        return connection

    def _adopt(self, connection: Connection) -> None:
        with self._lock:
            first = (self.pid, self._path) not in _opened
            _opened.add((self.pid, self._path))
            self._identity = connection.identity
            self._siblings = files.siblings(self._path)
        if first:
            files.warn_of_network(self._path)

    def _leave(self, found: Identity | None, deadline: float) -> None:
        """Turn away from a file that has lost its name; if it may come back, with its connections open."""
        if found is None:
            raise gone(self._path)
        if self._idle:
            # Only while one of its connections is open can its inode not have become another file's.
            files.remove_siblings(self._path, self._siblings, deadline)
        with self._lock:
            self._identity = None
        self._close_idle(checkpoint=False)

    def _give(self, connection: Connection) -> None:
        with self._lock:
            current = connection.identity == self._identity
            if current and not self._closed:
                self._idle.append(connection)
                return
        connection.close(checkpoint=current)

    def _recover(self, connection: Connection, error: BaseException) -> None:
        if isinstance(error, (apsw.BusyError, StoreUnavailable)) and not connection.raw.in_transaction:
            self._give(connection)
        else:
            connection.close(checkpoint=False)

    def _close_idle(self, *, checkpoint: bool) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close(checkpoint=checkpoint)


_opened: set[tuple[int, str]] = set()
"""What a process has had open it does not make anew: others may have it open, and would write on to the old one."""
_pools: WeakSet[Pool] = WeakSet()
_pools_lock = new_lock()


def _before_fork() -> None:
    _pools_lock.acquire()
    for pool in _pools:
        pool.before_fork()


def _after_fork() -> None:
    for pool in _pools:
        pool.after_fork()
    _pools_lock.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
