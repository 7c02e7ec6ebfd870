"""The store's file as the file system sees it. Nothing here opens an existing one.

To open and close a database file beside SQLite in one process drops the locks that SQLite holds on it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import mkstemp
from typing import NamedTuple

from ...exceptions import StoreUnavailable
from .native import sleep

log = logging.getLogger(__name__)

_NETWORK_SYSTEMS = {"9p", "afs", "ceph", "cifs", "fuse.sshfs", "glusterfs", "lustre", "nfs", "nfs4", "smb3", "smbfs"}
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_MOUNTS = "/proc/mounts"


class Identity(NamedTuple):
    """Which file it is, whatever its name."""

    device: int
    inode: int


def identify(path: str) -> Identity | None:
    """Say which file has that name; None: there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be reached: {error.strerror}") from error
    return Identity(found.st_dev, found.st_ino)


def create(path: str, deadline: float) -> None:
    """Put an empty file there, readable to its owner alone, unless there is one already.

    SQLite would make it by the umask, and its log and index take their mode from it.
    """
    with _directory_locked(path, deadline):
        if not os.path.lexists(path):
            # A log that a removed database left behind would be taken for the new one's.
            for name in siblings(path):
                os.unlink(name)
            _link_new(path)


def siblings(path: str) -> dict[str, Identity]:
    """Say which files SQLite keeps beside that one."""
    real = os.path.realpath(path)
    found = {name: identify(name) for name in (f"{real}-wal", f"{real}-shm")}
    return {name: identity for name, identity in found.items() if identity}


def remove_siblings(path: str, known: dict[str, Identity], deadline: float) -> None:
    """Remove what belonged to a database that is no longer beside it, where it is still the same."""
    with _directory_locked(path, deadline):
        for name, identity in siblings(path).items():
            if known.get(name) == identity:
                os.unlink(name)


def boot_id() -> str:
    """Name the time since the machine was started, or return "" where the system has no name for it."""
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def warn_of_network(path: str) -> None:
    """Log a warning if the file is on a network file system, where SQLite's locks and shared memory do not work."""
    system = _file_system(os.path.realpath(path))
    if system in _NETWORK_SYSTEMS:
        log.warning("%s is on a network file system (%s): SQLite loses data there; use a local disk", path, system)


@contextmanager
def _directory_locked(path: str, deadline: float) -> Iterator[None]:
    """Keep other processes from making or removing these files; SQLite itself does not ask for this lock."""
    parent = os.path.dirname(path)
    try:
        directory = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise StoreUnavailable(f"{parent}: {error.strerror}; make that directory, or name another file") from error
    try:
        _lock(directory, parent, deadline)
        yield
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be made: {error.strerror}") from error
    finally:
        os.close(directory)


def _lock(directory: int, parent: str, deadline: float) -> None:
    while True:
        try:
            return fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"{parent} is locked by another process; try again") from error
            sleep(0.005)


def _link_new(path: str) -> None:
    handle, temporary = mkstemp(prefix=f".{os.path.basename(path)}.", dir=os.path.dirname(path))
    os.close(handle)
    try:
        os.link(temporary, path)
    finally:
        os.unlink(temporary)


def _file_system(path: str) -> str:
    try:
        with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
            mounts = [line.split(" ") for line in file]
    except OSError:
        return ""
    below = [(len(point), kind) for _, point, kind, *_ in mounts if f"{path}/".startswith(f"{point.rstrip('/')}/")]
    return max(below, default=(0, ""))[1]
