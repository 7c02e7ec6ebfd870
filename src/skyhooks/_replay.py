"""Which deliveries have been here before (PROTOCOL 22). Bounded in memory; the clock is an argument."""

from __future__ import annotations

import enum
import re
from collections import OrderedDict
from dataclasses import dataclass

WINDOW = 1024
ANSWERS = 32
KEEP_SECONDS = 600.0
"""Longer than a signature's timestamp is fresh, before and behind: what is older than this verifies no more."""
MAX_SENDERS = 10_000
MAX_FOREIGN = 100_000

_OURS = re.compile(r"([0-9a-f]{32})-(0|[1-9][0-9]{0,18})\Z")


def split(webhook_id: str) -> tuple[str, int] | None:
    """Return sender and counter of an id that one of our senders made; ids of any other shape are foreign.

    A sender is 32 hexadecimal digits; so `task-17` is foreign, and not older than `task-2000`.
    """
    match = _OURS.match(webhook_id)
    return (match[1], int(match[2])) if match else None


@dataclass(frozen=True, slots=True)
class Replay:
    """What is known of a delivery."""

    fresh: bool
    answer: bytes | None = None
    """What was answered the first time, of the last 32."""


FRESH = Replay(fresh=True)
SEEN = Replay(fresh=False)


class _Window:
    __slots__ = ("answers", "highest", "last_heard", "seen")

    def __init__(self) -> None:
        self.highest = -1
        self.seen = 0
        self.answers: OrderedDict[int, bytes] = OrderedDict()
        self.last_heard = 0.0

    def has(self, counter: int) -> bool:
        age = self.highest - counter
        return age >= 0 and (age >= WINDOW or bool(self.seen >> age & 1))

    def add(self, counter: int, answer: bytes) -> None:
        ahead = counter - self.highest
        if ahead > 0:
            self.seen = ((self.seen << ahead) & ((1 << WINDOW) - 1) if ahead < WINDOW else 0) | 1
            self.highest = counter
        else:
            self.seen |= 1 << -ahead
        self.answers[counter] = answer
        if len(self.answers) > ANSWERS:
            self.answers.popitem(last=False)


class SenderWindows:
    """For each of our senders the highest counter, a window of 1024 below it, and the last 32 answers.

    A sender is forgotten 600 s after it was last heard of. Beyond 10 000 senders the one that was silent longest goes
    first: only holders of this instance's key get here, and retained notifications are told apart by their seq anyway.
    """

    def __init__(self) -> None:
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def seen(self, sender: str, counter: int, now: float) -> Replay:
        """Say what is known of a delivery."""
        self._forget(now)
        window = self._windows.get(sender)
        if window is None or not window.has(counter):
            return FRESH
        answer = window.answers.get(counter)
        return SEEN if answer is None else Replay(fresh=False, answer=answer)

    def remember(self, sender: str, counter: int, answer: bytes, now: float) -> None:
        """Take note of a delivery, and of what it was answered."""
        window = self._windows.setdefault(sender, _Window())
        window.add(counter, answer)
        window.last_heard = now
        self._windows.move_to_end(sender)

    def _forget(self, now: float) -> None:
        while self._windows:
            oldest = next(iter(self._windows.values()))
            if oldest.last_heard + KEEP_SECONDS > now and len(self._windows) <= MAX_SENDERS:
                return
            self._windows.popitem(last=False)


class Admission(enum.Enum):
    """What becomes of a foreign id."""

    FRESH = "fresh"
    SEEN = "seen"
    FULL = "full"
    """There is no room to remember it, so it is not taken: forgetting another would let that one in twice."""


class ForeignWindow:
    """Whole ids of deliveries that others made, whatever their shape, for 600 s."""

    def __init__(self, capacity: int = MAX_FOREIGN, keep_seconds: float = KEEP_SECONDS) -> None:
        self._capacity = capacity
        self._keep_seconds = keep_seconds
        self._until: OrderedDict[str, float] = OrderedDict()

    def admit(self, webhook_id: str, now: float) -> Admission:
        """Say whether an id is new, and remember it if it is."""
        while self._until and next(iter(self._until.values())) <= now:
            self._until.popitem(last=False)
        if webhook_id in self._until:
            return Admission.SEEN
        if len(self._until) >= self._capacity:
            return Admission.FULL
        self._until[webhook_id] = now + self._keep_seconds
        return Admission.FRESH
