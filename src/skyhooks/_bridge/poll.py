"""Long poll: a feed as one answer. Async, names no loop."""

from __future__ import annotations

import math

import msgspec

from .feed import Feed
from .messages import encode_message
from .options import CURSOR
from .refusals import Refused

POLL_SECONDS = 25.0
"""How long a poll waits that does not say: shorter than what proxies bear."""
MAX_POLL_SECONDS = 60.0
REPLAY_SECONDS = 3.0
"""How long even a poll waits that is not to wait, while the log may have something for it."""
REPLAY_STEP_SECONDS = 0.02
"""How often it looks whether the log has been read: that it had nothing wakes nobody."""


class PollAnswer(msgspec.Struct, frozen=True):
    """What a poll is answered."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...]


class _Body(msgspec.Struct, frozen=True):
    notifications: list[msgspec.Raw]
    cursor: str


async def poll(feed: Feed, seconds: float) -> PollAnswer:
    """Answer with what is there, or comes within so many seconds: 200 and a list, else 204."""
    items = await feed.next(seconds)
    left = REPLAY_SECONDS
    while not items and feed.is_behind and left > 0 and not feed.ended:
        items = await feed.next(REPLAY_STEP_SECONDS)
        left -= REPLAY_STEP_SECONDS
    headers = (("cache-control", "no-store"), (CURSOR, feed.cursor))
    if not items:
        return PollAnswer(204, b"", headers)
    body = _Body([msgspec.Raw(encode_message(item)) for item in items], feed.cursor)
    return PollAnswer(200, msgspec.json.encode(body), (("content-type", "application/json"), *headers))


def poll_seconds(asked: str | None) -> float | Refused:
    """Return how long to wait, 60 seconds at most."""
    if asked is None or not asked:
        return POLL_SECONDS
    try:
        seconds = float(asked)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        return Refused(400, "timeout")
    return min(seconds, MAX_POLL_SECONDS)
