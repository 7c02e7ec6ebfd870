"""Long poll as a resource of twisted.web."""

from __future__ import annotations

from typing import cast

from .._bridge.feed import Feed
from .._bridge.poll import poll, poll_seconds
from .._bridge.refusals import Refused
from ._bridge import Bridge
from ._visit import Visit


class LongPoll(Bridge):
    """Polls that wait: `root.putChild(b"poll", LongPoll(registry, keys=keys))`; `keys` as `EventSource` has it.

    `?since=` is the cursor of the last answer, `?timeout=` for how many seconds to wait.
    """

    def _judge(self, visit: Visit) -> Refused | None:
        seconds = self._seconds(visit)
        return seconds if isinstance(seconds, Refused) else None

    async def _answer(self, visit: Visit, feed: Feed) -> None:
        answer = await poll(feed, cast("float", self._seconds(visit)))  # it was judged before
        visit.head(answer.status, *answer.headers)
        visit.finish(answer.body)

    def _seconds(self, visit: Visit) -> float | Refused:
        return poll_seconds(visit.argument("timeout"))
