"""Calls callbacks in greenlets: in order within a registration, and none waits for another registration's."""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import gevent
from gevent import Greenlet
from gevent.event import Event

from ._calls import Calls, OnError
from ._dispatch import Dispatcher
from ._notification import Gap, Notification
from ._registration import Registration

log = logging.getLogger("skyhooks")

Queue = deque[Notification | Gap]


class Outlet(Dispatcher):
    """The dispatcher of a world in which calls wait for their turn."""

    def __init__(self, callings: Callings) -> None:
        super().__init__(callings.invoke)
        self._callings = callings

    async def emptied(self, seconds: float) -> None:
        """Wait until every call that is due has started, but no longer than this."""
        self._callings.emptied(seconds)


class Callings:
    """One queue per registration that has calls due, each emptied by one worker at a time (PROTOCOL 10).

    A worker goes from queue to queue. Before it calls, it makes sure of a successor where other queues wait: should the
    callback block, that one starts and goes on with them; should it not, the successor finds nothing to do. So however
    many callbacks return at once cost two greenlets in all, and each that blocks costs one more.
    """

    def __init__(self, on_error: OnError | None) -> None:
        self.calls = Calls(on_error and self._aside(on_error), self._adopt, is_begun=_is_begun)
        self.running: set[Greenlet[..., Any]] = set()
        """Who calls, and what callbacks have begun."""
        self._queues: dict[Registration, Queue] = {}
        self._waiting: deque[Registration] = deque()
        self._due = 0
        self._none_due = Event()
        self._next: Greenlet[..., Any] | None = None
        self._emptying: dict[object, Queue] = {}

    def invoke(self, registration: Registration, what: Notification | Gap) -> None:
        """Have a registration called in a later turn of the hub; a stream is given it at once. Never switches."""
        if registration.read:
            self.calls.invoke(registration, what)
            return
        queue = self._queues.get(registration)
        if queue is None:
            queue = self._queues[registration] = deque()
            self._put(registration)
        queue.append(what)
        self._due += 1

    def emptied(self, seconds: float) -> None:
        """Wait until every call that is due has started, but no longer than this; at least for a turn of the hub."""
        gevent.sleep(0)
        if self._due:
            self._none_due.clear()
            self._none_due.wait(max(0.0, seconds))

    def disown(self, greenlet: object) -> None:
        """Wait for this one no longer; if it calls a callback, it has no further calls to start for its registration."""
        self.running.discard(greenlet)
        queue = self._emptying.get(greenlet)
        if queue:
            self._started(len(queue))
            queue.clear()

    # -- who calls --------------------------------------------------------------------------------

    def _put(self, registration: Registration) -> None:
        self._waiting.append(registration)
        self._ensure_next()

    def _ensure_next(self) -> None:
        if self._next is None or self._next.dead:
            self._next = gevent.spawn(self._work)

    def _work(self) -> None:
        self._next = None
        me = cast("Greenlet[..., Any]", gevent.getcurrent())
        self.running.add(me)
        try:
            while self._waiting:
                registration = self._waiting.popleft()
                if self._waiting:
                    self._ensure_next()
                self._emptying[me] = self._queues[registration]
                self._empty(registration)
        finally:
            self._emptying.pop(me, None)
            self.running.discard(me)

    def _empty(self, registration: Registration) -> None:
        queue = self._queues[registration]
        try:
            while queue:
                what = queue.popleft()
                self._started(1)
                if not registration.closed:
                    self.calls.invoke(registration, what)
        finally:
            if queue:  # what was raised is to end the interpreter; should it not, nothing is lost
                self._put(registration)
            else:
                del self._queues[registration]

    def _started(self, calls: int) -> None:
        self._due -= calls
        if not self._due:
            self._none_due.set()

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
