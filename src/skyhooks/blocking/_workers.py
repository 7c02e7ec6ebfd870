"""Daemon threads for what belongs to no caller: made when needed, kept a while, never in the way of an exit."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

log = logging.getLogger("skyhooks")

MAX_THREADS = 128
IDLE_SECONDS = 10.0


class _Job:
    """Something that was handed to a thread; it ends by itself."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work = work

    def cancel(self) -> None:
        """Let it end by itself: a thread cannot be stopped."""


class Workers:
    """A pool that grows with what there is to do. concurrent.futures joins its threads at exit, these are left.

    Whoever starts a job takes the plain lock, not the condition's: a signal handler that raises could leave that one held,
    since its `__exit__` is Python.
    """

    def __init__(self) -> None:
        self._jobs: deque[_Job] = deque()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._threads = 0
        self._idle = 0
        self._closed = False

    def start(self, work: Callable[[], None]) -> _Job:
        """Do it in a thread, soon; in the caller's own where the system has none left, or Python is shutting down."""
        job = _Job(work)
        with self._lock:
            self._jobs.append(job)
            if self._idle >= len(self._jobs) or self._threads >= MAX_THREADS:
                self._changed.notify()
                return job
            self._threads += 1
        try:
            threading.Thread(target=self._serve, name="skyhooks-sender", daemon=True).start()
        except RuntimeError:
            self._do_here(job)
        return job

    def close(self) -> None:
        """Let idle threads end now, busy ones when they are done."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()

    def _do_here(self, job: _Job) -> None:
        with self._lock:
            self._threads -= 1
            if job not in self._jobs:
                return
            self._jobs.remove(job)
        _do(job)

    def _serve(self) -> None:
        while (job := self._next()) is not None:
            _do(job)

    def _next(self) -> _Job | None:
        with self._lock:
            self._idle += 1
            if not self._jobs and not self._closed:
                self._changed.wait_for(lambda: bool(self._jobs) or self._closed, IDLE_SECONDS)
            self._idle -= 1
            if self._jobs:
                return self._jobs.popleft()
            self._threads -= 1
            return None


def _do(job: _Job) -> None:
    try:
        job.work()
    except Exception:
        log.exception("a background task failed")
