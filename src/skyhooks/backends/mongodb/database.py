"""A store's collections within one operation, and what they say of themselves: version, retention, the time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from ..._values import Retention
from ...exceptions import StoreCorrupt
from .documents import Document, Documents

if TYPE_CHECKING:
    from pymongo.database import Database as Raw

VERSION = 1
START = datetime.fromtimestamp(0, UTC)

_STORE = "store"
_CLOCK = "clock"


class Database:
    """What one operation works on."""

    __slots__ = ("instances", "keys", "meta", "retention")

    def __init__(self, raw: Raw[Document], deadline: float, retention: Retention) -> None:
        self.keys = Documents(raw["skyhooks.keys"], deadline)
        self.instances = Documents(raw["skyhooks.instances"], deadline)
        self.meta = Documents(raw["skyhooks.meta"], deadline)
        self.retention = retention

    def now(self) -> datetime:
        """Return the server's time. A write, since none of the operations that every server has reads it."""
        clock = self.meta.put(_CLOCK, {"$currentDate": {"now": True}})
        return msgspec.convert(clock["now"], datetime)


class _Version(msgspec.Struct, frozen=True):
    version: int


class _Store(msgspec.Struct, frozen=True):
    retention: dict[str, float]

    def decided(self) -> Retention:
        """Return it as numbers of their kinds: whoever changes one in MongoDB's shell writes a double."""
        numbers = {
            name: int(number) if float(number).is_integer() else number for name, number in self.retention.items()
        }
        return msgspec.convert(numbers, Retention)


def settle(database: Database) -> Retention:
    """Make the collections' indexes and the record of the store where there is none; return its retention.

    Raises:
        StoreCorrupt: it was written by a newer skyhooks.

    """
    found = database.meta.get({"_id": _STORE})
    if found is None:
        _make_indexes(database)
        given = {"version": VERSION, "retention": msgspec.to_builtins(database.retention)}
        found = database.meta.put(_STORE, {"$setOnInsert": given})
    version = msgspec.convert(found, _Version).version
    if version > VERSION:
        raise StoreCorrupt(
            f"the database was written by a newer skyhooks (version {version}, this one knows {VERSION}); upgrade skyhooks"
        )
    return msgspec.convert(found, _Store).decided()


def _make_indexes(database: Database) -> None:
    database.keys.index("holders", "moved")  # what moved for an instance, and what it holds
    database.keys.index("due", sparse=True)  # what reap has to look at
    database.instances.index("url", unique=True, sparse=True)  # of two that join with one URL, the later one stays


def milliseconds(moment: datetime) -> int:
    """Return a server's time as a number, as tokens hold it."""
    return (moment - START) // timedelta(milliseconds=1)


def moment(number: int) -> datetime:
    """Return that time again."""
    return START + timedelta(milliseconds=number)
