"""One key's position in one process, and what it owes its seats. Pure: the algorithm of PROTOCOL.md's "The track"."""

from __future__ import annotations

import enum
from collections.abc import MutableSequence, Sequence
from dataclasses import dataclass

from ._notification import Gap, Notification
from ._registration import JOINING, LAGGING, LEFT, LIVE, PARKED, START, Registration, Seat
from ._values import Page, Position

MAX_HELD = 1000
MAX_HELD_BYTES = 1_048_576

Event = tuple[Sequence[Seat], int, Notification | Gap]
"""What is to be called: for the first so many of these seats (the list may grow behind them) this one thing."""

Outbox = MutableSequence[Event]


class Offer(enum.Enum):
    """What a track did with a notification that was pushed to it."""

    TAKEN = "taken"
    DUPLICATE = "duplicate"
    FULL = "full"
    """Not kept; that it exists is, so that it is fetched."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a track's fetcher is to read, and how things stood when the read was sent (PROTOCOL 5)."""

    after: Position | None
    seats: dict[Seat, Position | None]
    position: Position
    known: int


class Track:
    """One key's position; it puts into `outbox` whom to call with what, in the order of the log.

    No method waits and none calls anybody, so nothing can come between reading and writing its state (PROTOCOL 10).
    """

    __slots__ = (
        "_dead",
        "_early",
        "_held",
        "_held_bytes",
        "_lag",
        "_live",
        "_outbox",
        "_replay_until",
        "_several",
        "_waiting",
        "epoch",
        "fetching",
        "key",
        "known",
        "look",
        "seq",
    )

    def __init__(self, key: str, outbox: Outbox) -> None:
        self.key = key
        self.epoch: str | None = None
        self.seq = 0
        self.known = 0
        self.look = False
        self.fetching = False
        self._outbox = outbox
        self._live: list[Seat] = []
        self._dead = 0
        self._lag: tuple[Seat, ...] = ()
        self._waiting: dict[Seat, None] | None = None
        self._early: list[Notification] | None = None
        self._held: dict[int, Notification] | None = None
        self._held_bytes = 0
        self._replay_until = 0
        self._several = 0

    @property
    def wanted(self) -> bool:
        """Whether anybody sits here."""
        return bool(self._waiting or self._lag or len(self._live) > self._dead)

    @property
    def needy(self) -> bool:
        """Whether something must be read from the log."""
        return self.epoch is not None and (self.look or self.known > self.seq or bool(self._lag))

    @property
    def urgent(self) -> bool:
        """Whether the reading cannot wait for a push that is perhaps on its way."""
        return self.epoch is not None and (self.look or bool(self._lag))

    # -- what arrives -----------------------------------------------------------------------------

    def offer(self, n: Notification) -> Offer:
        """Take a notification that was pushed; it may be new, old, early, or of another life of the log."""
        if self.epoch is None:
            return self._keep_early(n)
        if n.epoch != self.epoch:
            self.look = True
            return Offer.TAKEN
        if n.seq <= self.seq:
            return Offer.DUPLICATE
        if n.seq == self.seq + 1:
            self._advance(n)
            if self._held or self._lag:
                self._drain()
            return Offer.TAKEN
        return self._hold(n)

    def note(self, head: Position) -> None:
        """Hear where the store says that the log's head is."""
        if self.epoch is None or head.epoch != self.epoch or head.seq < self.seq:
            self.look = True
        else:
            self.known = max(self.known, head.seq)

    # -- who sits here ----------------------------------------------------------------------------

    def seat(self, registration: Registration) -> Seat:
        """Seat a registration, before the store is asked (PROTOCOL 3)."""
        seat = Seat(registration, self)
        self._wait(seat)
        return seat

    def placed(self, seat: Seat, head: Position) -> None:
        """Begin to serve a seat that has its position; `head` is its own answer of the store (PROTOCOL 3)."""
        if seat.state != JOINING:
            return
        self._stop_waiting(seat)
        if self.epoch is None:
            self._begin(head)
        self.note(head)
        self._enter_lag(seat)

    def leave(self, seat: Seat) -> None:
        """Remove a seat; what is on its way to it is not called any more (its registration is closed)."""
        state, seat.state = seat.state, LEFT
        if state in (JOINING, PARKED):
            self._stop_waiting(seat)
        elif state == LAGGING:
            self._leave_lag(seat)
        elif state == LIVE:
            self._drop_live(seat)
            if self._dead * 2 > len(self._live):
                self._sweep_live()

    def park(self, seat: Seat) -> None:
        """Stop serving a seat whose reader is slow; `resume` goes on from the log."""
        if seat.state == LIVE:
            seat.position = Position(self.epoch or "", self.seq)
            seat.state = PARKED
            self._drop_live(seat)
        elif seat.state == LAGGING:
            seat.state = PARKED
            self._leave_lag(seat)
        else:
            return
        self._wait(seat)

    def resume(self, seat: Seat) -> None:
        """Serve a parked seat again, from its position on."""
        if seat.state == PARKED:
            self._stop_waiting(seat)
            self._sweep_live()
            self._enter_lag(seat)

    def open_seats(self) -> list[Seat]:
        """Return all seats that have not left."""
        live = [seat for seat in self._live if seat.state == LIVE]
        return [*live, *self._lag, *(self._waiting or ())]

    def ring(self, n: Notification) -> int:
        """Call all who sit here with an ephemeral notification; return how many."""
        plain = not (n.keys or self._several or self._lag or self._waiting)
        if plain and self.epoch is not None:
            self._sweep_live()
            n = n.variant(replayed=False, positions=((self.key, self.epoch, self.seq),))
            self._outbox.append((self._live, len(self._live), n))
            return len(self._live)
        # A cursor that knows no position yet would mean "from now": who is still joining is not called.
        seats = [seat for seat in self.open_seats() if seat.state != JOINING and self._calls(seat, n)]
        for seat in seats:
            positions = seat.registration.places()
            self._outbox.append(((seat,), 1, n.variant(replayed=False, positions=positions)))
        return len(seats)

    def count(self, n: Notification) -> int:
        """Count the callbacks that have got this retained notification, or will."""
        if n.epoch == self.epoch and n.seq > self.seq and not (n.keys or self._lag or self._waiting):
            return len(self._live) - self._dead
        return sum(1 for seat in self.open_seats() if self._gets(seat, n))

    # -- the one fetch ----------------------------------------------------------------------------

    def plan(self) -> Plan:
        """Say what to read; `look` is cleared now, when the read is sent, not when it is answered (PROTOCOL 5)."""
        position = Position(self.epoch or "", self.seq)
        wanted = [seat.position for seat in self._lag if seat.position is not None]
        if self.look or self.known > self.seq or not wanted:
            wanted.append(position)
        low = min(wanted, key=self._how_far)
        self.look = False
        return Plan(
            after=None if low == START else low,
            seats={seat: seat.position for seat in self._lag},
            position=position,
            known=self.known,
        )

    def failed(self) -> None:
        """Hear that the read brought nothing: it is still owed."""
        self.look = True

    def judge(self, plan: Plan, page: Page, entries: Sequence[tuple[int, Notification | None]]) -> None:
        """Take a page: the only thing that changes the epoch or crosses a gap (PROTOCOL 4).

        `entries` are the page's, as (seq, notification), None for one that is not to be called.
        """
        bottom = Position(page.epoch, page.floor)
        top = Position(page.epoch, page.head)
        self._judge_track(plan, bottom, top)
        for seat in self._lag:
            if seat in plan.seats and plan.seats[seat] is seat.position:
                self._judge_seat(seat, bottom, top)
        for seq, n in entries:
            self._serve(page.epoch, seq, n)
        self.known = max(self.known, page.head)
        self._drain()
        self._disbelieve(plan, page)

    # -- inside -----------------------------------------------------------------------------------

    def _begin(self, head: Position) -> None:
        self.epoch, self.seq, self.known = head.epoch, head.seq, head.seq
        early, self._early = self._early, None
        for n in early or ():
            if n.epoch != head.epoch:
                self.look = True
            elif n.seq > head.seq:
                self._hold(n)

    def _keep_early(self, n: Notification) -> Offer:
        if self._early is None:
            self._early = []
        if len(self._early) >= MAX_HELD or self._held_bytes + len(n.raw) > MAX_HELD_BYTES:
            self.look = True
            return Offer.FULL
        self._held_bytes += len(n.raw)
        self._early.append(n)
        return Offer.TAKEN

    def _hold(self, n: Notification) -> Offer:
        self.known = max(self.known, n.seq)
        if self._held is None:
            self._held, self._held_bytes = {}, 0
        if n.seq in self._held:
            return Offer.DUPLICATE
        if len(self._held) >= MAX_HELD or self._held_bytes + len(n.raw) > MAX_HELD_BYTES:
            return Offer.FULL
        self._held_bytes += len(n.raw)
        self._held[n.seq] = n
        return Offer.TAKEN

    def _drain(self) -> None:
        self._promote()
        while self._held:
            n = self._held.pop(self.seq + 1, None)
            if n is None:
                break
            self._held_bytes -= len(n.raw)
            self._advance(n)
            self._promote()
        if not self._held:
            self._held = None

    def _advance(self, n: Notification) -> None:
        self.seq = n.seq
        self.known = max(self.known, n.seq)
        self._sweep_live()
        live = self._live
        if live:
            if n.keys or self._several or n.seq <= self._replay_until:
                for seat in live:
                    self._push(seat, n)
            else:
                self._outbox.append((live, len(live), n))

    def _push(self, seat: Seat, n: Notification) -> None:
        if not self._calls(seat, n):
            return
        registration = seat.registration
        several = len(registration.keys) > 1
        replayed = seat.replays(n.epoch, n.seq)
        if several or replayed:
            n = n.variant(replayed, registration.places() if several else None)
        self._outbox.append(((seat,), 1, n))

    def _promote(self) -> None:
        if not self._lag:
            return
        behind: list[Seat] = []
        for seat in self._lag:
            position = seat.position
            if position is not None and position.seq == self.seq and position.epoch == self.epoch:
                self._enter_live(seat)
            else:
                behind.append(seat)
        self._lag = tuple(behind)

    def _drop_live(self, seat: Seat) -> None:
        self._dead += 1
        self._several -= len(seat.registration.keys) > 1

    def _enter_lag(self, seat: Seat) -> None:
        seat.state = LAGGING
        self._lag += (seat,)
        self._drain()

    def _leave_lag(self, seat: Seat) -> None:
        self._lag = tuple(one for one in self._lag if one is not seat)

    def _enter_live(self, seat: Seat) -> None:
        seat.state = LIVE
        seat.position = None
        self._heed_limit(seat)
        if len(seat.registration.keys) > 1:
            self._several += 1
        self._live.append(seat)

    def _heed_limit(self, seat: Seat) -> None:
        limit = seat.limit
        if limit is not None and limit.epoch == self.epoch:
            self._replay_until = max(self._replay_until, limit.seq)

    def _sweep_live(self) -> None:
        # Events in the outbox point at this list: it only ever grows, and is replaced to be rid of who is not live.
        if self._dead:
            self._live = [seat for seat in self._live if seat.state == LIVE]
            self._dead = 0

    def _wait(self, seat: Seat) -> None:
        if self._waiting is None:
            self._waiting = {}
        self._waiting[seat] = None

    def _stop_waiting(self, seat: Seat) -> None:
        waiting = self._waiting or {}
        waiting.pop(seat, None)
        self._waiting = waiting or None

    def _how_far(self, position: Position) -> tuple[int, int]:
        if position == START:
            return (0, 0)
        return (1 if position.epoch != self.epoch else 2, position.seq)

    def _calls(self, seat: Seat, n: Notification) -> bool:
        return not n.keys or seat.registration.called_under(n.keys) == self.key

    def _gets(self, seat: Seat, n: Notification) -> bool:
        if not self._calls(seat, n):
            return False
        if seat.state == JOINING or n.epoch != self.epoch:
            return True
        position = seat.position
        if position is not None and (position.epoch != n.epoch or position.seq < n.seq):
            return True
        return seat.start < n.seq

    def _judge_track(self, plan: Plan, bottom: Position, top: Position) -> None:
        if bottom.epoch != self.epoch:
            self._jump(bottom, "restarted")
            self.known = top.seq
        elif self.seq < bottom.seq:
            self._jump(bottom, "trimmed")
        elif self.seq > top.seq and plan.position == Position(self.epoch, self.seq):
            self._jump(top, "restarted")
            self.known = top.seq

    def _jump(self, to: Position, reason: str) -> None:
        before = Position(self.epoch or "", self.seq)
        if to.epoch != self.epoch or to.seq < self.seq:
            self._held = None
            self._replay_until = 0
        self.epoch, self.seq = to.epoch, to.seq
        self.known = max(self.known, to.seq)
        self._sweep_live()
        for seat in self._live:
            seat.start = to.seq if to.epoch != before.epoch else min(seat.start, to.seq)
            self._heed_limit(seat)
            self._tell(seat, reason, before)
        if self._held:
            self._held = {seq: n for seq, n in self._held.items() if seq > to.seq} or None
        self._held_bytes = sum(len(n.raw) for n in (self._held or {}).values())
        self._drain()

    def _judge_seat(self, seat: Seat, bottom: Position, top: Position) -> None:
        position = seat.position
        if position is None or position == START:
            seat.position = bottom
            seat.start = bottom.seq
        elif position.epoch != bottom.epoch or position.seq > top.seq:
            to = bottom if position.epoch != bottom.epoch else top
            seat.position = to
            seat.start = to.seq
            self._tell(seat, "restarted", position)
        elif position.seq < bottom.seq:
            seat.position = bottom
            self._tell(seat, "trimmed", position)

    def _tell(self, seat: Seat, reason: str, before: Position) -> None:
        self._outbox.append(((seat,), 1, Gap(self.key, reason, seat.registration.places(), before)))

    def _serve(self, epoch: str, seq: int, n: Notification | None) -> None:
        here = Position(epoch, seq)
        for seat in self._lag:
            position = seat.position
            if position is not None and position.seq + 1 == seq and position.epoch == epoch:
                seat.position = here
                if n is not None:
                    self._push(seat, n)
        if seq == self.seq + 1:
            if n is None:
                self.seq = seq
            else:
                self._advance(n)
        self._drain()

    def _disbelieve(self, plan: Plan, page: Page) -> None:
        """Forget a head that a push named and the log, read after it, does not have."""
        if plan.position.epoch != page.epoch or plan.known != self.known:
            return
        known = max(page.head, self.seq)
        if self.known > known:
            self.known = known
            self._held = None
            self._held_bytes = 0
