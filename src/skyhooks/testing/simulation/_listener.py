"""One registration under observation: judges every call it gets, as it gets it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..._notification import Gap, Notification
from ..._registration import START, Registration
from ..._values import Entry, Position

if TYPE_CHECKING:
    from ..._stream import Stream
    from ._web import Web

Place = tuple[str, int]


class Listener:
    """A callback bound to keys: where it is in each key's log, by what it has been told."""

    def __init__(self, web: Web, name: str, keys: tuple[str, ...], since: str | None, places: dict[str, Place]) -> None:
        self.web = web
        self.name = name
        self.keys = keys
        nowhere = (START.epoch, START.seq)
        self.from_start = {key for key in keys if since == "start" or places.get(key) == nowhere}
        """Keys of which it wants all that is kept."""
        self.places: dict[str, Place | None] = {
            key: None if key in self.from_start else places.get(key) for key in keys
        }
        self.heads_before = self._heads()
        self.lives_before = self._lives()
        self.lives_after: dict[str, int] = {}
        self.heads_after: dict[str, Position | None] | None = None
        self.registration: Registration | None = None
        self.stream: Stream | None = None
        self.opened_at = web.world.moment()
        self.returned_at: int | None = None
        self.closed_at: int | None = None
        self.cursor: str | None = since if since != "start" else None
        self.got: set[tuple[str, str]] = set()
        """Ids and keys of what it was called with; no key for an ephemeral one."""
        self.seen: set[tuple[str, str, int]] = set()
        self.on_call: Callable[[Notification | Gap], None] | None = None

    @property
    def open(self) -> bool:
        """Whether its `register` has returned, and it has not been closed since."""
        return self.returned_at is not None and self.closed_at is None

    def returned(self, registration: Registration) -> None:
        """Note that `register` has returned: everything behind the store's own answer is owed."""
        self.registration = registration
        self.lives_after = self._lives()
        now = self._heads()
        self.heads_after = {}
        for seat in registration.seats:
            key, head = seat.track.key, seat.limit
            if head is None or not self._is_answer(key, head, now[key]):
                self.web.world.violate(f"{self.name} begins at {head} of {key}, which was no head while it registered")
            self.heads_after[key] = head
        self.returned_at = self.web.world.moment()

    def close(self) -> None:
        """Note that from now on nothing may be called."""
        if self.closed_at is None:
            self.closed_at = self.web.world.moment()

    def called(self, what: Notification | Gap) -> None:
        """Judge a call."""
        world = self.web.world
        if world.trace is not None:
            world.log(self.web.name, f"{self.name} <- {_told(what)}")
        if self.closed_at is not None:
            world.violate(f"{self.name} was called with {_told(what)} after it was closed")
        elif what.key not in self.places:
            world.violate(f"{self.name} was called for {what.key}, which it does not hold")
        elif isinstance(what, Gap):
            self._take_gap(what)
        elif what.seq:
            self._take(what)
        else:
            self._take_ephemeral(what)
        if self.on_call is not None:
            self.on_call(what)

    def owed(self, key: str) -> list[int]:
        """Return the seqs of what the log keeps and this one has not been told of; [0]: an epoch change untold."""
        record = self.web.world.server.records.get(key)
        if record is None:
            return [0]
        place = self.places[key]
        if place is None:
            place = self._promised_start(key, record.epoch, record.floor)
        if place is None or place[0] != record.epoch:
            return [0]
        log = self.web.world.server.history[key, record.epoch]
        return [seq for seq in range(place[1] + 1, record.seq + 1) if self._is_owed(key, log[seq - 1])]

    # -- inside --------------------------------------------------------------------------------------

    def _heads(self) -> dict[str, Position | None]:
        return {key: self.web.world.server.head(key) for key in self.keys}

    def _is_answer(self, key: str, head: Position, now: Position | None) -> bool:
        """Tell whether this was the log's head at some time since `register` was called."""
        before = self.heads_before[key]
        if not self._was_between(key, head.epoch):
            return False
        low = before.seq if before is not None and before.epoch == head.epoch else 0
        high = now.seq if now is not None and now.epoch == head.epoch else head.seq
        return low <= head.seq <= high or head.epoch in self.web.world.server.rewound

    def _lives(self) -> dict[str, int]:
        return {key: len(self.web.world.server.lives.get(key, ())) for key in self.keys}

    def _promised_start(self, key: str, epoch: str, floor: int) -> Place | None:
        """Behind which place everything is owed to one that has been told nothing yet."""
        if key in self.from_start:
            return (epoch, floor)
        after = self.heads_after[key] if self.heads_after else None
        return None if after is None else (after.epoch, after.seq)

    def _take(self, n: Notification) -> None:
        world = self.web.world
        log = world.server.history.get((n.key, n.epoch), [])
        if len(log) < n.seq or (log[n.seq - 1].id, log[n.seq - 1].data) != (n.id, n.raw):
            world.violate(f"{self.name} was called with {_told(n)}, which is not in the log")
            return
        if sender_of(log[n.seq - 1].nonce) in world.strangers:
            world.violate(f"{self.name} was called with {_told(n)}, which a stranger wrote")
        if not self._is_mine(n.key, n.keys):
            world.violate(f"{self.name} was called under {n.key} with {_told(n)}, whose first key here is another")
        if (n.key, n.epoch, n.seq) in self.seen and n.epoch not in world.server.rewound:
            world.violate(f"{self.name} was called twice with {_told(n)}")
        self.seen.add((n.key, n.epoch, n.seq))
        self._check_step(n.key, n.epoch, n.seq - 1, _told(n))
        head = self.heads_after[n.key] if self.heads_after else None
        if head is not None and n.replayed is not (head.epoch == n.epoch and n.seq <= head.seq):
            known = "is" if n.replayed else "is not"
            world.violate(
                f"{self.name}: {_told(n)} {known} called replayed, and the head was {head.seq} at registering"
            )
        self.places[n.key] = (n.epoch, n.seq)
        self._check_cursor(n.key, (n.epoch, n.seq), n)
        self.got.add((n.id, n.key))

    def _take_gap(self, gap: Gap) -> None:
        world = self.web.world
        key = gap.key
        after = next(((epoch, seq) for name, epoch, seq in gap._positions if name == key), None)
        place, before = self.places[key], (gap.before.epoch, gap.before.seq)
        if after is None:
            world.violate(f"{self.name} was told a gap without a place behind it")
            return
        if place is None and key in self.from_start and gap.before == START:
            world.violate(f"{self.name} was told a gap at the beginning")
            return
        self._check_step(key, gap.before.epoch, gap.before.seq, _told(gap))
        if not self._is_gap(key, before, after):
            world.violate(f"{self.name} was told a needless gap: {_told(gap)} from {before} to {after}")
        self.places[key] = after
        self._check_cursor(key, after, gap)

    def _take_ephemeral(self, n: Notification) -> None:
        if (n.id, "") in self.got:
            self.web.world.violate(f"{self.name} was called twice with the ephemeral {n.id}")
        if n.keys and not self._is_mine(n.key, n.keys):
            self.web.world.violate(f"{self.name} was called under {n.key}, though it holds an earlier one of {n.keys}")
        self.got.add((n.id, ""))
        self.cursor = n.cursor

    def _check_step(self, key: str, epoch: str, seq: int, what: str) -> None:
        """Check that `seq` is where this listener is, but for entries that others of its keys are called with."""
        place = self.places[key]
        world = self.web.world
        if place is None:
            problem = self._start_problem(key, epoch, seq)
            if problem:
                world.violate(f"{self.name}: {what}: {problem}")
        elif place[0] != epoch:
            # A log whose epochs were renewed is another log: only a gap leads there.
            world.violate(f"{self.name}: {what} is of another epoch than {place}, and no gap was told")
        elif seq < place[1]:
            world.violate(f"{self.name}: {what} comes again or out of order, it is at {place[1]}")
        elif not self._skippable(key, epoch, place[1], seq):
            world.violate(f"{self.name}: {what} leaves out what is behind {place[1]}, and no gap was told")

    def _start_problem(self, key: str, epoch: str, seq: int) -> str:
        if key in self.from_start:
            floor = self.web.world.server.floors.get((key, epoch), 0)
            return "" if self._skippable(key, epoch, floor, seq) else f"what is behind the floor {floor} was left out"
        after = self.heads_after[key] if self.heads_after else None
        if after is not None:
            if after.epoch != epoch:
                return "it is of another epoch, and no gap was told"
            if seq < after.seq:
                return f"it was published before registering, when the head was {after.seq}"
            return "" if self._skippable(key, epoch, after.seq, seq) else f"what is behind {after.seq} was left out"
        before = self.heads_before[key]
        if before is not None and before.epoch == epoch and seq < before.seq:
            return f"it was published before registering, when the head was {before.seq}"
        return ""

    def _was_between(self, key: str, epoch: str) -> bool:
        """Tell whether an epoch that was neither before nor after registering may have been in between."""
        lives = self.web.world.server.lives.get(key, [])
        return epoch in lives[max(0, self.lives_before[key] - 1) : self.lives_after[key]]

    def _skippable(self, key: str, epoch: str, low: int, high: int) -> bool:
        if high <= low:
            return True
        log = self.web.world.server.history.get((key, epoch), [])
        return len(log) >= high and not any(self._is_owed(key, log[seq - 1]) for seq in range(low + 1, high + 1))

    def _is_owed(self, key: str, entry: Entry) -> bool:
        return self._is_mine(key, entry.keys) and sender_of(entry.nonce) not in self.web.world.strangers

    def _is_mine(self, key: str, keys: tuple[str, ...]) -> bool:
        if not keys:
            return True
        return next(one for one in keys if one in self.places) == key

    def _is_gap(self, key: str, before: Place, after: Place) -> bool:
        server = self.web.world.server
        if before[0] != after[0]:
            lives = server.lives.get(key, [])
            return before[0] in lives and after[0] in lives and lives.index(before[0]) < lives.index(after[0])
        if after[1] > before[1]:
            return after[1] <= server.floors[key, after[0]]
        return after[1] < before[1] and after[0] in server.rewound

    def _check_cursor(self, key: str, place: Place, what: Notification | Gap) -> None:
        own: Place | None = place
        positions = what._positions
        if positions is None:
            self.cursor = what.cursor
            return
        told = {name: (epoch, seq) for name, epoch, seq in positions}
        if told.get(key) != own:
            self.web.world.violate(f"{self.name}: the cursor of {_told(what)} is at {told.get(key)}")
        for name, other in told.items():
            if name != key:
                self._check_other(name, other, what)
        self.cursor = what.cursor

    def _check_other(self, key: str, told: Place, what: Notification | Gap) -> None:
        place = self.places[key]
        if place is None and key in self.from_start and told == (START.epoch, START.seq):
            problem = ""
        elif place is None:
            problem = self._start_problem(key, *told)
        elif place[0] != told[0] or told[1] < place[1] or not self._skippable(key, told[0], place[1], told[1]):
            problem = f"is at {place}"
        else:
            problem = ""
        if problem:
            self.web.world.violate(f"{self.name}: the cursor of {_told(what)} says {told} for {key}, but {problem}")


def sender_of(nonce: str) -> str:
    """Return which notifier drew a nonce."""
    return nonce.partition(".")[0]


def _told(what: Notification | Gap) -> str:
    if isinstance(what, Gap):
        return f"gap({what.key}, {what.reason})"
    return f"{what.key}@{what.epoch[:4]}:{what.seq} {what.id[-6:]}{' replayed' if what.replayed else ''}"
