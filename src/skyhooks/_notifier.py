"""The core of a notifier: publish, ring every target, collect the receipt. Names no loop and no framework."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import count
from operator import attrgetter
from threading import Lock

from ._backlog import Backlog
from ._delivery import Names, TargetLane
from ._json import encode_data
from ._keys import canonical_keys
from ._lane import Lane
from ._policy import NOTIFY_SECONDS
from ._sending import Parcel, Sending
from ._signing import bears_mac, entry_mac
from ._targets import Targets
from ._values import Instance, Position, Published, Receipt
from ._wire import MAX_NOTIFICATIONS, encode_item
from .abc import STORE_SECONDS, Runtime, Store
from .exceptions import NotStarted, QueueFull, StoreUnavailable

log = logging.getLogger("skyhooks")

MAX_PUBLISH_BYTES = 262_144

Keys = Mapping[str, object]
Leads = dict[TargetLane, list[Parcel]]
"""Lanes that were idle, and what their first trips carry."""


class NotifierCore:
    """Publishes notifications and rings those who wait for them.

    Order: what one caller gives to it is published in the order of his calls, since everything goes through one lane;
    and it enters the lanes of its targets before that lane goes on.
    """

    def __init__(
        self,
        store: Store,
        runtime: Runtime,
        *,
        secrets: Sequence[bytes] = (),
        timeout_seconds: float = NOTIFY_SECONDS,
        max_pending_bytes: int = 67_108_864,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._store = store
        self._runtime = runtime
        self._secrets = tuple(secrets)
        self._timeout_seconds = timeout_seconds
        self._lock = Lock()
        self._sender = runtime.token()
        self._counter = count(1)
        self._targets = Targets(store, runtime, self._secrets, Names(self._sender))
        self._backlog = Backlog(runtime, max_pending_bytes, self.counts)
        self._lane: Lane[Sending] = Lane(
            runtime,
            self._publish,
            max_items=MAX_NOTIFICATIONS,
            max_bytes=MAX_PUBLISH_BYTES,
            size=attrgetter("weight"),
        )
        self._closed = False

    # -- verbs ------------------------------------------------------------------------------------

    def prepare(
        self,
        keys: Keys,
        data: object,
        *,
        id: str | None = None,
        ephemeral: bool = False,
        timeout_seconds: float | None = None,
    ) -> Sending:
        """Check everything a caller gave, before store or network is touched.

        Raises:
            InvalidKey, InvalidData: with what is wrong.
            ValueError: there is no time for it.
            NotStarted: the notifier has been closed.
        """
        if self._closed:
            raise NotStarted("this notifier has been closed", "make a new one")
        if timeout_seconds is None:
            timeout_seconds = self._timeout_seconds
        elif not timeout_seconds > 0:
            raise ValueError(f"timeout_seconds must be above 0, not {timeout_seconds!r}")
        return Sending(
            self._runtime,
            self._lock,
            name=f"{self._sender}.{next(self._counter)}",
            keys=canonical_keys(keys),
            data=encode_data(data),
            id=id,
            ephemeral=ephemeral,
            timeout_seconds=timeout_seconds,
        )

    async def notify(self, sending: Sending) -> Receipt:
        """Publish, ring, and wait for the verdicts.

        Raises:
            StoreUnavailable: within 3 s; repeat it with the same `id` to be safe.
        """
        return (await self._send((sending,)))[0].receipt()

    async def notify_many(self, sendings: Sequence[Sending]) -> list[Receipt]:
        """Do the same for several, published in their order; the first error is raised once all have ended."""
        return [sending.receipt() for sending in await self._send(sendings)]

    async def submit(self, sending: Sending, *, block: bool = True) -> None:
        """Queue it and return; its receipt is there when it is done.

        Raises:
            QueueFull: `block` is false and `max_pending_bytes` are waiting.
        """
        try:
            await self._backlog.admit(sending, block=block)
            self._lane.post(sending)
        except QueueFull:
            raise
        except BaseException as error:
            self._lane.release(sending)
            _give_up((sending,), error)
            raise

    async def flush(self, timeout_seconds: float) -> bool:
        """Wait until all that was submitted has its receipt; False when the time ran out first."""
        return await self._backlog.flush(timeout_seconds)

    async def interest(self, keys: Keys) -> list[Instance]:
        """Return the live instances that hold any of these keys.

        Raises:
            StoreUnavailable: within 3 s.
        """
        found = await self._runtime.call(self._store.targets, canonical_keys(keys))
        return list({one.instance_id: one for instances in found.values() for one in instances}.values())

    def close(self) -> None:
        """Take nothing more; `flush` before."""
        self._closed = True

    # -- the way through --------------------------------------------------------------------------

    async def _send(self, sendings: Sequence[Sending]) -> Sequence[Sending]:
        try:
            known = [one for one in sendings if one.ephemeral and self._targets.knows(one.keys)]
            if len(known) == len(sendings):
                await self._enter(known, self._ring_cached)
            else:
                # Their trips must not hold up what the store has yet to get.
                for sending in known:
                    self._address_ephemeral(sending)
            await self._enter([one for one in sendings if not one.addressed], self._queue)
            for sending in sendings:
                await self._settled(sending)
        except BaseException as error:
            for sending in sendings:
                self._lane.release(sending)
            _give_up(sendings, error)
            raise
        return sendings

    async def _enter(self, sendings: list[Sending], way: Callable[[list[Sending], Leads], Awaitable[None]]) -> None:
        if not sendings:
            return
        leads: Leads = {}
        begun: set[TargetLane] = set()

        async def lead(lane: TargetLane) -> None:
            try:
                begun.add(lane)
                await lane.lane.lead(leads[lane])
            except BaseException:
                lane.lane.release(leads[lane][0])
                raise

        try:
            await way(sendings, leads)
            await self._runtime.fan_out(lead, list(leads))
        finally:
            for lane in leads:
                if lane not in begun:
                    lane.lane.release(leads[lane][0])

    async def _ring_cached(self, sendings: list[Sending], leads: Leads) -> None:
        for sending in sendings:
            sending.leads = leads
            self._address_ephemeral(sending)

    async def _queue(self, sendings: list[Sending], leads: Leads) -> None:
        if not self._lane.put(sendings[0]):
            for sending in sendings[1:]:
                self._lane.post(sending)
            return
        mine = _first_trip(sendings)
        for sending in mine:
            sending.leads = leads
        for sending in sendings[len(mine) :]:
            self._lane.post(sending)
        await self._lane.lead(mine)

    async def _settled(self, sending: Sending) -> None:
        elapsed = self._runtime.now() - sending.started
        if not await sending.wait(STORE_SECONDS - elapsed) and not sending.addressed:
            sending.fail(
                StoreUnavailable(f"the store took longer than {STORE_SECONDS:g} s; repeat it with the same id")
            )
        elif not await sending.wait(sending.deadline - self._runtime.now()):
            sending.expire("no answer by the deadline")

    # -- the store's part -------------------------------------------------------------------------

    async def _publish(self, sendings: Sequence[Sending]) -> None:
        waiting = [sending for sending in sendings if not sending.done]
        await self._store_part([one for one in waiting if not one.ephemeral], self._append)
        await self._store_part([one for one in waiting if one.ephemeral], self._look_up)

    async def _store_part(self, sendings: list[Sending], part: Callable[[list[Sending]], Awaitable[None]]) -> None:
        if not sendings:
            return
        try:
            await part(sendings)
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            for sending in sendings:
                sending.fail(error)

    async def _append(self, sendings: list[Sending]) -> None:
        publications = [one for sending in sendings for one in sending.publications(self._macs(sending))]
        results = iter(await self._runtime.call(self._store.publish, publications))
        for sending in sendings:
            self._address_retained(sending, [next(results) for _ in sending.keys])

    def _macs(self, sending: Sending) -> list[bytes | None]:
        if not self._secrets:
            return [None] * len(sending.keys)
        return [entry_mac(self._secrets[0], key, sending.id, sending.data) for key in sending.keys]

    async def _look_up(self, sendings: list[Sending]) -> None:
        await self._targets.look_up(list(dict.fromkeys(key for sending in sendings for key in sending.keys)))
        for sending in sendings:
            self._address_ephemeral(sending)

    # -- who is rung ------------------------------------------------------------------------------

    def _address_retained(self, sending: Sending, results: Sequence[Published]) -> None:
        sending.duplicate = all(result.duplicate for result in results)
        parcels: dict[str, Parcel] = {}
        for key, result in zip(sending.keys, results, strict=True):
            item = self._retained_item(sending, key, result)
            if item is not None:
                _pack(parcels, sending, result.targets, item)
        self._route(sending, list(parcels.values()))

    def _address_ephemeral(self, sending: Sending) -> None:
        found: dict[str, tuple[Instance, list[str]]] = {}
        for key in sending.keys:
            for target in self._targets.known(key):
                found.setdefault(target.instance_id, (target, []))[1].append(key)
        parcels = []
        items: dict[tuple[str, ...], list[bytes]] = {}
        for target, held in found.values():
            keys = tuple(held)
            if keys not in items:
                items[keys] = [_ephemeral_item(sending, key, keys) for key in keys]
            parcel = Parcel(sending, target)
            parcel.items.extend(items[keys])
            parcels.append(parcel)
        self._route(sending, parcels)

    def _retained_item(self, sending: Sending, key: str, result: Published) -> bytes | None:
        if result.position is None:
            return None
        entry = result.entry
        if entry is None:
            return _retained_item(sending, key, result.position)
        if not bears_mac(self._secrets, key, entry):
            log.warning("what is stored under id %r of %s bears no valid MAC: nobody is rung", sending.id, key)
            return None
        return encode_item(
            id=entry.id, key=key, keys=entry.keys, position=result.position, sent_at=entry.sent_at, data=entry.data
        )

    def _route(self, sending: Sending, parcels: list[Parcel]) -> None:
        ways = [(parcel, self._targets.way(parcel)) for parcel in parcels]
        sending.address(parcels)
        leads = sending.leads
        for parcel, lane in ways:
            if lane is None:
                continue
            if leads is None:
                lane.lane.post(parcel)
            elif lane in leads:
                leads[lane].append(parcel)
            else:
                leads[lane] = [parcel]  # first, so that it is released if a signal's exception comes after `put`
                if not lane.lane.put(parcel):
                    del leads[lane]


def _first_trip(sendings: Sequence[Sending]) -> list[Sending]:
    """Return how many of these go with one trip, at least one."""
    size = items = 0
    for index, sending in enumerate(sendings):
        size += sending.size
        items += len(sending.keys)
        if index and (items > MAX_NOTIFICATIONS or size > MAX_PUBLISH_BYTES):
            return list(sendings[:index])
    return list(sendings)


def _retained_item(sending: Sending, key: str, position: Position) -> bytes:
    return encode_item(
        id=sending.id,
        key=key,
        keys=sending.all_keys,
        position=position,
        sent_at=sending.sent_at,
        data=sending.data,
    )


def _ephemeral_item(sending: Sending, key: str, keys: tuple[str, ...]) -> bytes:
    """Encode an item with the keys under which this target was found.

    They were looked up at different times: under one that goes to others only, nobody here would be called.
    """
    return encode_item(
        id=sending.id,
        key=key,
        keys=keys if len(keys) > 1 else (),
        position=None,
        sent_at=sending.sent_at,
        data=sending.data,
    )


def _pack(parcels: dict[str, Parcel], sending: Sending, targets: Iterable[Instance], item: bytes) -> None:
    for target in targets:
        parcel = parcels.get(target.instance_id)
        if parcel is None:
            parcel = parcels[target.instance_id] = Parcel(sending, target)
        parcel.items.append(item)


def _give_up(sendings: Sequence[Sending], error: BaseException) -> None:
    for sending in sendings:
        unsent = [parcel.target.url for parcel in sending.parcels if parcel.left > 0]
        if sending.done:
            continue
        state = "published" if sending.addressed and not sending.ephemeral else "not known to be published"
        error.add_note(f"skyhooks: notification {sending.id} was given up, {state}; not acknowledged by {unsent}")
        if sending.addressed:
            sending.expire("given up by the caller")
        else:
            sending.fail(StoreUnavailable("given up by the caller"))
