"""What brings a worker process's notifications on their way: a notifier of that process's own, and what became of them."""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter, deque
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from .. import blocking
from .._blocking_verbs import BlockingVerbs, Submission
from ..exceptions import SkyhooksError, StoreUnavailable

Notifier = BlockingVerbs
"""`skyhooks.Notifier`, or gevent's where gevent has patched the process."""

log = logging.getLogger("skyhooks")

Keys = Mapping[str, object]
Given = str | Mapping[str, Any] | Callable[[], object] | None
"""What says how a notifier is made: a store's URL, a notifier's options, a function that makes one, or nothing."""

STORE = "the store"
"""The trouble that all tasks share; others are named after the task."""


class Courier:
    """Sends what one process's tasks have to tell. What fails is counted, and logged when the trouble begins."""

    def __init__(self, make: Callable[[], Notifier]) -> None:
        self.counts: Counter[str] = Counter()
        self._make = make
        self._notifier: Notifier | None = None
        self._submitted: deque[Submission] = deque()
        self._troubles: set[str] = set()
        self._lock = Lock()

    def send(self, keys: Keys, data: object, *, id: str | None, wait: bool) -> None:
        """Publish; wait until it is in the log and rung, or let both be done meanwhile.

        Raises:
            SkyhooksError: it was refused, or the store does not answer. Without `wait` that comes out later, and is counted.
        """
        self._look_back()
        notifier = self._opened()
        if wait:
            notifier.notify(keys, data, id=id)
            self._sent()
        else:
            self._submitted.append(notifier.submit(keys, data, id=id, block=False))

    def take_trouble(self, kind: str, trouble: str, what: str, error: Exception) -> None:
        """Count what went wrong, and log it when a trouble begins, not again while it lasts."""
        self.counts[kind] += 1
        if trouble not in self._troubles:
            self._troubles.add(trouble)
            own = (
                None if isinstance(error, SkyhooksError) else error
            )  # the application's: where it was raised is of use
            log.error("%s, said once while it lasts: %s: %s", what, type(error).__name__, error, exc_info=own)

    def end_trouble(self, trouble: str) -> None:
        """Log that a trouble is over, if it was there."""
        if trouble in self._troubles:
            self._troubles.discard(trouble)
            log.warning(
                "the trouble with %s is over; in all %d notifications were not sent", trouble, self.counts["failed"]
            )

    def close(self) -> None:
        """Flush, for five seconds at most, and close."""
        if self._notifier is not None:
            self._notifier.close()
            self._look_back()

    def _opened(self) -> Notifier:
        with self._lock:
            if self._notifier is None:
                self._notifier = self._make()
            return self._notifier

    def _look_back(self) -> None:
        """See what became of what was not waited for."""
        for _ in range(len(self._submitted)):
            try:
                submission = self._submitted.popleft()
            except IndexError:  # another thread looks, too
                return
            if not submission.done:
                self._submitted.append(submission)
                continue
            try:
                submission.result(0)
            except StoreUnavailable as error:
                self.take_trouble("failed", STORE, f"notification {submission.id} could not be sent", error)
            else:
                self._sent()

    def _sent(self) -> None:
        self.counts["sent"] += 1
        self.end_trouble(STORE)


class Couriers:
    """Gives each process a courier of its own, when it first has something to tell: after the fork, whichever pool forks."""

    def __init__(self, given: Given) -> None:
        self._make = maker(given)
        # The parent's are kept, untouched, for as long as the child lives: closing an inherited connection would be felt there.
        self._by_process: dict[int, Courier] = {}

    def get(self) -> Courier:
        """Return this process's."""
        courier = self._by_process.get(os.getpid())
        return courier or self._by_process.setdefault(os.getpid(), Courier(self._make))

    def peek(self) -> Courier | None:
        """Return this process's, if there is one."""
        return self._by_process.get(os.getpid())

    def close(self) -> None:
        """Flush and close this process's."""
        courier = self._by_process.pop(os.getpid(), None)
        if courier is not None:
            courier.close()


def maker(given: Given) -> Callable[[], Notifier]:
    """Say how a process makes its notifier; what can be judged now is judged now.

    Raises:
        TypeError: for a notifier that has been made, here and too early; and for what could not make one.
        ValueError: for options that a notifier does not take.
    """
    if given is None or isinstance(given, str):
        given = {"store": given}
    if isinstance(given, Mapping):
        options = dict(given)
        _class()(**options)  # touches nothing, and refuses what is wrong
        return lambda: _class()(**options)
    if not isinstance(given, type) and hasattr(given, "notify"):
        raise TypeError(
            f"install() was given a {type(given).__name__} that has been made already, in this process; each worker process needs"
            " its own, made after the fork: give the store's URL, a dict of the notifier's options, or a function that makes one"
        )
    if not callable(given):
        raise TypeError(f"notifier= takes a store's URL, a dict of options or a function, not {type(given).__name__}")
    return lambda: _checked(given())


def _class() -> type[Notifier]:
    """Choose by the world of this process: under gevent a blocking notifier's SQLite would stop the hub."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("socket"):
        return blocking.Notifier
    from ..gevent._notifier import Notifier as CooperativeNotifier

    return CooperativeNotifier


def _checked(made: object) -> Notifier:
    if not isinstance(made, Notifier):
        raise TypeError(
            f"install() was given a function that makes a {type(made).__name__}; tasks block, so it is to make a skyhooks.Notifier,"
            " or a skyhooks.gevent.Notifier"
        )
    return made
