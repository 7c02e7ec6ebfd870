"""A model of the logs that tracks are fed from: what a store keeps, and what it once kept."""

from __future__ import annotations

from itertools import count

from skyhooks._notification import Notification
from skyhooks._values import Entry, Page, Position

MARK = b"planted"
"""The MAC of an entry that no holder of the secret wrote."""


class Log:
    """One key's log; `history` remembers what was trimmed, by epoch and seq."""

    def __init__(self, key="k=a"):
        self.key = key
        self._epochs = count(1)
        self.epochs = []
        self.history = {}
        self.floors = {}
        self.restart()

    @property
    def epoch(self):
        return self.epochs[-1]

    @property
    def entries(self):
        return self.history[self.epoch]

    @property
    def floor(self):
        return self.floors[self.epoch]

    @property
    def head(self):
        return Position(self.epoch, len(self.entries))

    def at(self, seq):
        return Position(self.epoch, seq)

    def restart(self, *, keeping=False):
        """Begin a new epoch: empty, or with the same entries, as `renew_epochs` does."""
        epoch = f"{next(self._epochs):016x}"
        self.history[epoch] = list(self.entries) if keeping else []
        self.floors[epoch] = self.floor if keeping else 0
        self.epochs.append(epoch)

    def append(self, id, keys=(), mac=None):
        entry = Entry(len(self.entries) + 1, id, f'"{id}"'.encode(), 0.0, keys, mac=mac)
        self.entries.append(entry)
        return self.notification(self.epoch, entry)

    def trim(self, floor):
        self.floors[self.epoch] = min(max(self.floor, floor), len(self.entries))

    def read(self, after, limit=500):
        begin = self.floor
        if after is not None and after.epoch == self.epoch:
            begin = max(begin, after.seq)
        return Page(self.epoch, self.floor, len(self.entries), tuple(self.entries[begin : begin + limit]))

    def notification(self, epoch, entry):
        return Notification(entry.id, self.key, entry.keys, entry.data, entry.sent_at, epoch, entry.seq)

    def converted(self, page):
        """Return a page's entries as `Track.judge` takes them."""
        return [
            (entry.seq, None if entry.mac == MARK else self.notification(page.epoch, entry)) for entry in page.entries
        ]


def fetch(track, log, limit=500):
    """Do what the fetcher does, until nothing is owed; say how many pages it took."""
    for pages in range(200):
        if not track.needy:
            return pages
        plan = track.plan()
        page = log.read(plan.after, limit)
        track.judge(plan, page, log.converted(page))
    raise AssertionError(f"{track.key} needs ever more: known {track.known}, seq {track.seq}, look {track.look}")
