"""The documents as they stand in the collections, and the names of their fields.

`skyhooks.keys`, one for each key:

    _id       the key
    epoch     the log's life
    seq       the newest entry's place; `floor`: that of the last trimmed one; entries carry none
    bytes     what the entries count against `keep_bytes`
    log       the entries, oldest first
    known     ids to remember past their entries, oldest first
    at        when, by the server's clock, the appends were made that `log` and `known` name by their marks
    hooks     the number of each instance's hook; `holders`: those instances, in a form that an index can hold
    moved     when something was last published
    touched   when anybody last needed it
    due       reap looks at it `keep_min_seconds` after this; absent where there is nothing to wait for
    tended    when it was last looked at for what is no longer kept; `oldest`: when its first entry was appended

`skyhooks.instances`, one for each id that may hold hooks:

    _id       the instance's id
    details   the Instance as JSON; absent: it has not joined, or its row was removed and its hooks are next
    url       a copy, unique
    beat      when its lease was last extended; `lease_ms`: for how long
    order     grows with each join
    added     when it last added hooks
"""

from __future__ import annotations

import secrets
from datetime import datetime
from functools import lru_cache
from typing import TypeVar

import msgspec

from ..._values import Entry, Instance, Position
from .documents import Document

R = TypeVar("R")


class LogEntry(msgspec.Struct, frozen=True):
    """An entry as `log` holds it; its `seq` is where it stands."""

    i: str
    m: str
    """The mark of the append that brought it: unique within the log, and the name of its time in `at`."""
    z: int
    """What it counts against `keep_bytes`."""
    s: float
    d: bytes
    n: str = ""
    k: tuple[str, ...] = ()
    a: bytes | None = None

    def entry(self, seq: int) -> Entry:
        """Return it as `Store.read` does."""
        return Entry(seq, self.i, self.d, self.s, self.k, self.n, self.a)


class KnownId(msgspec.Struct, frozen=True):
    """An id to remember, the nonce of its call, and the mark of its append."""

    i: str
    n: str
    m: str


class Head(msgspec.Struct, frozen=True):
    """The little of a key's record that most operations need."""

    key: str = msgspec.field(name="_id")
    epoch: str
    seq: int

    @property
    def position(self) -> Position:
        """The position of the newest entry."""
        return Position(self.epoch, self.seq)


def decode(kind: type[R], document: Document) -> R:
    """Check a document against what it should be.

    Raises:
        msgspec.ValidationError: somebody else wrote it.

    """
    return msgspec.convert(document, kind)


def fields_of(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    """Return the names under which the server keeps a struct's fields."""
    return tuple(field.encode_name for field in msgspec.structs.fields(kind))


def new_mark() -> str:
    """Draw the name of an append. It begins with a letter, so that nobody takes it for an array's index."""
    return f"m{secrets.token_hex(8)}"


@lru_cache(maxsize=4096)
def hook_field(instance_id: str) -> str:
    """Return the field of an instance's hook: ids are opaque, and dots and dollars mean something in a field's name."""
    if instance_id.isascii() and instance_id.isalnum():
        return f"hooks.i{instance_id}"
    return f"hooks.x{instance_id.encode().hex()}"


@lru_cache(maxsize=4096)
def decode_instance(details: bytes) -> Instance:
    """Decode a row; cached by its bytes, so that it need not be told of changes."""
    return msgspec.json.decode(details, type=Instance)


class Row(msgspec.Struct, frozen=True):
    """An instance that has joined."""

    details: bytes

    @property
    def instance(self) -> Instance:
        """As it joined."""
        return decode_instance(self.details)


class Beat(msgspec.Struct, frozen=True):
    """When a lease was extended, by the server's clock, and the URL of its instance."""

    beat: datetime
    url: str | None = None
