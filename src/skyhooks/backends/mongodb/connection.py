"""A process's client, none across a fork, and how each operation is bounded and its errors told."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import pymongo
from bson.codec_options import CodecOptions
from pymongo import MongoClient, ReadPreference
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from .database import Database, settle
from .documents import Document
from .errors import RAISED, WAIT_SECONDS, translate
from .urls import Address

RETENTION_SECONDS = 60.0
"""How long a process believes what it read of the store's retention: the store may be dropped and made anew."""

# At DEBUG PyMongo logs every command with its documents, and they hold payloads and instances' keys. Who wants that says
# so of this very logger, not of the root.
_commands = logging.getLogger("pymongo.command")
if _commands.level == logging.NOTSET:
    _commands.setLevel(logging.INFO)

P = ParamSpec("P")
T = TypeVar("T")


class Connections:
    """The connections of one store object, by process: a parent's are left alone."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._connections: dict[int, _Connection] = {}

    def run(self, function: Callable[Concatenate[Database, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function with the database; it ends within `WAIT_SECONDS`.

        Raises:
            StoreUnavailable, StoreCorrupt: as `Store` says.

        """
        deadline = time.monotonic() + WAIT_SECONDS
        try:
            with pymongo.timeout(WAIT_SECONDS):
                return function(self._own.database(deadline), *args, **kwargs)
        except RAISED as error:
            problem = translate(error, self.address.shown)
            if problem is None:
                raise
            raise problem from error

    def doubt(self) -> None:
        """Let the next operation look again whether the store is made, and how."""
        connection = self._connections.get(os.getpid())
        if connection is not None:
            connection.settled = float("-inf")

    def nodes(self) -> list[tuple[str, int | None]]:
        """Return the servers that are known by now; for a local socket, its path and None."""
        return sorted(self._own.client.nodes, key=str)

    def close(self) -> None:
        """Close this process's connection; the next use opens another one."""
        connection = self._connections.pop(os.getpid(), None)
        if connection is not None:
            connection.client.close()

    @property
    def _own(self) -> _Connection:
        # No lock, since one that another thread held at a fork would stay held; a client costs nothing until it is used.
        pid = os.getpid()
        return self._connections.get(pid) or self._connections.setdefault(pid, _Connection(self.address))


class _Connection:
    def __init__(self, address: Address) -> None:
        self.client: MongoClient[Document] = MongoClient(address.uri, connect=False)
        # Whatever the URI says of reading and writing: the store's promises rest on these (PROTOCOL 15). `j`, because a
        # server on its own acknowledges a majority of one before its journal is on disk.
        self._raw = self.client.get_database(
            address.database,
            codec_options=CodecOptions(tz_aware=True),
            read_preference=ReadPreference.PRIMARY,
            write_concern=WriteConcern("majority", j=True),
            read_concern=ReadConcern("majority"),
        )
        self._given = self._retention = address.retention
        self.settled = float("-inf")

    def database(self, deadline: float) -> Database:
        """Return what an operation works on, settled."""
        if deadline > self.settled + RETENTION_SECONDS:
            self._retention = settle(Database(self._raw, deadline, self._given))
            self.settled = deadline
        return Database(self._raw, deadline, self._retention)
