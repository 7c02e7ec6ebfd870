"""EventSource and long poll as Tornado's handlers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Unpack, cast

from tornado.http1connection import HTTP1Connection

from .._bridge.events import COMMENT, HEADERS, EventName, check_event_name, encode_hello, encode_items, encode_reconnect
from .._bridge.feed import Feed
from .._bridge.options import BridgeKeywords, since_of
from .._bridge.poll import poll, poll_seconds
from .._bridge.refusals import Refused
from ._bridge import Bridge, KeysOf

if TYPE_CHECKING:
    from .._asyncio.registry import Registry


class _Reading(Bridge):
    """A bridge over plain HTTP: a GET that is answered for as long as the feed is read."""

    __slots__ = ()

    async def get(self, *args: str, **kwargs: str) -> None:  # noqa: ARG002  # groups of the route
        """Ask for the keys, open the feed, answer."""
        keys = await self._allowed()
        if self._left.done():
            return
        if isinstance(keys, Refused):
            self._refuse(keys)
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

    __slots__ = ("_event", "_is_awake", "_is_over", "_is_paused", "_loop", "_pieces", "_timer", "_told_at")

    def initialize(
        self, registry: Registry, keys: KeysOf, *, event: EventName = None, **options: Unpack[BridgeKeywords]
    ) -> None:
        """Take what the route gives."""
        super().initialize(registry, keys, **options)
        self._event = check_event_name(event)
        self._is_awake = False
        self._is_paused = False
        self._is_over = False
        self._told_at = 0.0
        self._pieces: Iterator[bytes] = iter(())

    async def _answer(self, feed: Feed) -> None:
        """Say hello; what comes after it is told by turns of the loop: one who hears nothing has no coroutine for that."""
        self._transforms = []  # compression would keep 75 kB for each client
        for name, value in HEADERS:
            self.set_header(name, value)
        self._loop = asyncio.get_running_loop()
        self._pieces = iter((encode_hello(feed.cursor, random.random),))
        feed.listen(self._wake)
        self._wake()
        self._timer = self._loop.call_later(self._options.comment_seconds, self._break_silence)
        try:
            await self._left
        finally:
            self._timer.cancel()

    def _wake(self) -> None:
        """Go on in a later turn: who calls may be amid the core's, and more may come in this one."""
        if not self._is_awake:
            self._is_awake = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._is_awake = False
        if self._feed is None or self._is_paused or self._left.done():
            return
        self._tell(self._feed)

    def _tell(self, feed: Feed) -> None:
        """Write what there is, for as long as there is room."""
        while True:
            for piece in self._pieces:
                if not self._send(piece):
                    return
            items = feed.take()
            if items:
                self._pieces = encode_items(items, self._event)
            elif feed.ended and not self._is_over:
                self._is_over = True
                self._pieces = iter((encode_reconnect(feed.cursor),))
            else:
                break
        if self._is_over:
            self._leave()

    def _send(self, piece: bytes) -> bool:
        """Write a piece; False: there is no room for more, until the client has read it."""
        connection = cast("HTTP1Connection", self.request.connection)
        self.write(piece)
        written = self.flush()
        self._told_at = self._loop.time()
        stream = connection.stream
        if stream is not None and not stream.writing():
            return True
        self._is_paused = True
        written.add_done_callback(self._resume)
        return False

    def _resume(self, _: asyncio.Future[None]) -> None:
        self._is_paused = False
        self._wake()

    def _break_silence(self) -> None:
        silence = self._loop.time() - self._told_at
        comment_seconds = self._options.comment_seconds
        if self._is_paused and silence >= self._options.stall_seconds:
            cast("HTTP1Connection", self.request.connection).close()
            self._leave()
            return
        if silence >= comment_seconds and not self._is_paused and not self._left.done():
            self._send(COMMENT)
            silence = 0
        self._timer = self._loop.call_later(comment_seconds - silence % comment_seconds, self._break_silence)


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
