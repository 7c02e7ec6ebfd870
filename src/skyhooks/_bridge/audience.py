"""What the clients of one bridge have together: the one timer that breaks their silences. Names no loop."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from typing import Generic, Protocol, TypeVar

C = TypeVar("C")


class Timer(Protocol):
    """What is to be done later, and may be called off until then."""

    def cancel(self) -> object: ...


class Audience(Generic[C]):
    """Clients in the order in which they were last told something, so that one timer does for all."""

    def __init__(
        self,
        now: Callable[[], float],
        later: Callable[[float, Callable[[], None]], Timer],
        seconds: float,
        break_silence: Callable[[C], None],
    ) -> None:
        self._now = now
        self._later = later
        self._seconds = seconds
        self._break_silence = break_silence
        self._told: dict[C, float] = {}
        self._timer: Timer | None = None

    def told(self, client: C) -> None:
        """Know that a client was told something just now."""
        self._told.pop(client, None)
        self._told[client] = self._now()
        if self._timer is None:
            self._keep_time()

    def leave(self, client: C) -> None:
        """Forget a client; twice is fine. Without any, there is no timer."""
        self._told.pop(client, None)
        if not self._told and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _keep_time(self) -> None:
        if self._timer is None and self._told:
            due = next(iter(self._told.values())) + self._seconds
            self._timer = self._later(max(due - self._now(), 0), self._tick)

    def _tick(self) -> None:
        """Break each silence that has lasted for so many seconds."""
        self._timer = None
        now = self._now()
        for client, _ in list(takewhile(lambda one: one[1] + self._seconds <= now, self._told.items())):
            del self._told[client]
            self._told[client] = now
            self._break_silence(client)
        self._keep_time()
