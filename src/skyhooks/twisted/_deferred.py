"""Where the core's coroutines and Deferreds meet; a cancellation crosses the border in both directions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, Generic, TypeVar, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from ._reactor import Reactor

T = TypeVar("T")


class Cancelled(BaseException):
    """A Deferred was cancelled, as the core sees it.

    Twisted's `CancelledError` is an `Exception`, and would be taken for a failure wherever the core survives those.
    """


def outside(coroutine: Coroutine[Any, Any, T]) -> Deferred[T]:
    """Run a coroutine of the core for somebody who knows nothing of it; it begins at once."""
    return Deferred.fromCoroutine(_translated(coroutine))


async def inside(deferred: Deferred[T]) -> T:
    """Wait, in the core, for a Deferred."""
    try:
        return await deferred
    except CancelledError as error:
        raise Cancelled from error


async def within(reactor: Reactor, seconds: float, coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine of the core, and stop it when its time is over.

    Raises:
        TimeoutError: it was stopped; without arguments, so that it is told from those of sockets.
    """
    running = outside(coroutine)
    overdue = reactor.callLater(seconds, running.cancel)
    try:
        return await running
    except CancelledError as error:
        if not overdue.active():
            raise TimeoutError from error
        raise Cancelled from error
    finally:
        if overdue.active():
            overdue.cancel()


def adopted(result: Awaitable[Any]) -> Deferred[Any]:
    """Return the Deferred of what a callback has returned; under the asyncio reactor that may be a task as well."""
    if isinstance(result, Deferred):
        return result
    if asyncio.isfuture(result):
        return Deferred.fromFuture(result).addErrback(_as_cancelled)
    return Deferred.fromCoroutine(_awaited(result))


def _as_cancelled(failure: Failure) -> Failure:
    if failure.check(asyncio.CancelledError):
        raise CancelledError from failure.value
    return failure


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result


async def _translated(coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        return await coroutine
    except Cancelled as error:
        told = CancelledError()
        for note in getattr(error, "__notes__", ()):
            told.add_note(note)
        raise told from None


class _Waiter(Deferred[T]):
    """A Deferred whose cancellation need not be handled: it was meant, and nobody is told of it as of a failure."""

    def __del__(self) -> None:
        self.addErrback(_trap_cancellation)


def _trap_cancellation(failure: Failure) -> None:
    failure.trap(CancelledError)


class Shared(Generic[T]):
    """One result that several wait for; each of them may be cancelled without harm to the others."""

    def __init__(self) -> None:
        self._waiting: list[Deferred[T]] = []
        self._result: T | Failure | None = None
        self._there = False

    @property
    def fired(self) -> bool:
        """Whether the result is there."""
        return self._there

    def wait(self) -> Deferred[T]:
        """Wait for it."""
        waiter: Deferred[T] = _Waiter(self._waiting.remove)
        if self._there:
            waiter.callback(cast("T", self._result))
        else:
            self._waiting.append(waiter)
        return waiter

    def fire(self, result: T | Failure) -> None:
        """Give it to all who wait, and to whoever will."""
        self._result, self._there = result, True
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(cast("T", result))
