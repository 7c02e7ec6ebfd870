"""Greenlets that keep to themselves what they raise: the hub would print it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from gevent import Greenlet, GreenletExit

from .._driver import run

log = logging.getLogger("skyhooks")

T = TypeVar("T")


class Ended(Generic[T]):
    """What a function came to: its value, or what it raised."""

    __slots__ = ("_error", "_value")

    def __init__(self, function: Callable[..., T], *args: object) -> None:
        self._error: BaseException | None = None
        try:
            self._value = function(*args)
        except (KeyboardInterrupt, SystemExit):
            raise  # the hub hands it on to the main greenlet
        except BaseException as error:  # noqa: BLE001  # a GreenletExit, or a Timeout, is whoever asks to see
            self._error = error

    def get(self) -> T:
        """Return the value, or raise what was raised."""
        if self._error is not None:
            raise self._error
        return self._value


class Background(Greenlet):  # type: ignore[type-arg]  # it takes no arguments at run time
    """Runs a coroutine of the core beside its maker; what it raises is logged."""

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        super().__init__()
        self._coroutine = coroutine

    def _run(self) -> None:
        try:
            run(self._coroutine)
        except (GreenletExit, KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            log.exception("a background task failed")

    def cancel(self) -> None:
        """Kill it, without waiting for that; also before it has begun."""
        self.rawlink(_forget)
        self.kill(block=False)


def _forget(greenlet: Background) -> None:
    greenlet._coroutine.close()  # one that never began would be warned of
