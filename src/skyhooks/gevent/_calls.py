"""Calls callbacks in greenlets: in order within a registration, and none waits for another registration's."""

from __future__ import annotations

import inspect
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, cast

import gevent
from gevent import Greenlet

from .._calls import Calls, OnError
from .._notification import Gap, Notification
from .._registration import Registration, Seat
from .._track import Event

log = logging.getLogger("skyhooks")

Queue = deque[Notification | Gap]

REST_SECONDS = 0.005


_Rest = tuple[Iterator[Seat], Notification | Gap | None, bool]
"""Whom to call, with what, and whether more than that one call was due."""


class _Worker(Greenlet):  # type: ignore[type-arg]  # it takes no arguments at run time
    """Who calls; `queue` has what came for its registration since another one has overtaken it."""

    registration: Registration | None = None
    queue: Queue | None = None


class Callings:
    """The outlet of a world in which callbacks may block (PROTOCOL 10).

    One worker at a time goes through what is due, and calls. Before it does, it makes sure of a successor where more is
    due: should the callback block, that one starts, overtakes it, and goes on behind that very call; should it not, the
    successor finds nothing to do. What comes meanwhile for a registration whose callback blocks waits for its worker. So
    a crowd of callbacks that return at once costs two greenlets in all, and each that blocks costs one more.
    """

    def __init__(self, on_error: OnError | None) -> None:
        self.outbox: deque[Event] = deque()
        self.calls = Calls(on_error and self._aside(on_error), self._adopt, is_begun=_is_begun)
        self.running: set[Greenlet[..., Any]] = set()
        """Who calls, and what callbacks have begun."""
        self._rest: _Rest = (iter(()), None, False)
        self._active: _Worker | None = None
        self._next: _Worker | None = None
        self._blocked: dict[Registration, Queue] = {}
        self._afterwards: deque[Callable[[], None]] = deque()

    def dispatch(self) -> None:
        """Have every call that is due started in a later turn of the hub. Never switches."""
        if self.outbox:
            self._ensure_next()

    def afterwards(self, work: Callable[[], None]) -> None:
        """Do this as soon as no call is due: at once, or when somebody is through with them."""
        if self._active is None and not self.outbox:
            work()
        else:
            self._afterwards.append(work)
            self._ensure_next()

    async def emptied(self, seconds: float) -> None:
        """Wait until every call that is due has started, but no longer than this."""
        until = time.monotonic() + seconds
        self._ensure_next()
        gevent.sleep(0)
        while (self._active is not None or any(self._blocked.values())) and time.monotonic() < until:
            self._ensure_next()
            gevent.sleep(REST_SECONDS)

    def disown(self, greenlet: object) -> None:
        """Wait for this one no longer; if it is in a callback, its registration is called no more."""
        self.running.discard(cast("Greenlet[..., Any]", greenlet))
        if isinstance(greenlet, _Worker) and greenlet.registration is not None:
            greenlet.registration.closed = True
            if greenlet.queue is not None:
                greenlet.queue.clear()

    # -- who calls --------------------------------------------------------------------------------

    def _ensure_next(self) -> None:
        if self._next is None or self._next.dead:
            self._next = _Worker(self._work)
            self._next.start()

    def _work(self) -> None:
        me, self._next = cast("_Worker", gevent.getcurrent()), None
        overtaken, self._active = self._active, me
        if overtaken is not None and overtaken.registration is not None:  # it is in a callback, or this would not run
            overtaken.queue = self._blocked[overtaken.registration] = deque()
        self.running.add(me)
        try:
            self._call_rest(me)
            while me.queue is None and self._take():
                self._call_rest(me)
            if me.queue is None:
                self._active = None
            else:
                self._catch_up(me)
        except BaseException:
            self._hand_on(me)
            raise
        finally:
            self.running.discard(me)

    def _take(self) -> bool:
        """Take up what is due next; False: nothing is."""
        while not self.outbox and self._afterwards:
            self._afterwards.popleft()()
        if not self.outbox:
            return False
        seats, count, what = self.outbox.popleft()
        self._rest = islice(seats, count), what, count > 1 or bool(self.outbox)
        return True

    def _call_rest(self, me: _Worker) -> None:
        """Start the calls that are left of what was taken up, until this worker is overtaken in one."""
        due, what, more = self._rest
        invoke, blocked = self.calls.invoke, self._blocked
        for seat in due:
            registration = seat.registration
            if registration.closed or what is None:
                continue
            if registration in blocked:
                blocked[registration].append(what)
                continue
            if more and self._next is None:
                self._ensure_next()
            me.registration = registration
            invoke(registration, what)
            if me.queue is not None:
                return

    def _catch_up(self, worker: _Worker) -> None:
        """Start the calls that have come for a registration while its callback blocked."""
        registration, queue = worker.registration, worker.queue
        if registration is None or queue is None:
            return
        while queue:
            what = queue.popleft()
            if not registration.closed:
                self.calls.invoke(registration, what)
        del self._blocked[registration]

    def _hand_on(self, worker: _Worker) -> None:
        """See to the rest: what was raised is to end the interpreter; should it not, nothing is lost."""
        if worker.queue is not None:
            gevent.spawn(self._catch_up, worker)
        else:
            self._active = None
            self._ensure_next()

    # -- what callbacks begin ---------------------------------------------------------------------

    def _adopt(self, begun: Any, failed: Callable[[BaseException], None]) -> None:
        if not isinstance(begun, Greenlet):
            if inspect.iscoroutine(begun):
                begun.close()
            failed(TypeError(f"a callback returned a {type(begun).__name__}: under gevent give a plain function"))
            return

        def ended(greenlet: Greenlet[..., Any]) -> None:
            self.running.discard(greenlet)
            if greenlet.exception is not None:
                failed(greenlet.exception)

        self.running.add(begun)
        begun.rawlink(ended)

    def _aside(self, on_error: OnError) -> OnError:
        """Have it called in a greenlet of its own: whoever tells of an error has no time to wait."""

        def tell(error: BaseException, notification: Notification | None) -> None:
            gevent.spawn(self._tell, on_error, error, notification)

        return tell

    def _tell(self, on_error: OnError, error: BaseException, notification: Notification | None) -> None:
        try:
            result = on_error(error, notification)
        except Exception:
            log.exception("on_error itself failed")
        else:
            if result is not None and _is_begun(result):
                self._adopt(result, lambda error: log.error("on_error itself failed", exc_info=error))


def _is_begun(result: object) -> bool:
    return isinstance(result, Greenlet) or inspect.isawaitable(result)
