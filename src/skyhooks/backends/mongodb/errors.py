"""PyMongo's errors as ours, in one place; no message holds credentials."""

from __future__ import annotations

import msgspec
from bson.errors import BSONError
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    CursorNotFound,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
)
from pymongo.ssl_support import PYSSLError

from ...exceptions import StoreCorrupt, StoreUnavailable

WAIT_SECONDS = 2.5
"""How long an operation takes at most, looking for a primary included."""
DUPLICATE = 11000

_LOCAL = (OSError, PYSSLError)
"""What a certificate's file may bring: PyMongo uses PyOpenSSL where it is installed."""
RAISED = (PyMongoError, msgspec.DecodeError, *_LOCAL)
"""All that an operation may raise by others' fault."""

_NOT_ALLOWED = {13, 18, 8000}
_TOO_LARGE = {10334, 17280, 17419}


def may_pass(error: PyMongoError) -> bool:
    """Tell whether the same operation may succeed in a moment: each one here may be repeated."""
    if isinstance(error, (AutoReconnect, CursorNotFound)):
        return True
    return error.has_error_label("RetryableWriteError")


def is_duplicate(error: BulkWriteError) -> bool:
    """Tell whether writes failed only because a document with their `_id` is there, and no majority was missed."""
    if error.details.get("writeConcernErrors"):
        return False
    problems = error.details.get("writeErrors", [])
    return bool(problems) and all(one.get("code") == DUPLICATE for one in problems)


def translate(error: Exception, shown: str) -> StoreCorrupt | StoreUnavailable | None:
    """Return what to raise instead; None where the error is a mistake of ours."""
    if isinstance(error, msgspec.DecodeError):
        return StoreCorrupt(f"{shown} holds a record that skyhooks did not write ({error}); name another database")
    if isinstance(error, BSONError):
        return None
    if isinstance(error, OperationFailure) and error.code in _NOT_ALLOWED:
        return StoreUnavailable(f"{shown} refuses this user; give it readWrite on that database (code {error.code})")
    if isinstance(error, OperationFailure) and error.code in _TOO_LARGE:
        return StoreUnavailable(f"{shown} has no room left in one key's document; lower keep_bytes or dedupe_ids")
    if isinstance(error, (ConfigurationError, *_LOCAL)):
        return StoreUnavailable(f"{shown} cannot be opened: {error}")
    if isinstance(error, InvalidOperation):
        return StoreUnavailable(f"{shown} was closed meanwhile; try again")
    if isinstance(error, ConnectionFailure) or getattr(error, "timeout", False):
        return StoreUnavailable(f"{shown} did not answer within {WAIT_SECONDS} s ({_brief(error)}); try again")
    return StoreUnavailable(f"{shown} refused an operation ({_brief(error)})")


def _brief(error: Exception) -> str:
    """Keep the first line's beginning: PyMongo appends whole topologies and answers."""
    text = str(error).partition("\n")[0]
    for appended in (", full error:", ", Timeout:", " (configured timeouts:"):
        text = text.partition(appended)[0]
    return text if len(text) <= 300 else f"{text[:299]}…"
