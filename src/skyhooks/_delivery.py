"""The way to one target: a lane whose trips are POSTs, with their retries and verdicts."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import count

from ._lane import Lane
from ._ping import signed_post
from ._policy import ATTEMPT_SECONDS, Kind, Verdict, backoff_seconds, judge, shown_url
from ._sending import Parcel, Settlement, settle_all
from ._signing import Key
from ._values import Answer, Instance, Outcome
from ._wire import MAX_NOTIFICATIONS, Taken, body_prefix, join_body
from .abc import Runtime

log = logging.getLogger("skyhooks")

MAX_TRIP_BYTES = 262_144
ENVELOPE_BYTES = 256

Item = tuple[Parcel, bytes]


class Names:
    """Names deliveries: `<sender>-<counter>`, which receivers judge replays by (PROTOCOL 22)."""

    def __init__(self, sender: str) -> None:
        self._sender = sender
        self._counter = count(1)

    def next(self) -> str:
        """Return a name that this sender has not used."""
        return f"{self._sender}-{next(self._counter)}"


class TargetLane:
    """Everything that goes to one instance: in order, one trip in flight."""

    def __init__(
        self, runtime: Runtime, target: Instance, key: Key, names: Names, bury: Callable[[str], Awaitable[None]]
    ) -> None:
        self.target = target
        self.url = target.url or ""
        self._runtime = runtime
        self._key = key
        self._names = names
        self._bury = bury
        self._prefix = body_prefix(target.instance_id)
        self._max_bytes = min(MAX_TRIP_BYTES, target.max_body_bytes - ENVELOPE_BYTES)
        self.lane: Lane[Parcel] = Lane(
            runtime,
            self._carry,
            max_items=MAX_NOTIFICATIONS,
            max_bytes=self._max_bytes,
            size=Parcel.size,
            failed=self._failed,
        )

    async def _carry(self, parcels: Sequence[Parcel]) -> None:
        for batch in self._batches(_open_items(parcels)):
            await self._deliver(batch)

    def _failed(self, parcels: Sequence[Parcel], error: Exception) -> None:
        log.error("a delivery to %s failed", shown_url(self.url), exc_info=error)
        self._settle_all(_open_items(parcels), None, f"{type(error).__name__} in the notifier")

    def _batches(self, items: Sequence[Item]) -> Iterator[list[Item]]:
        batch: list[Item] = []
        size = 0
        for item in items:
            if batch and (len(batch) >= MAX_NOTIFICATIONS or size + len(item[1]) > self._max_bytes):
                yield batch
                batch, size = [], 0
            batch.append(item)
            size += len(item[1]) + 1
        if batch:
            yield batch

    async def _deliver(self, items: Sequence[Item]) -> None:
        """Make a delivery, frozen at its first attempt: same bytes and id, fresh timestamp and signature (PROTOCOL 19)."""
        body = join_body(self._prefix, [item for _, item in items])
        webhook_id = self._names.next()
        deadline = max(parcel.sending.deadline for parcel, _ in items)
        attempt = 0
        while True:
            attempt += 1
            now = self._runtime.now()
            if deadline <= now or not any(parcel.left > 0 for parcel, _ in items):
                self._settle_all(items, None, "no answer by the deadline")
                return
            for parcel, _ in items:
                parcel.attempts = max(parcel.attempts, attempt)
            answer = await self._post(webhook_id, body, min(ATTEMPT_SECONDS, deadline - now))
            verdict = judge(
                answer,
                attempt=attempt,
                count=len(items),
                instance_id=self.target.instance_id,
                now=self._runtime.time(),
            )
            if verdict.kind is not Kind.RETRY:
                await self._conclude(items, verdict)
                return
            delay = verdict.delay_seconds
            if delay is None:
                delay = backoff_seconds(attempt, self._runtime.random())
            if self._runtime.now() + delay >= deadline:
                self._settle_all(items, None, verdict.error)
                return
            await self._runtime.sleep(delay)

    async def _post(self, webhook_id: str, body: bytes, timeout_seconds: float) -> Answer:
        post = signed_post(
            self._key,
            self.url,
            self.target.instance_id,
            webhook_id,
            body,
            timestamp=int(self._runtime.time()),
            timeout_seconds=timeout_seconds,
        )
        return await self._runtime.post(post)

    async def _conclude(self, items: Sequence[Item], verdict: Verdict) -> None:
        if verdict.kind is Kind.TAKEN:
            await self._settle_taken(items, verdict.taken)
        elif verdict.kind is Kind.SPLIT:
            middle = len(items) // 2
            await self._deliver(items[:middle])
            await self._deliver(items[middle:])
        elif verdict.kind is Kind.GONE:
            await self._bury(self.target.instance_id)
            self._settle_all(items, Outcome.GONE, verdict.error)
        elif verdict.kind is Kind.GIVE_UP:
            self._settle_all(items, None, verdict.error)
        else:
            outcome = Outcome.BLOCKED if verdict.kind is Kind.BLOCKED else Outcome.REFUSED
            log.warning("%s: %s: %s", shown_url(self.url), outcome.value, verdict.error)
            self._settle_all(items, outcome, verdict.error)

    async def _settle_taken(self, items: Sequence[Item], taken: Taken | None) -> None:
        if taken is None:
            settle_all([(parcel, Outcome.DELIVERED, 1, None, None) for parcel, _ in items])
            return
        again: list[Item] = []
        verdicts: list[Settlement] = []
        for index, (parcel, item) in enumerate(items):
            callbacks = taken.callbacks[index]
            if index in taken.full:
                if parcel.sending.ephemeral and parcel.attempts < 3:
                    again.append((parcel, item))
                else:
                    verdicts.append((parcel, parcel.overdue_outcome, 1, None, "the instance is behind"))
                continue
            heard = callbacks > 0 or index in taken.duplicates
            outcome = Outcome.DELIVERED if heard else Outcome.NO_LISTENER
            verdicts.append((parcel, outcome, 1, callbacks, None))
        settle_all(verdicts)
        if again:
            await self._runtime.sleep(backoff_seconds(1, self._runtime.random()))
            for parcel, _ in again:
                parcel.attempts += 1
            await self._deliver(again)

    def _settle_all(self, items: Sequence[Item], outcome: Outcome | None, error: str | None) -> None:
        settle_all([(parcel, outcome or parcel.overdue_outcome, 1, None, error) for parcel, _ in items])


def _open_items(parcels: Sequence[Parcel]) -> list[Item]:
    return [(parcel, item) for parcel in parcels if parcel.left > 0 for item in parcel.items]
