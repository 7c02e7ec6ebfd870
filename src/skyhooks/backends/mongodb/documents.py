"""All that the store asks of MongoDB: a few operations on single documents, each repeated while there is time.

That is what every server from 4.4 on can do, and what speaks its protocol: no transactions, no update pipelines, no
change streams.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pymongo import ReturnDocument, UpdateOne
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError

from .errors import is_duplicate, may_pass

PAUSE_SECONDS = 0.05
"""Between two attempts. PyMongo retries at once, and not at all where a deployment has no logical sessions."""

Document = dict[str, Any]
T = TypeVar("T")


class Documents:
    """One collection within one operation of the store. Every update it is given may be carried out twice."""

    __slots__ = ("_collection", "_deadline")

    def __init__(self, collection: Collection[Document], deadline: float) -> None:
        self._collection = collection
        self._deadline = deadline

    def get(self, where: Document, fields: Sequence[str] | Document | None = None) -> Document | None:
        """Return the document that matches."""
        return self._repeat(lambda: self._collection.find_one(where, fields))

    def find(
        self,
        where: Document,
        fields: Sequence[str] | Document | None = None,
        *,
        order: str | None = None,
        limit: int = 0,
    ) -> list[Document]:
        """Return the documents that match."""

        def documents() -> list[Document]:
            cursor = self._collection.find(where, fields, limit=limit)
            return list(cursor if order is None else cursor.sort(order, 1))

        return self._repeat(documents)

    def modify(
        self, where: Document, update: Document, fields: Sequence[str] | None = None, *, upsert: bool = False
    ) -> Document | None:
        """Change the document that matches, or make it, and return it as it then is.

        Raises:
            DuplicateKeyError: a document with this `_id` or unique value is there, and does not match.

        """
        return self._repeat(
            lambda: self._collection.find_one_and_update(
                where, update, fields, upsert=upsert, return_document=ReturnDocument.AFTER
            )
        )

    def put(self, name: str, update: Document) -> Document:
        """Change the document of that `_id`, or make it, and return it as it then is."""
        while True:
            try:
                found = self.modify({"_id": name}, update, upsert=True)
            except DuplicateKeyError:
                continue  # another client made it just now: it matches next time
            if found is not None:
                return found

    def update(self, where: Document, update: Document) -> int:
        """Change the document that matches; return how many did, 0 or 1."""
        return self._repeat(lambda: self._collection.update_one(where, update)).matched_count

    def update_all(self, where: Document, update: Document) -> int:
        """Change each document that matches, one by one; return how many."""
        return self._repeat(lambda: self._collection.update_many(where, update)).modified_count

    def put_all(self, updates: dict[str, Document]) -> None:
        """Change the documents of these `_id`s, or make them, in one trip and no order."""
        waiting = [({"_id": name}, update) for name, update in updates.items()]
        while waiting:
            waiting = [waiting[place] for place in self.offer_all(waiting)]

    def offer_all(self, updates: Sequence[tuple[Document, Document]]) -> list[int]:
        """Change the documents that match, one for each pair, or make them, in one trip and no order.

        Return the places of those that were not, because a document with this `_id` is there and does not match, or was
        made just now.
        """
        requests = [UpdateOne(where, update, upsert=True) for where, update in updates]
        try:
            self._repeat(lambda: self._collection.bulk_write(requests, ordered=False))
        except BulkWriteError as error:
            if not is_duplicate(error):
                raise
            return [one["index"] for one in error.details["writeErrors"]]
        return []

    def update_each(self, updates: Sequence[tuple[Document, Document]]) -> int:
        """Change the documents that match, one for each pair, in one trip and no order; return how many did."""
        requests = [UpdateOne(where, update) for where, update in updates]
        return self._repeat(lambda: self._collection.bulk_write(requests, ordered=False)).matched_count

    def delete(self, where: Document) -> int:
        """Delete the document that matches; return how many did, 0 or 1."""
        return self._repeat(lambda: self._collection.delete_one(where)).deleted_count

    def index(self, *fields: str, unique: bool = False, sparse: bool = False) -> None:
        """Make an index, where it is not there yet."""
        self._repeat(
            lambda: self._collection.create_index([(field, 1) for field in fields], unique=unique, sparse=sparse)
        )

    def _repeat(self, call: Callable[[], T]) -> T:
        while True:
            try:
                return call()
            except PyMongoError as error:
                if not may_pass(error) or time.monotonic() + PAUSE_SECONDS >= self._deadline:
                    raise
            time.sleep(PAUSE_SECONDS)
