"""What the core waits for and what runs beside it, on a reactor: nothing of it goes on amid somebody else's turn."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ._deferred import inside, outside
from ._reactor import Reactor, Turns

log = Logger("skyhooks")


class TwistedFuture:
    """A future of `abc.Future`'s kind; whoever waits goes on in a later turn."""

    __slots__ = ("_arrived", "_reactor", "_turns", "_value", "_waiting")

    def __init__(self, reactor: Reactor, turns: Turns) -> None:
        self._reactor = reactor
        self._turns = turns
        self._arrived = False
        self._value: Any = None
        self._waiting: list[Deferred[None]] = []

    def set(self, value: Any) -> None:
        """Let the value arrive; a second time changes nothing."""
        if self._arrived:
            return
        self._arrived = True
        self._value = value
        if self._waiting:
            self._turns.later(self._wake)

    async def wait(self, timeout_seconds: float | None) -> bool:
        """Wait until the value is there; False when the time ran out first."""
        if self._arrived:
            return True
        waiter: Deferred[None] = Deferred()
        overdue = None
        self._waiting.append(waiter)
        if timeout_seconds is not None:
            overdue = self._reactor.callLater(max(timeout_seconds, 0), waiter.callback, None)
        try:
            await inside(waiter)
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            if overdue is not None and overdue.active():
                overdue.cancel()
        return self._arrived

    @property
    def value(self) -> Any:
        """The value.

        Raises:
            RuntimeError: it has not arrived.
        """
        if not self._arrived:
            raise RuntimeError("the value of this future has not arrived")
        return self._value

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.called:
                waiter.callback(None)


class TwistedTask:
    """Something that runs beside its maker, or that a callback has begun."""

    __slots__ = ("_coroutine", "_deferred", "_forget", "_turns", "ended")

    def __init__(self, turns: Turns, ended: TwistedFuture, forget: Callable[[TwistedTask], object]) -> None:
        self.ended = ended
        self._turns = turns
        self._forget = forget
        self._coroutine: Coroutine[Any, Any, None] | None = None
        self._deferred: Deferred[Any] | None = None

    def begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine, from a later turn on."""
        self._coroutine = coroutine
        self._turns.later(self._start)

    def follow(self, deferred: Deferred[Any], failed: Callable[[BaseException], None]) -> None:
        """Last as long as this Deferred does; what it fails with, unless it is cancelled, goes to `failed`."""

        def fail(failure: Failure) -> None:
            if failure.value is not None and not failure.check(CancelledError):
                failed(failure.value)

        self._deferred = deferred
        deferred.addErrback(fail).addBoth(self._end)

    def cancel(self) -> None:
        """Stop it in a later turn: it may be the one that asks for it."""
        coroutine, self._coroutine = self._coroutine, None
        if coroutine is not None:
            coroutine.close()
            self._end(None)
        else:
            self._turns.later(self._cancel)

    def disown(self) -> None:
        """Have nobody wait for it or cancel it any more; what it fails with is still told."""
        self._end(None)

    def _start(self) -> None:
        coroutine, self._coroutine = self._coroutine, None
        if coroutine is not None:
            self.follow(outside(coroutine), _log_failure)

    def _cancel(self) -> None:
        if self._deferred is not None:
            self._deferred.cancel()

    def _end(self, _: object) -> None:
        self._forget(self)
        self.ended.set(None)


def _log_failure(error: BaseException) -> None:
    log.failure("a background task failed", Failure(error))
