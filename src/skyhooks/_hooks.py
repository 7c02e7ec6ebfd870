"""Keeps the hooks that the store has equal to the keys that this process wants (PROTOCOL 7)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from ._callbacks import Callbacks
from ._lane import Lane
from ._registration import Registration
from ._values import Position
from .abc import STORE_SECONDS, Future, Runtime, Store
from .exceptions import SkyhooksError, StoreUnavailable

MAX_KEYS_PER_TRIP = 1000

T = TypeVar("T")

Since = Mapping[str, Position | None]
Placed = Callable[[Mapping[str, Position]], None]


class _Request:
    """One caller's part of a trip: keys to add, keys to remove if nobody wants them, whom to seat."""

    __slots__ = ("abandoned", "add", "error", "refresh", "registration", "remove", "settled", "since")

    def __init__(
        self,
        *,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
        refresh: Sequence[str] = (),
        registration: Registration | None = None,
        since: Since | None = None,
    ) -> None:
        self.settled: Future[None] | None = None
        self.add = add
        self.remove = remove
        self.refresh = refresh
        self.registration = registration
        self.since: Since = since or {}
        self.error: Exception | None = None
        self.abandoned = False

    def size(self) -> tuple[int, int]:
        return len(self.add) + len(self.remove) + len(self.refresh), 0


class Hooks:
    """Writes hooks through one lane, each write under a number that only grows.

    A key is *unsure* from the moment a write of its hook is sent until the store has confirmed it; what stays unsure
    is written again by `settle`, at every heartbeat.
    """

    def __init__(self, runtime: Runtime, store: Store, callbacks: Callbacks, placed: Placed) -> None:
        self.instance_id = ""
        self.answers = 0
        """How often the store has confirmed what it was told."""
        self._runtime = runtime
        self._store = store
        self._callbacks = callbacks
        self._placed = placed
        self._number = 0
        self._unsure: dict[str, int] = {}
        self._lane: Lane[_Request] = Lane(runtime, self._trip, max_items=MAX_KEYS_PER_TRIP, size=_Request.size)

    def doubt(self, keys: Iterable[str]) -> None:
        """Mark hooks as unsure: wanted keys are to be added again, others removed."""
        number = self._next_number()
        for key in keys:
            self._unsure[key] = number

    async def add(self, registration: Registration, since: Since) -> None:
        """Have a registration's hooks confirmed, and its seats placed by this very answer (PROTOCOL 3).

        Raises:
            StoreUnavailable: within `STORE_SECONDS`, queueing included; the keys are unsure then.
        """
        await self._send(_Request(add=registration.keys, registration=registration, since=since))

    async def remove(self, keys: Sequence[str]) -> None:
        """Have the hooks of keys that nobody wants removed; where that fails, `settle` does it."""
        self.doubt(keys)
        await self._try(_Request(remove=keys))

    async def refresh(self, keys: Sequence[str]) -> None:
        """Look at the heads of held keys, and add their hooks where they are missing (PROTOCOL 14)."""
        await self._try(_Request(refresh=keys))

    async def settle(self) -> None:
        """Write every hook that is unsure; ends at the first failure."""
        keys = list(self._unsure)
        for begin in range(0, len(keys), MAX_KEYS_PER_TRIP):
            chunk = keys[begin : begin + MAX_KEYS_PER_TRIP]
            wanted = [key for key in chunk if self._callbacks.get(key)]
            if not await self._try(_Request(add=wanted, remove=chunk)):
                return

    # -- inside -----------------------------------------------------------------------------------

    async def _try(self, request: _Request) -> bool:
        try:
            await self._send(request)
        except SkyhooksError:
            return False
        return True

    async def _send(self, request: _Request) -> None:
        if self._lane.put(request):
            await self._lane.lead((request,))
        else:
            settled = request.settled = self._runtime.future()
            if not await settled.wait(STORE_SECONDS):
                request.abandoned = True
                raise StoreUnavailable(f"the store took longer than {STORE_SECONDS:g} s; try again")
        if request.error is not None:
            raise request.error

    async def _trip(self, requests: Sequence[_Request]) -> None:
        current = [request for request in requests if not request.abandoned]
        await self._part([request for request in current if request.add], self._add)
        await self._part([request for request in current if request.refresh], self._refresh)
        await self._part([request for request in current if request.remove], self._remove)
        for request in current:
            if request.settled is not None:
                request.settled.set(None)

    async def _part(self, requests: list[_Request], step: Callable[[list[_Request]], Awaitable[None]]) -> None:
        if not requests:
            return
        try:
            await step(requests)
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            for request in requests:
                request.error = error

    async def _add(self, requests: list[_Request]) -> None:
        keys = _gather(request.add for request in requests)
        heads = await self._write(self._store.add_hooks, keys)
        for request in requests:
            self._seat(request, heads)
        self._placed(heads)
        # Whoever gave up waiting has left hooks behind that nobody wants.
        self.doubt(key for key in keys if self._callbacks.get(key) is None)

    async def _refresh(self, requests: list[_Request]) -> None:
        held = [key for key in _gather(request.refresh for request in requests) if self._callbacks.get(key)]
        if held:
            # Number 0 writes nothing where the hook stands.
            self._placed(await self._runtime.call(self._store.add_hooks, self.instance_id, held, 0))

    async def _remove(self, requests: list[_Request]) -> None:
        unwanted = [key for key in _gather(request.remove for request in requests) if self._callbacks.get(key) is None]
        if unwanted:
            await self._write(self._store.remove_hooks, unwanted)

    async def _write(self, operation: Callable[[str, Sequence[str], int], T], keys: Sequence[str]) -> T:
        instance_id = self.instance_id
        self.doubt(keys)
        number = self._number
        answer = await self._runtime.call(operation, instance_id, keys, number)
        self.answers += 1
        if self.instance_id == instance_id:
            for key in keys:
                if self._unsure.get(key) == number:
                    del self._unsure[key]
        return answer

    def _seat(self, request: _Request, heads: Mapping[str, Position]) -> None:
        if request.registration is not None and not request.abandoned:
            request.registration.begin(heads, request.since)

    def _next_number(self) -> int:
        self._number += 1
        return self._number


def _gather(groups: Iterable[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(key for group in groups for key in group))
