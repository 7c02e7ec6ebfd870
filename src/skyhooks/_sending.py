"""One notification on its way: what it is, to whom it goes, and what has become of it so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING

from ._values import Delivery, Instance, Outcome, Publication, Receipt
from .abc import Future, Runtime
from .exceptions import InvalidData

if TYPE_CHECKING:
    from ._delivery import TargetLane

MAX_ID_BYTES = 256
OVERHEAD_BYTES = 200
"""What a notification occupies beside its data."""

_WORST_FIRST = (
    Outcome.BLOCKED,
    Outcome.REFUSED,
    Outcome.LOST,
    Outcome.GONE,
    Outcome.DEFERRED,
    Outcome.DELIVERED,
    Outcome.NO_LISTENER,
)
_RANK = {outcome: rank for rank, outcome in enumerate(_WORST_FIRST)}
_ANSWERED = (Outcome.DELIVERED, Outcome.NO_LISTENER)


Settlement = tuple["Parcel", Outcome, int, int | None, str | None]
"""A verdict on so many items of a parcel: outcome, items, callbacks, error."""


class Parcel:
    """What one target is sent of one notification: an item for each of its keys that the target holds."""

    __slots__ = ("attempts", "callbacks", "error", "items", "left", "outcome", "sending", "settled_at", "target")

    def __init__(self, sending: Sending, target: Instance) -> None:
        self.sending = sending
        self.target = target
        self.items: list[bytes] = []
        self.left = 0
        self.attempts = 0
        self.callbacks: int | None = 0
        self.outcome: Outcome | None = None
        self.error: str | None = None
        self.settled_at = 0.0

    def decide(self, outcome: Outcome, error: str | None) -> None:
        """Give the verdict before anything is sent."""
        self.outcome = outcome
        self.error = error
        self.settled_at = self.sending.started

    @property
    def overdue_outcome(self) -> Outcome:
        """The verdict where nobody acknowledged: what is in the log is fetched, what is not is lost."""
        return Outcome.LOST if self.sending.ephemeral else Outcome.DEFERRED

    def take_verdict(self, outcome: Outcome, items: int, callbacks: int | None, error: str | None) -> None:
        """Take the verdict on some of its items; the worst one stands."""
        self.left -= items
        self.error = self.error or error
        if outcome in _ANSWERED:
            both = self.callbacks is not None and callbacks is not None
            self.callbacks = (self.callbacks or 0) + (callbacks or 0) if both else None
        if self.outcome is None or _RANK[outcome] < _RANK[self.outcome]:
            self.outcome = outcome

    def size(self) -> tuple[int, int]:
        """Return how many items and bytes it adds to a trip."""
        items = self.items
        return (1, len(items[0])) if len(items) == 1 else (len(items), sum(map(len, items)))

    def delivery(self) -> Delivery:
        """Return the verdict as the receipt shows it."""
        return Delivery(
            url=self.target.url,
            instance_id=self.target.instance_id,
            outcome=self.outcome or self.overdue_outcome,
            callbacks=self.callbacks if self.callbacks or self.outcome in _ANSWERED else None,
            attempts=self.attempts,
            elapsed_seconds=max(0.0, self.settled_at - self.sending.started),
            error=self.error,
        )


class Sending:
    """One notification in the notifier's hands, from `notify` or `submit` to its receipt."""

    __slots__ = (
        "_runtime",
        "addressed",
        "data",
        "deadline",
        "done",
        "duplicate",
        "ephemeral",
        "error",
        "id",
        "keys",
        "leads",
        "lock",
        "nonce",
        "on_done",
        "open",
        "parcels",
        "remember",
        "sent_at",
        "size",
        "started",
        "waiter",
        "weight",
    )

    def __init__(
        self,
        runtime: Runtime,
        lock: Lock,
        *,
        name: str,
        keys: tuple[str, ...],
        data: bytes,
        id: str | None,
        ephemeral: bool,
        timeout_seconds: float,
    ) -> None:
        self._runtime = runtime
        self.lock = lock
        self.waiter: Future[None] | None = None
        self.keys = keys
        self.data = data
        self.id = name if id is None else _checked_id(id)
        self.remember = id is not None
        self.nonce = name
        self.size = len(data) * len(keys) + OVERHEAD_BYTES
        """Bytes that it occupies in a queue."""
        self.weight = (len(keys), self.size)
        self.ephemeral = ephemeral
        self.started = runtime.now()
        self.sent_at = runtime.time()
        self.deadline = self.started + timeout_seconds
        self.parcels: list[Parcel] = []
        self.open = 0
        self.duplicate = False
        self.error: Exception | None = None
        self.done = False
        self.addressed = False
        """Whether the store has had its part."""
        self.on_done: Callable[[Sequence[Sending]], None] | None = None
        self.leads: dict[TargetLane, list[Parcel]] | None = None
        """Where whoever leads its publishing trip collects the lanes that were idle, to make their first trips too."""

    @property
    def all_keys(self) -> tuple[str, ...]:
        """What the wire and the log say of the keys: nothing where there is only one."""
        return self.keys if len(self.keys) > 1 else ()

    def now(self) -> float:
        """Return monotonic seconds."""
        return self._runtime.now()

    def publications(self, macs: Sequence[bytes | None]) -> list[Publication]:
        """Return what is appended: an entry per key, in the order of the keys (PROTOCOL 9)."""
        return [
            Publication(
                key=key,
                id=self.id,
                nonce=self.nonce,
                data=self.data,
                sent_at=self.sent_at,
                keys=self.all_keys,
                mac=mac,
                remember=self.remember,
            )
            for key, mac in zip(self.keys, macs, strict=True)
        ]

    def fail(self, error: Exception) -> None:
        """End without a receipt, unless there is one by now."""
        with self.lock:
            if self.done:
                return
            self.error = error
        self._finish()

    def address(self, parcels: Sequence[Parcel]) -> None:
        """Take note of all who are sent something; it is done when each of them is settled."""
        self.parcels = list(parcels)
        self.addressed = True
        for parcel in parcels:
            if parcel.outcome is None:
                parcel.left = len(parcel.items)
                self.open += 1
        if self.open == 0:
            self._finish()

    def settle(
        self,
        parcel: Parcel,
        outcome: Outcome,
        *,
        items: int | None = None,
        callbacks: int | None = None,
        error: str | None = None,
    ) -> None:
        """Record the verdict on some items of a parcel (None: on all that are left); the worst one stands."""
        settle_all(((parcel, outcome, parcel.left if items is None else items, callbacks, error),))

    def expire(self, reason: str) -> None:
        """Settle what nobody has acknowledged."""
        for parcel in self.parcels:
            self.settle(parcel, parcel.overdue_outcome, error=reason)

    async def wait(self, seconds: float | None) -> bool:
        """Wait until it is done, for ever if None; False when the time runs out first."""
        with self.lock:
            if self.done:
                return True
            if self.waiter is None:
                self.waiter = self._runtime.future()
            waiter = self.waiter
        return await waiter.wait(None if seconds is None else max(0.0, seconds)) or self.done

    def receipt(self) -> Receipt:
        """Return the receipt.

        Raises:
            StoreUnavailable: it was not published, or nobody knows whether it was.
        """
        if self.error is not None:
            raise self.error
        return Receipt(self.id, tuple(parcel.delivery() for parcel in self.parcels), self.duplicate)

    def _finish(self) -> None:
        _finish_all((self,))


