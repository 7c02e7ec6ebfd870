"""The core of a notifier: publish, ring every target, collect the receipt. Names no loop and no framework."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import count
from operator import attrgetter
from threading import Lock

from ._delivery import Names, TargetLane
from ._json import encode_data
from ._keys import canonical_keys
from ._lane import Lane
from ._policy import NOTIFY_SECONDS
from ._sending import Parcel, Sending
from ._signing import Key, entry_mac, instance_key, row_mac, verify_mac
from ._values import Entry, Instance, Outcome, Position, Published, Receipt
from ._wire import MAX_NOTIFICATIONS, encode_item
from .abc import STORE_SECONDS, Future, Runtime, Store
from .exceptions import NotStarted, QueueFull, SkyhooksError, StoreUnavailable

log = logging.getLogger("skyhooks")

MAX_PUBLISH_BYTES = 262_144
TARGETS_SECONDS = 1.0
"""How long an ephemeral notification may go by targets that were looked up before."""
MAX_CACHED_KEYS = 10_000
MAX_LANES = 4096

Keys = Mapping[str, object]


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
        self._max_pending_bytes = max_pending_bytes
        self._lock = Lock()
        self._queue_lock = Lock()
        self._sender = runtime.token()
        self._names = Names(self._sender)
        self._counter = count(1)
        self._lanes: dict[str, TargetLane] = {}
        self._targets: dict[str, tuple[float, tuple[Instance, ...]]] = {}
        self._submitted: dict[int, Sending] = {}
        self._pending_bytes = 0
        self._room: list[Future[None]] = []
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
            NotStarted: the notifier has been closed.
        """
        if self._closed:
            raise NotStarted("this notifier has been closed", "make a new one")
        return Sending(
            self._runtime,
            self._lock,
            name=f"{self._sender}.{next(self._counter)}",
            keys=canonical_keys(keys),
            data=encode_data(data),
            id=id,
            ephemeral=ephemeral,
            timeout_seconds=self._timeout_seconds if timeout_seconds is None else timeout_seconds,
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
        while not self._admit(sending):
            if not block:
                raise QueueFull(self._max_pending_bytes)
            await self._wait_for_room(sending)
        self._lane.post(sending)

    async def _wait_for_room(self, sending: Sending) -> None:
        room: Future[None] = self._runtime.future()
        with self._queue_lock:
            if self._fits(sending):
                return
            self._room.append(room)
        await room.wait(None)

    async def flush(self, timeout_seconds: float) -> bool:
        """Wait until all that was submitted has its receipt; False when the time ran out first."""
        deadline = self._runtime.now() + timeout_seconds
        waiting = list(self._submitted.copy().values())
        for sending in waiting:
            if not await sending.wait(deadline - self._runtime.now()):
                return False
        return True

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
            await self._enter([one for one in sendings if one.ephemeral and self._is_cached(one)], self._ring_cached)
            await self._enter([one for one in sendings if not one.addressed], self._queue)
            for sending in sendings:
                await self._settled(sending)
        except BaseException as error:
            _give_up(sendings, error)
            raise
        return sendings

    async def _enter(self, sendings: list[Sending], way: Callable[[list[Sending], Leads], Awaitable[None]]) -> None:
        if not sendings:
            return
        leads: Leads = {}
        begun: set[TargetLane] = set()

        async def lead(lane: TargetLane) -> None:
            begun.add(lane)
            await lane.lane.lead(leads[lane])

        try:
            await way(sendings, leads)
            await self._runtime.fan_out(lead, list(leads))
        finally:
            for lane in leads:
                if lane not in begun:
                    lane.lane.release()

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
        uncached = [sending for sending in sendings if not self._is_cached(sending)]
        keys = list(dict.fromkeys(key for sending in uncached for key in sending.keys))
        found = await self._runtime.call(self._store.targets, keys) if keys else {}
        if len(self._targets) + len(found) > MAX_CACHED_KEYS:
            self._targets.clear()
        until = self._runtime.now() + TARGETS_SECONDS
        for key, targets in found.items():
            self._targets[key] = (until, targets)
        for sending in sendings:
            self._address_ephemeral(sending)

    def _is_cached(self, sending: Sending) -> bool:
        now = self._runtime.now()
        cached = [self._targets.get(key) for key in sending.keys]
        return all(one is not None and one[0] > now for one in cached)

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
        parcels: dict[str, Parcel] = {}
        for key in sending.keys:
            _, targets = self._targets.get(key, (0.0, ()))
            if targets:
                _pack(parcels, sending, targets, _item(sending, key, None))
        self._route(sending, list(parcels.values()))

    def _retained_item(self, sending: Sending, key: str, result: Published) -> bytes | None:
        if result.position is None:
            return None
        entry = result.entry
        if entry is None:
            return _item(sending, key, result.position)
        if not self._wrote(key, entry):
            log.warning("what is stored under id %r of %s bears no valid MAC: nobody is rung", sending.id, key)
            return None
        return encode_item(
            id=entry.id, key=key, keys=entry.keys, position=result.position, sent_at=entry.sent_at, data=entry.data
        )

    def _wrote(self, key: str, entry: Entry) -> bool:
        macs = (entry_mac(secret, key, entry.id, entry.data) for secret in self._secrets)
        return not self._secrets or verify_mac(macs, entry.mac)

    def _route(self, sending: Sending, parcels: list[Parcel]) -> None:
        ways = [(parcel, self._way(parcel)) for parcel in parcels]
        sending.address(parcels)
        leads = sending.leads
        for parcel, lane in ways:
            if lane is None:
                continue
            if leads is None:
                lane.lane.post(parcel)
            elif lane in leads:
                leads[lane].append(parcel)
            elif lane.lane.put(parcel):
                leads[lane] = [parcel]

    def _way(self, parcel: Parcel) -> TargetLane | None:
        target = parcel.target
        if target.url is None:
            parcel.decide(parcel.overdue_outcome, "it fetches by itself")
            return None
        lane = self._lanes.get(target.instance_id)
        if lane is not None and (lane.target is target or lane.target == target):
            return lane
        key, problem = self._key_for(target)
        if key is None:
            log.warning("%s is not called: %s", target.instance_id, problem)
            parcel.decide(Outcome.BLOCKED, problem)
            return None
        return self._open_lane(target, key)

    def _open_lane(self, target: Instance, key: Key) -> TargetLane:
        lane = TargetLane(self._runtime, target, key, self._names, self._bury)
        with self._lock:
            if len(self._lanes) >= MAX_LANES:
                self._lanes = {name: one for name, one in self._lanes.items() if not one.lane.idle}
            standing = self._lanes.get(target.instance_id)
            if standing is not None and standing.target == target:
                return standing
            self._lanes[target.instance_id] = lane
        return lane

    def _key_for(self, target: Instance) -> tuple[Key | None, str]:
        if self._secrets:
            macs = (row_mac(one, target.instance_id, target.url, target.joined_at_ms) for one in self._secrets)
            if not verify_mac(macs, target.mac):
                return None, "its row was not written by a holder of this secret"
            return Key(instance_key(self._secrets[0], target.instance_id)), ""
        if target.signing_key is None:
            return None, "it asks for a secret that this notifier does not have; give it the same secret="
        return Key(target.signing_key), ""

    async def _bury(self, instance_id: str) -> None:
        with self._lock:
            self._lanes.pop(instance_id, None)
        try:
            await self._runtime.call(self._store.leave, instance_id)
        except SkyhooksError as error:
            log.warning("the hooks of %s, which is gone, stay until its lease ends: %s", instance_id, error)

    # -- what is queued ---------------------------------------------------------------------------

    def _admit(self, sending: Sending) -> bool:
        sending.on_done = self._discharge
        with self._queue_lock:
            if not self._fits(sending):
                return False
            self._pending_bytes += sending.size
        self._submitted[id(sending)] = sending
        return True

    def _fits(self, sending: Sending) -> bool:
        pending = self._pending_bytes
        return not pending or pending + sending.size <= self._max_pending_bytes

    def _discharge(self, sendings: Sequence[Sending]) -> None:
        freed = sum([sending.size for sending in sendings if self._submitted.pop(id(sending), None) is not None])
        with self._queue_lock:
            self._pending_bytes -= freed
            room, self._room = self._room, []
        for waiter in room:
            waiter.set(None)
        for sending in sendings:
            if sending.error is not None:
                self.counts["submit_failed"] += 1
                log.error("a submitted notification was not published: %s", sending.error)


Leads = dict[TargetLane, list[Parcel]]


def _first_trip(sendings: Sequence[Sending]) -> list[Sending]:
    """Return how many of these go with one trip, at least one."""
    size = items = 0
    for index, sending in enumerate(sendings):
        size += sending.size
        items += len(sending.keys)
        if index and (items > MAX_NOTIFICATIONS or size > MAX_PUBLISH_BYTES):
            return list(sendings[:index])
    return list(sendings)


def _item(sending: Sending, key: str, position: Position | None) -> bytes:
    return encode_item(
        id=sending.id,
        key=key,
        keys=sending.all_keys,
        position=position,
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
