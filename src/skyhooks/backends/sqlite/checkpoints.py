"""Moves the write-ahead log into the database, on a native thread: a publish never waits for the disk."""

from __future__ import annotations

import logging
from collections.abc import Callable

import apsw

from ...exceptions import SkyhooksError
from .connection import Connection
from .native import current_thread, new_lock, new_signal, start_thread

log = logging.getLogger(__name__)

PASSIVE_PAGES = 1000
"""How many new pages in the log are worth a checkpoint: 4 MiB."""
RESTART_PAGES = 16_000
"""From here on writers are held up for a moment, or a log that is always written to would grow for ever."""

_WAIT_SECONDS = 0.1


class Checkpointer:
    """Waits to be told by commits how long the log is. The thread is started by the first that is worth it."""

    def __init__(self, run: Callable[[Callable[[Connection], None], float], None]) -> None:
        self._run = run
        self._pages = 0
        self._done = 0
        self._started = False
        self._stopped = False
        self._lock = new_lock()
        self._wake = new_signal()
        self._wake.acquire()
        self._ended = new_signal()
        self._thread = 0

    def grown(self, pages: int) -> None:
        """Hear of a commit after which the log has that many pages."""
        self._pages = pages
        if pages < self._done:
            self._done = 0
        if pages - self._done >= PASSIVE_PAGES:
            self._signal()

    def stop(self) -> None:
        """End the thread, and wait until it has."""
        self._stopped = True
        with self._lock:
            started, self._started = self._started, True
        if started:
            self._signal()
            if self._thread != current_thread():  # a garbage collection may run there
                self._ended.acquire()

    def _signal(self) -> None:
        with self._lock:
            if not self._started:
                self._started = True
                self._ended.acquire()
                start_thread(self._work)
            if self._wake.locked():
                self._wake.release()

    def _work(self) -> None:
        self._thread = current_thread()
        try:
            while True:
                self._wake.acquire()
                if self._stopped:
                    return
                self._checkpoint()
        finally:
            self._ended.release()

    def _checkpoint(self) -> None:
        self._done = self._pages
        try:
            self._run(_move, _WAIT_SECONDS)
        except (SkyhooksError, apsw.Error) as error:
            log.warning("a checkpoint failed; the next one tries again: %s", error)


def _move(connection: Connection) -> None:
    try:
        pages, _ = connection.raw.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        if pages >= RESTART_PAGES:
            connection.raw.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
    except apsw.BusyError:
        log.debug("another process is at a checkpoint, or reads on: the next one tries again")
