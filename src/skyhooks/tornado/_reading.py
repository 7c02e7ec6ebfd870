"""EventSource and long poll as Tornado's handlers."""

from __future__ import annotations

import random
from contextlib import aclosing
from typing import Any, cast

from tornado.http1connection import HTTP1Connection

from .._bridge.events import HEADERS, EventName, event_stream
from .._bridge.feed import Feed
from .._bridge.options import since_of
from .._bridge.poll import poll, poll_seconds
from .._bridge.refusals import Refused
from ._bridge import Bridge


class _Reading(Bridge):
    """A bridge over plain HTTP: a GET that is answered for as long as the feed is read."""

    async def get(self, *args: str, **kwargs: str) -> None:  # noqa: ARG002  # groups of the route
        """Ask for the keys, open the feed, answer."""
        keys = await self._allowed()
        if keys is None or self._left.done():
            return
        since = since_of(self.request.headers.get("Last-Event-ID"), self.get_query_argument("since", None))
        feed = await self._open_feed(keys, since)
        try:
            if isinstance(feed, Refused):
                self._refuse(feed)
            elif not self._left.done():
                await self._answer(feed)
        finally:
            await self._close_feed()

    async def _answer(self, feed: Feed) -> None:
        raise NotImplementedError


class EventSource(_Reading):
    """Server-sent events: `(r"/events", EventSource, {"registry": registry, "keys": keys})`.

    `keys(handler)` returns the mapping of keys that this request may have, or an awaitable of it, or refuses by raising
    `tornado.web.HTTPError(401)`, `(403)` or `PermissionError`. `event` names the events: a name, or a function of the
    notification; without it a page hears them as `message`. `origins` are the other sites whose pages may connect.

    A client that has read nothing for two times `comment_seconds` is closed; it comes again by itself, with its cursor.
    """

    def initialize(self, *args: Any, event: EventName = None, **options: Any) -> None:
        """Take what the route gives."""
        super().initialize(*args, **options)
        self._event = event

    async def _answer(self, feed: Feed) -> None:
        for name, value in HEADERS:
            self.set_header(name, value)
        connection = cast("HTTP1Connection", self.request.connection)
        async with aclosing(event_stream(feed, self._options, random.random, self._event)) as blocks:
            async for block in blocks:
                self.write(block)
                if not await self._is_written(self.flush(), connection.stream):
                    connection.close()
                    return


class LongPoll(_Reading):
    """Polls that wait: `(r"/poll", LongPoll, {"registry": registry, "keys": keys})`; `keys` as `EventSource` has it.

    `?since=` is the cursor of the last answer, `?timeout=` for how many seconds to wait.
    """

    async def get(self, *args: str, **kwargs: str) -> None:
        """Judge the timeout before the feed is opened."""
        seconds = poll_seconds(self.get_query_argument("timeout", None))
        if isinstance(seconds, Refused):
            self._refuse(seconds)
            return
        self._seconds = seconds
        await super().get(*args, **kwargs)

    async def _answer(self, feed: Feed) -> None:
        answer = await poll(feed, self._seconds)
        if self._left.done():
            return
        self.set_status(answer.status)
        for name, value in answer.headers:
            self.set_header(name, value)
        self.finish(answer.body or None)
