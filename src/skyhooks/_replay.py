"""Replay windows: which deliveries an instance has had (PROTOCOL 22). Bounded in senders, ids and bytes."""

from __future__ import annotations

import enum
import re
from collections import OrderedDict, deque
from typing import ClassVar

WINDOW = 1024
"""Deliveries of one sender, back from its highest counter."""
MAX_ANSWERS = 32
"""Answers kept of one sender."""
MAX_ANSWER_BYTES_KEPT = 16_777_216
"""Of all senders together."""
MAX_SENDERS = 65_536
KEEP_SECONDS = 600.0
"""Twice the tolerance: a timestamp from 300 s ahead goes stale only then."""

_OURS = re.compile(r"([0-9a-f]{32})-(0|[1-9][0-9]{0,17})\Z")
_MASK = (1 << WINDOW) - 1


def split(webhook_id: str) -> tuple[str, int] | None:
    """Split `<sender>-<counter>`; None: a foreign id, to be judged as a whole.

    Ours are exactly 32 lower-case hexadecimal digits, a dash, and a decimal number below 10**18 without leading zeros.
    Anything else is foreign: `task-17` after `task-2000` is new, not old.
    """
    match = _OURS.match(webhook_id)
    return (match[1], int(match[2])) if match else None


class Replay:
    """What is known of a delivery: `FRESH`, `REPEATED`, or repeated with the answer that it got."""

    FRESH: ClassVar[Replay]
    REPEATED: ClassVar[Replay]
    """It was had, or is too old to tell: answer its items as duplicates."""

    __slots__ = ("answer",)

    def __init__(self, answer: bytes | None = None) -> None:
        self.answer = answer


Replay.FRESH = Replay()
Replay.REPEATED = Replay()


class _Window:
    """One sender: bit n of `bits` says that `highest - n` was had."""

    __slots__ = ("answered", "bits", "heard_at", "highest")

    def __init__(self) -> None:
        self.highest = -1
        self.bits = 0
        self.heard_at = 0.0
        self.answered: deque[int] = deque()

    def has(self, counter: int) -> bool:
        back = self.highest - counter
        return back >= WINDOW or (back >= 0 and bool(self.bits >> back & 1))

    def add(self, counter: int) -> None:
        ahead = counter - self.highest
        if ahead > 0:
            self.bits = ((self.bits << ahead) & _MASK if ahead < WINDOW else 0) | 1
            self.highest = counter
        else:
            self.bits |= 1 << -ahead


class SenderWindows:
    """The deliveries of our own senders, each judged by its own counter.

    Only who holds a key of this instance gets here, so the bounds stand against many short-lived jobs rather than
    against forgers. Past 65 536 senders within 600 s the one unheard for longest is forgotten early: at worst one of its
    ephemeral deliveries could be replayed, while `seq` goes on guarding what is retained. Past 16 MiB of answers the oldest
    are dropped: their deliveries are then answered as duplicates.
    """

    def __init__(self) -> None:
        self._windows: OrderedDict[str, _Window] = OrderedDict()
        self._answers: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._answer_bytes = 0

    def __len__(self) -> int:
        return len(self._windows)

    def seen(self, sender: str, counter: int, now: float) -> Replay:
        """Say what is known of a verified delivery; `now` in monotonic seconds."""
        self._forget_stale(now)
        window = self._windows.get(sender)
        if window is None or not window.has(counter):
            return Replay.FRESH
        self._touch(sender, window, now)
        answer = self._answers.get((sender, counter))
        return Replay.REPEATED if answer is None else Replay(answer)

    def remember(self, sender: str, counter: int, answer: bytes, now: float) -> None:
        """Note a delivery and its answer. Of one that was had already nothing changes."""
        window = self._windows.get(sender)
        if window is None:
            window = self._windows[sender] = _Window()
        self._touch(sender, window, now)
        if not window.has(counter):
            window.add(counter)
            self._keep_answer(sender, window, counter, answer)
        if len(self._windows) > MAX_SENDERS:
            self._forget_oldest()

    def _touch(self, sender: str, window: _Window, now: float) -> None:
        # Also for a repetition: it may be a retry with a fresh timestamp, which can be replayed for as long again.
        window.heard_at = now
        self._windows.move_to_end(sender)

    def _keep_answer(self, sender: str, window: _Window, counter: int, answer: bytes) -> None:
        if len(window.answered) == MAX_ANSWERS:
            self._drop_answer(sender, window.answered.popleft())
        window.answered.append(counter)
        self._answers[sender, counter] = answer
        self._answer_bytes += len(answer)
        while self._answer_bytes > MAX_ANSWER_BYTES_KEPT:
            _, dropped = self._answers.popitem(last=False)
            self._answer_bytes -= len(dropped)

    def _drop_answer(self, sender: str, counter: int) -> None:
        self._answer_bytes -= len(self._answers.pop((sender, counter), b""))

    def _forget_stale(self, now: float) -> None:
        while self._windows and now - next(iter(self._windows.values())).heard_at > KEEP_SECONDS:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        sender, window = self._windows.popitem(last=False)
        for counter in window.answered:
            self._drop_answer(sender, counter)


class Admission(enum.Enum):
    """What a window says of a foreign id."""

    FRESH = "fresh"
    SEEN = "seen"
    FULL = "full"


class ForeignWindow:
    """The ids of other senders, each as a whole. A full window admits nothing new rather than forget."""

    def __init__(self, capacity: int = 100_000, keep_seconds: float = KEEP_SECONDS) -> None:
        self._capacity = capacity
        self._keep_seconds = keep_seconds
        self._heard_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._heard_at)

    def admit(self, webhook_id: str, now: float) -> Admission:
        """Judge a verified id and remember it; `now` in monotonic seconds."""
        heard_at = self._heard_at
        while heard_at and now - next(iter(heard_at.values())) > self._keep_seconds:
            heard_at.popitem(last=False)
        if webhook_id in heard_at:
            heard_at[webhook_id] = now
            heard_at.move_to_end(webhook_id)
            return Admission.SEEN
        if len(heard_at) >= self._capacity:
            return Admission.FULL
        heard_at[webhook_id] = now
        return Admission.FRESH
