"""Lanes: a queue with one trip in flight; what piles up meanwhile goes with the next trip."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from threading import Lock
from typing import Generic, TypeVar

from .abc import Runtime

Item = TypeVar("Item")


class Lane(Generic[Item]):
    """Carries items in order, at once when idle, in bounded batches when not.

    `trip` takes the items of one batch and settles each of them. Whoever puts the first item makes the first trip
    himself, with his own items only, so that his cancellation harms nobody else; what piled up behind him is carried
    by a drainer that belongs to no caller (PROTOCOL 24). What a trip raises is its leader's to see, be it an error of
    ours or what a signal handler has raised in him; a drainer gives it to `failed`, with the items. In worlds of
    threads any of them may put; the lock guards the queue and is never held over a trip.

    A signal handler may raise anywhere, also amid handing the lane on. So the lane remembers who leads, by the item
    that he put; he may release it as often as he likes, and only a drainer that takes over from him ends his lead.
    """

    __slots__ = ("_failed", "_leader", "_lock", "_max_bytes", "_max_items", "_queue", "_runtime", "_size", "_trip")

    def __init__(
        self,
        runtime: Runtime,
        trip: Callable[[Sequence[Item]], Awaitable[None]],
        *,
        max_items: int,
        max_bytes: int = 0,
        size: Callable[[Item], tuple[int, int]] = lambda _: (1, 0),
        failed: Callable[[Sequence[Item], Exception], None] | None = None,
    ) -> None:
        self._runtime = runtime
        self._trip = trip
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._size = size
        self._failed = failed
        self._queue: deque[Item] = deque()
        self._leader: object = None
        self._lock = Lock()

    @property
    def idle(self) -> bool:
        """Whether nothing is queued or on its way."""
        return self._leader is None

    def put(self, item: Item) -> bool:
        """Queue an item. True: the lane was idle, the item is not queued, and the caller must `lead` it at once."""
        with self._lock:
            if self._leader is not None:
                self._queue.append(item)
                return False
            self._leader = item
            return True

    def post(self, item: Item) -> None:
        """Queue an item and see to it that somebody carries it; does not wait."""
        with self._lock:
            self._queue.append(item)
            if self._leader is not None:
                return
            self._leader = item
        self._runtime.spawn(self._drain(item))

    def release(self, item: Item) -> None:
        """Hand the lane on, if whoever put or posted this item leads it still: for whoever was interrupted."""
        self._hand_on(item)

    async def lead(self, items: Sequence[Item]) -> None:
        """Make the trip that `put` asked for, its item first, then hand the lane on."""
        try:
            await self._trip(items)
        finally:
            self._hand_on(items[0])

    async def _drain(self, leader: object) -> None:
        me = object()
        with self._lock:
            if self._leader is not leader:
                return
            self._leader = me
        try:
            while batch := self._take():
                await self._carry(batch)
        finally:
            self._hand_on(me)

    async def _carry(self, batch: Sequence[Item]) -> None:
        try:
            await self._trip(batch)
        except Exception as error:
            if self._failed is None:
                raise
            self._failed(batch, error)

    def _take(self) -> list[Item]:
        batch: list[Item] = []
        items = size = 0
        with self._lock:
            while self._queue:
                one_items, one_size = self._size(self._queue[0])
                items += one_items
                size += one_size
                if batch and (items > self._max_items or (self._max_bytes and size > self._max_bytes)):
                    break
                batch.append(self._queue.popleft())
        return batch

    def _hand_on(self, leader: object) -> None:
        with self._lock:
            if self._leader is not leader:
                return
            if not self._queue:
                self._leader = None
                return
        self._runtime.spawn(self._drain(leader))
