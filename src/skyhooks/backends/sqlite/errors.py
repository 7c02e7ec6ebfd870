"""SQLite's errors as ours, in one place."""

from __future__ import annotations

import apsw

from ...exceptions import StoreCorrupt, StoreUnavailable

WAIT_SECONDS = 2.5
"""How long an operation waits for others' locks, in all."""

_CORRUPT = (apsw.CorruptError, apsw.NotADBError, apsw.FormatError, apsw.SQLError)
_UNAVAILABLE = {
    apsw.BusyError: f"is locked by another process for more than {WAIT_SECONDS} s; try again",
    apsw.LockedError: "is locked; try again",
    apsw.FullError: "cannot grow: the disk is full; make room and try again",
    apsw.ReadOnlyError: "is read-only; make it and its directory writable",
    apsw.PermissionsError: "may not be used by this user; give it the permission",
    apsw.CantOpenError: "cannot be opened; is its directory there and writable?",
    apsw.IOError: "cannot be read or written",
    apsw.NoMemError: "cannot be used: SQLite has run out of memory",
    apsw.ProtocolError: "cannot be locked; is it on a network file system?",
}


def translate(error: apsw.Error, path: str) -> StoreCorrupt | StoreUnavailable | None:
    """Return what to raise instead; None where the error is a mistake of ours."""
    if isinstance(error, _CORRUPT):
        return StoreCorrupt(f"{path} is damaged or no skyhooks store ({error}); restore a backup, or move it away")
    problem = _UNAVAILABLE.get(type(error))
    return None if problem is None else StoreUnavailable(f"{path} {problem} ({error})")


def gone(path: str) -> StoreUnavailable:
    """Say that there is no file any more, or not the one that was written to."""
    return StoreUnavailable(
        f"{path} is gone or was replaced just now; put it back, or start a process, which makes a new store"
        " (one that had the store open does not), and try again"
    )
