"""A registration that is read instead of called: bounded, and lossless, since the log keeps what it puts off."""

from __future__ import annotations

from collections.abc import Callable

from ._notification import Gap, Notification
from ._registration import PARKED, Registration, Seat
from ._track import Track
from ._values import Position

MAX_PENDING_BYTES = 1_048_576


class Stream:
    """What a slow reader has not read yet, `max_pending` items and 1 MiB at most.

    Beyond that its seats are parked; once half of it is read they are served again, from the log, from the first item
    that found no room. So a reader is told a gap only where the log has let go of what it put off.

    With `latest` a reader that is too slow is skipped ahead: of each key only the newest notification waits for it, within
    the same bounds.

    `afterwards` does something once no call is under way: what was on its way to a parked seat must have been put off
    before that seat is served again, or it would come twice.
    """

    __slots__ = (
        "_afterwards",
        "_attend",
        "_bytes",
        "_latest",
        "_max_pending",
        "_pending",
        "_put_off",
        "ended",
        "registration",
        "wake",
    )

    def __init__(
        self,
        max_pending: int,
        attend: Callable[[Track], None],
        afterwards: Callable[[Callable[[], None]], None],
        *,
        latest: bool = False,
    ) -> None:
        self.registration: Registration | None = None
        self.ended = False
        self.wake: Callable[[], None] = lambda: None
        """Called whenever there is something new to see; the adapter's reader sets it."""
        self._max_pending = max_pending
        self._latest = latest
        self._attend = attend
        self._afterwards = afterwards
        self._pending: list[Notification | Gap] | None = None  # most streams are idle; an empty deque takes 760 bytes
        self._bytes = 0
        self._put_off: set[str] | None = None

    @property
    def pending(self) -> bool:
        """Whether `take` has something to give."""
        return bool(self._pending)

    def push(self, what: Notification | Gap) -> None:
        """Take what the registration is called with."""
        if self._put_off is not None:
            self._put_back(what)
            return
        if self._latest:
            self._drop_outdated(what)
        if self._has_room(what):
            self._append(what)
        elif _is_kept(what):
            self._park()
            self._put_back(what)

    def take(self) -> Notification | Gap:
        """Give the oldest item to the reader."""
        what = (self._pending or []).pop(0)
        self._bytes -= _size(what)
        if self._put_off is not None and self._is_half_read():
            self._afterwards(self._resume)
        return what

    def take_all(self) -> list[Notification | Gap]:
        """Give all there is to the reader, oldest first."""
        items, self._pending = self._pending or [], None
        self._bytes = 0
        if self._put_off is not None:
            self._afterwards(self._resume)
        return items

    def end(self) -> None:
        """Let the reader come to an end once it has read what is pending."""
        self.ended = True
        self.wake()

    def _drop_outdated(self, what: Notification | Gap) -> None:
        # A registration has few keys, so few items wait, and looking through them is cheaper than an index.
        pending = self._pending or []
        for waiting in [waiting for waiting in pending if _outdates(what, waiting)]:
            pending.remove(waiting)
            self._bytes -= _size(waiting)

    def _append(self, what: Notification | Gap) -> None:
        self._bytes += _size(what)
        if self._pending is None:
            self._pending = [what]
        else:
            self._pending.append(what)
        self.wake()

    def _has_room(self, what: Notification | Gap) -> bool:
        pending = self._pending
        return not pending or (len(pending) < self._max_pending and self._bytes + _size(what) <= MAX_PENDING_BYTES)

    def _is_half_read(self) -> bool:
        return len(self._pending or ()) * 2 <= self._max_pending and self._bytes * 2 <= MAX_PENDING_BYTES

    def _park(self) -> None:
        self._put_off = set()
        for seat in self.seats:
            seat.track.park(seat)

    def _put_back(self, what: Notification | Gap) -> None:
        # Of each key the first item that found no room says where to go on; those behind it come again by themselves.
        put_off = self._put_off
        if put_off is None or what.key in put_off or not _is_kept(what):
            return
        put_off.add(what.key)
        before = what.before if isinstance(what, Gap) else Position(what.epoch, what.seq - 1)
        for seat in self.seats:
            if seat.track.key == what.key:
                seat.position = before

    def _resume(self) -> None:
        self._put_off = None
        for seat in self.seats:
            if seat.state == PARKED:
                seat.track.resume(seat)
                self._attend(seat.track)

    @property
    def seats(self) -> tuple[Seat, ...]:
        """The seats of the registration that is read."""
        return self.registration.seats if self.registration else ()


def _size(what: Notification | Gap) -> int:
    return len(what.raw) if isinstance(what, Notification) else 0


def _is_kept(what: Notification | Gap) -> bool:
    # An ephemeral notification has no place in the log: a reader that is too slow for it has missed it.
    return isinstance(what, Gap) or what.seq > 0


def _outdates(what: Notification | Gap, waiting: Notification | Gap) -> bool:
    # What is in the log is newer than all before it; a gap or what is ephemeral says nothing of what was in the log.
    if what.key != waiting.key:
        return False
    if isinstance(what, Gap) or what.seq == 0:
        return type(what) is type(waiting) and not (isinstance(waiting, Notification) and waiting.seq > 0)
    return True
