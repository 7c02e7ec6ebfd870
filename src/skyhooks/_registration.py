"""A registration, and its seats: one for each of its keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ._cursor import encode_cursor
from ._values import Position

if TYPE_CHECKING:
    from ._track import Track
    from .abc import Callback, GapCallback

START = Position("0" * 16, 0)
"""Where a seat begins that is to get all that is still kept; no log has this epoch, so a cursor can say it too."""

JOINING, LAGGING, LIVE, PARKED, LEFT = range(5)


class Seat:
    """One registration at one key: where it is in that key's log.

    JOINING: the store has not answered yet. LAGGING: at its own `position`, to be served from the log. LIVE: where
    its track is. PARKED: at its own `position`, and not to be served for now. LEFT: out.
    """

    __slots__ = ("limit", "position", "registration", "start", "state", "track")

    def __init__(self, registration: Registration, track: Track) -> None:
        self.registration = registration
        self.track = track
        self.state = JOINING
        self.position: Position | None = None
        self.start = 0
        """seq behind which this seat began, in the epoch where its track is now."""
        self.limit: Position | None = None
        """The log's head when the registration was made: up to there, notifications are replayed."""

    def place(self) -> tuple[str, str, int] | None:
        """Return (key, epoch, seq) of what this seat has behind it; None until the store has answered."""
        track = self.track
        if self.state == LIVE:
            return (track.key, track.epoch or "", track.seq)
        position = self.position
        return None if position is None else (track.key, position.epoch, position.seq)

    def replays(self, epoch: str, seq: int) -> bool:
        """Tell whether this entry was in the log before the registration was made."""
        limit = self.limit
        return limit is not None and limit.epoch == epoch and seq <= limit.seq


class Registration:
    """One callback bound to one or more keys in one process; give it back with `unregister`."""

    __slots__ = ("callback", "closed", "keys", "on_gap", "seats")

    def __init__(self, keys: tuple[str, ...], callback: Callback, on_gap: GapCallback | None) -> None:
        self.keys = keys
        self.callback = callback
        self.on_gap = on_gap
        self.closed = False
        self.seats: tuple[Seat, ...] = ()

    def begin(self, heads: Mapping[str, Position], since: Mapping[str, Position | None]) -> None:
        """Give each seat its position by the store's answer: the head, or where it wants to begin (PROTOCOL 3).

        All of them before the first is served, since what it is served carries the positions of all.
        """
        for seat in self.seats:
            key = seat.track.key
            seat.limit = heads[key]
            seat.position = since.get(key) or seat.limit
            seat.start = seat.position.seq
        for seat in self.seats:
            seat.track.placed(seat, heads[seat.track.key])

    @property
    def cursor(self) -> str:
        """Where this registration is now, in all its keys."""
        return encode_cursor(self.places())

    def places(self) -> tuple[tuple[str, str, int], ...]:
        """Return (key, epoch, seq) of every seat; of none until the store has answered."""
        return tuple(place for seat in self.seats if (place := seat.place()) is not None)

    def called_under(self, keys: tuple[str, ...]) -> str | None:
        """Return the key under which a notification to these keys calls: the first that this one holds (PROTOCOL 9)."""
        held = self.keys
        for key in keys:
            if key in held:
                return key
        return None

    def __repr__(self) -> str:
        return f"Registration(keys={list(self.keys)!r}, closed={self.closed})"
