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

_WORST_FIRST = (
    Outcome.BLOCKED,
    Outcome.REFUSED,
    Outcome.LOST,
    Outcome.GONE,
    Outcome.DEFERRED,
    Outcome.DELIVERED,
    Outcome.NO_LISTENER,
)
_ANSWERED = (Outcome.DELIVERED, Outcome.NO_LISTENER)


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

    def size(self) -> tuple[int, int]:
        """Return how many items and bytes it adds to a trip."""
        return len(self.items), sum(map(len, self.items))

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
        "_lock",
        "_runtime",
        "_waiter",
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
        "nonce",
        "on_done",
        "open",
        "parcels",
        "remember",
        "sent_at",
        "started",
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
        self._lock = lock
        self._waiter: Future[None] | None = None
        self.keys = keys
        self.data = data
        self.id = name if id is None else _checked_id(id)
        self.remember = id is not None
        self.nonce = name
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
        self.on_done: Callable[[Sending], None] | None = None
        self.leads: dict[TargetLane, list[Parcel]] | None = None
        """Where whoever leads its publishing trip collects the lanes that were idle, to make their first trips too."""

    @property
    def all_keys(self) -> tuple[str, ...]:
        """What the wire and the log say of the keys: nothing where there is only one."""
        return self.keys if len(self.keys) > 1 else ()

    @property
    def size(self) -> int:
        """Bytes that it occupies in a queue."""
        return len(self.data) * len(self.keys) + 200

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
        """End without a receipt."""
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
        with self._lock:
            if parcel.left <= 0:
                return
            parcel.left -= parcel.left if items is None else items
            parcel.error = parcel.error or error
            if outcome in _ANSWERED:
                both = parcel.callbacks is not None and callbacks is not None
                parcel.callbacks = (parcel.callbacks or 0) + (callbacks or 0) if both else None
            if parcel.outcome is None or _WORST_FIRST.index(outcome) < _WORST_FIRST.index(parcel.outcome):
                parcel.outcome = outcome
            if parcel.left > 0:
                return
            parcel.settled_at = self._runtime.now()
            self.open -= 1
            finished = self.open == 0
        if finished:
            self._finish()

    def expire(self, reason: str) -> None:
        """Settle what nobody has acknowledged."""
        for parcel in self.parcels:
            self.settle(parcel, parcel.overdue_outcome, error=reason)

    async def wait(self, seconds: float | None) -> bool:
        """Wait until it is done, for ever if None; False when the time runs out first."""
        with self._lock:
            if self.done:
                return True
            if self._waiter is None:
                self._waiter = self._runtime.future()
            waiter = self._waiter
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
        with self._lock:
            if self.done:
                return
            self.done = True
            waiter = self._waiter
        if waiter is not None:
            waiter.set(None)
        if self.on_done is not None:
            self.on_done(self)


def _checked_id(id: str) -> str:
    if not isinstance(id, str) or not id or not id.isprintable() or len(id.encode()) > MAX_ID_BYTES:
        raise InvalidData("id", f"an id is 1 to {MAX_ID_BYTES} bytes of printable text")
    return id
