"""Which registrations a process has, by key: says when a key becomes wanted and when it stops being so. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ._registration import JOINING, Registration
from ._track import Outbox, Track


class Callbacks:
    """The tracks of all keys that somebody in this process wants."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._tracks: dict[str, Track] = {}
        self._rotation: list[str] = []

    def __len__(self) -> int:
        return len(self._tracks)

    def __iter__(self) -> Iterator[Track]:
        return iter(self._tracks.values())

    def get(self, key: str) -> Track | None:
        """Return a key's track, if the key is wanted."""
        return self._tracks.get(key)

    def add(self, registration: Registration) -> None:
        """Seat a registration at each of its keys."""
        seats = []
        for key in registration.keys:
            track = self._tracks.get(key)
            if track is None:
                track = self._tracks[key] = Track(key, self._outbox)
            seats.append(track.seat(registration))
        registration.seats = tuple(seats)

    def holds(self, registration: Registration) -> bool:
        """Tell whether a registration was added here."""
        return all(self._tracks.get(seat.track.key) is seat.track for seat in registration.seats)

    def discard(self, registration: Registration) -> list[str]:
        """Unseat a registration, at once and for good; return the keys that nobody wants any more."""
        registration.closed = True
        unwanted = []
        for seat in registration.seats:
            track = seat.track
            track.leave(seat)
            if not track.wanted and self._tracks.get(track.key) is track:
                del self._tracks[track.key]
                unwanted.append(track.key)
        return unwanted

    def close(self) -> None:
        """Unseat everybody: whatever is still under way calls nobody."""
        for track in list(self):
            for seat in track.open_seats():
                self.discard(seat.registration)

    def rotate(self, count: int) -> list[str]:
        """Return the next `count` wanted keys of a round through all of them (PROTOCOL 14)."""
        if not self._rotation:
            self._rotation = list(self._tracks)
        keys, self._rotation = self._rotation[-count:], self._rotation[:-count]
        return [key for key in keys if key in self._tracks]

    def registrations(self, keys: Sequence[str]) -> list[Registration]:
        """Return the registrations that hold any of these keys, each once; not those that are still joining."""
        found: dict[int, Registration] = {}
        for key in keys:
            track = self._tracks.get(key)
            for seat in track.open_seats() if track else ():
                if seat.state != JOINING:
                    found.setdefault(id(seat.registration), seat.registration)
        return list(found.values())