def settle_all(verdicts: Sequence[Settlement]) -> None:
    """Record verdicts on parcels of one notifier, under one lock; whoever waits for what is finished by that is told."""
    if not verdicts:
        return
    first = verdicts[0][0].sending
    now = first.now()
    finished = []
    with first.lock:
        for parcel, outcome, items, callbacks, error in verdicts:
            if parcel.left > 0:
                parcel.take_verdict(outcome, items, callbacks, error)
                if parcel.left <= 0:
                    parcel.settled_at = now
                    sending = parcel.sending
                    sending.open -= 1
                    if sending.open == 0:
                        finished.append(sending)
    _finish_all(finished)


def _finish_all(sendings: Sequence[Sending]) -> None:
    done = []
    for sending in sendings:
        with sending.lock:
            if sending.done:
                continue
            sending.done = True
            waiter = sending.waiter
        if waiter is not None:
            waiter.set(None)
        if sending.on_done is not None:
            done.append(sending)
    if done and (on_done := done[0].on_done):
        on_done(done)


def _checked_id(id: str) -> str:
    if not isinstance(id, str) or not id or not id.isprintable() or len(id.encode()) > MAX_ID_BYTES:
        raise InvalidData("id", f"an id is 1 to {MAX_ID_BYTES} bytes of printable text")
    return id
