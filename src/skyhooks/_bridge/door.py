"""Lets so many clients in at a time: a crowd that comes at once is not to time out in its own queue. Async, names no loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from .._hooks import MAX_KEYS_PER_TRIP
from ..abc import Future, Runtime
from ..exceptions import StoreUnavailable

MAX_INSIDE = 2 * MAX_KEYS_PER_TRIP
"""How many clients may be registering: so many go with the transaction under way, and as many are ready for the next."""
TRIES = 3

T = TypeVar("T")


class Door:
    """Where clients wait until the store has room for them.

    Whoever is let in has the 3 s that the store may take, and no part of them is spent waiting for others. They may run out
    all the same where the loop is too busy with the crowd to notice that the store has answered: where it has answered others
    meanwhile, which `answers` counts, it is tried again. Else the store is away, and whoever waits is told so together with
    those who have tried.
    """

    __slots__ = ("_answers", "_inside", "_runtime", "_waiting")

    def __init__(self, runtime: Runtime, answers: Callable[[], int]) -> None:
        self._runtime = runtime
        self._answers = answers
        self._inside = 0
        self._waiting: deque[Future[bool]] = deque()

    async def through(self, step: Callable[[], Awaitable[T]]) -> T:
        """Wait to be let in, and do this.

        Raises:
            StoreUnavailable: here, or so those were told who went in before; and whatever else `step` raises.
        """
        await self._enter()
        try:
            return await self._try(step)
        finally:
            self._leave()

    async def _try(self, step: Callable[[], Awaitable[T]]) -> T:
        tries = 0
        while True:
            answers = self._answers()
            try:
                return await step()
            except StoreUnavailable:
                tries += 1
                if answers == self._answers():
                    self._refuse()
                    raise
                if tries == TRIES:
                    raise

    async def _enter(self) -> None:
        if self._inside < MAX_INSIDE:
            self._inside += 1
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

    def _leave(self) -> None:
        if self._waiting:
            self._waiting.popleft().set(True)
        else:
            self._inside -= 1

    def _refuse(self) -> None:
        while self._waiting:
            self._waiting.popleft().set(False)

    def _give_back(self, turn: Future[bool]) -> None:
        """Do without a turn whose client has gone, be it that it waits still or was let in just now."""
        if turn in self._waiting:
            self._waiting.remove(turn)
        elif turn.value:
            self._leave()
