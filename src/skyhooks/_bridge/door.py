"""Lets so many clients in at a time: a crowd that comes at once is not to time out in its own queue. Async, names no loop."""

from __future__ import annotations

from collections import deque

from .._hooks import MAX_KEYS_PER_TRIP
from ..abc import Future, Runtime
from ..exceptions import StoreUnavailable

MAX_OPENING = 2 * MAX_KEYS_PER_TRIP
"""How many feeds may be opening: so many go with the transaction that is under way, and as many are ready for the next."""


class Door:
    """Where clients wait until the store has room for them.

    Whoever is let in has the 3 s that the store may take, and no part of them is spent waiting for others. Where the store
    is away, whoever waits is told so together with those who have tried.
    """

    __slots__ = ("_opening", "_runtime", "_waiting")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._opening = 0
        self._waiting: deque[Future[bool]] = deque()

    async def enter(self) -> None:
        """Wait to be let in; then `leave` is due.

        Raises:
            StoreUnavailable: so those were told who went in before.
        """
        if self._opening < MAX_OPENING:
            self._opening += 1
            return
        turn: Future[bool] = self._runtime.future()
        self._waiting.append(turn)
        try:
            await turn.wait(None)
        except BaseException:
            self._give_back(turn)
            raise
        if not turn.value:
            raise StoreUnavailable("the store is away; try again")

    def leave(self) -> None:
        """Make room for the next."""
        if self._waiting:
            self._waiting.popleft().set(True)
        else:
            self._opening -= 1

    def refuse(self) -> None:
        """Send everybody home who waits."""
        while self._waiting:
            self._waiting.popleft().set(False)

    def _give_back(self, turn: Future[bool]) -> None:
        """Do without a turn whose client has gone, be it that it waits still or was let in just now."""
        if turn in self._waiting:
            self._waiting.remove(turn)
        elif turn.value:
            self.leave()
