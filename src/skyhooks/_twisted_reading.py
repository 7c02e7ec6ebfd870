"""EventSource and long poll as resources of twisted.web."""

from __future__ import annotations

import random
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

from ._bridge import Refused
from ._bridge_events import HEADERS, EventName, event_stream
from ._bridge_feed import Feed
from ._bridge_poll import poll, poll_seconds
from ._twisted_bridge import Bridge, KeysOf
from ._twisted_visit import Visit

if TYPE_CHECKING:
    from ._twisted_registry import Registry


class EventSource(Bridge):
    """Server-sent events: `root.putChild(b"events", EventSource(registry, keys=keys))`.

    `keys(request)` returns the mapping of keys that this request may have, a Deferred or a coroutine of it, or refuses
    by raising `twisted.web.error.Error(401)`, `(403)` or `PermissionError`. `event` names the events: a name, or a
    function of the notification; without it a page hears them as `message`. `origins` are the other sites whose pages
    may connect.

    A client that has not read what it was sent for two times `comment_seconds` is closed; it comes again by itself, with
    its cursor.
    """

    def __init__(self, registry: Registry, *, keys: KeysOf, event: EventName = None, **options: Any) -> None:
        super().__init__(registry, keys=keys, **options)
        self._event = event

    async def _answer(self, visit: Visit, feed: Feed) -> None:
        visit.head(200, *HEADERS)
        visit.begin()
        async with aclosing(event_stream(feed, self._options, random.random, self._event)) as blocks:
            async for block in blocks:
                visit.request.write(block)
                if not await visit.written(self._options.stall_seconds):
                    visit.closing = True
                    visit.abort()
                    return
        visit.end()


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
