"""What has been submitted and has no receipt yet: bounded in bytes, and waited for by `flush`."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from threading import Lock

from ._sending import Sending
from .abc import Future, Runtime
from .exceptions import QueueFull

log = logging.getLogger("skyhooks")


class Backlog:
    """Counts what is submitted in and out again."""

    def __init__(self, runtime: Runtime, max_bytes: int, counts: Counter[str]) -> None:
        self._runtime = runtime
        self._max_bytes = max_bytes
        self._counts = counts
        self._lock = Lock()
        self._sendings: dict[int, Sending] = {}
        self._bytes = 0
        self._room: list[Future[None]] = []

    async def admit(self, sending: Sending, *, block: bool) -> None:
        """Take a sending in, when there is room for it; one alone always has room.

        Raises:
            QueueFull: there is none, and `block` is false.
        """
        sending.on_done = self._discharge
        while not self._take_in(sending):
            if not block:
                raise QueueFull(self._max_bytes)
            await self._wait_for_room(sending)

    async def flush(self, timeout_seconds: float) -> bool:
        """Wait until all that is in here now is done; False when the time ran out first."""
        deadline = self._runtime.now() + timeout_seconds
        for sending in list(self._sendings.copy().values()):
            if not await sending.wait(deadline - self._runtime.now()):
                return False
        return True

    def _take_in(self, sending: Sending) -> bool:
        with self._lock:
            if not self._fits(sending):
                return False
            self._bytes += sending.size
        self._sendings[id(sending)] = sending
        return True

    def _fits(self, sending: Sending) -> bool:
        return not self._bytes or self._bytes + sending.size <= self._max_bytes

    async def _wait_for_room(self, sending: Sending) -> None:
        room: Future[None] = self._runtime.future()
        with self._lock:
            if self._fits(sending):
                return
            self._room.append(room)
        await room.wait(None)

    def _discharge(self, sendings: Sequence[Sending]) -> None:
        freed = sum([sending.size for sending in sendings if self._sendings.pop(id(sending), None) is not None])
        with self._lock:
            self._bytes -= freed
            room, self._room = self._room, []
        for waiter in room:
            waiter.set(None)
        for sending in sendings:
            if sending.error is not None:
                self._counts["submit_failed"] += 1
                log.error("a submitted notification was not published: %s", sending.error)
