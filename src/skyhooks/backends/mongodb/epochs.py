"""New epochs for all logs, as a restored backup needs them."""

from __future__ import annotations

from .._log import new_epoch
from .database import Database
from .documents import Document

PAGE = 500
"""How many records are written in one operation."""


def renew_some(database: Database, after: str) -> tuple[int, str | None]:
    """Give the logs right behind that key new epochs, and let each holder hear of it at its next heartbeat.

    Return how many, and the last key; None when there was none.
    """
    found = database.keys.find({"_id": {"$gt": after}}, ["epoch"], order="_id", limit=PAGE)
    if not found:
        return 0, None
    renewed = database.keys.update_each([(_same(one), _anew()) for one in found])
    return renewed, found[-1]["_id"]


def _same(record: Document) -> Document:
    return {"_id": record["_id"], "epoch": record["epoch"]}


def _anew() -> Document:
    return {"$set": {"epoch": new_epoch()}, "$currentDate": {"moved": True}}
