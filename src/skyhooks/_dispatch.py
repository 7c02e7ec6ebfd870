"""Hands what tracks have put out to the callbacks, in order, where callbacks cannot switch (PROTOCOL 10)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice

from ._notification import Gap, Notification
from ._registration import Registration
from ._track import Event

Invoke = Callable[[Registration, Notification | Gap], None]
"""Starts one call; what the callback returns or raises is the adapter's affair. Raises only what ends the interpreter."""


class Dispatcher:
    """One outbox, one drainer: a callback that comes back here finds the drainer at work and leaves it to it."""

    def __init__(self, invoke: Invoke) -> None:
        self.outbox: deque[Event] = deque()
        self._invoke = invoke
        self._draining = False
        self._afterwards: deque[Callable[[], None]] = deque()

    def dispatch(self) -> None:
        """Start every call that is due; `closed` is looked at before each."""
        if self._draining:
            return
        self._draining = True
        try:
            self._drain()
            while self._afterwards:
                self._afterwards.popleft()()
                self._drain()
        finally:
            self._draining = False

    def afterwards(self, work: Callable[[], None]) -> None:
        """Do this as soon as no call is under way: at once, or when the drainer is through."""
        if self._draining:
            self._afterwards.append(work)
        else:
            work()

    async def emptied(self, seconds: float) -> None:  # noqa: ARG002 - where callbacks can switch, there is more to it
        """Have every call started that is due: here none is, once `dispatch` has returned."""
        self.dispatch()

    def _drain(self) -> None:
        outbox, invoke = self.outbox, self._invoke
        while outbox:
            seats, count, what = outbox.popleft()
            due = islice(seats, count)
            try:
                for seat in due:
                    registration = seat.registration
                    if not registration.closed:
                        invoke(registration, what)
            except BaseException:
                # The interpreter is to end, or a bug was met: whoever dispatches next goes on behind that call.
                rest = tuple(due)
                outbox.appendleft((rest, len(rest), what))
                raise
