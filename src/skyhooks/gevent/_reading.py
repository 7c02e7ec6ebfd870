"""EventSource and long poll as WSGI applications."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Self, Unpack

from gevent.event import Event

from .._bridge.audience import Audience
from .._bridge.events import COMMENT, HEADERS, EventName, check_event_name, encode_hello, encode_items, encode_reconnect
from .._bridge.feed import Feed
from .._bridge.options import STALL_COMMENTS, BridgeKeywords, since_of
from .._bridge.poll import poll, poll_seconds
from .._bridge.refusals import Refused
from .._driver import run
from ._bridge import Answering, Bridge, Keys, KeysOf
from ._connection import Connection, Timer

if TYPE_CHECKING:
    from ._registry import Registry


class _Reading(Bridge):
    """A bridge over plain HTTP: a GET that is answered for as long as the feed is read."""

    def _feed_of(self, answer: Answering, keys: Keys) -> Feed | Refused:
        return self._open_feed(keys, since_of(answer.environ.get("HTTP_LAST_EVENT_ID"), answer.query("since")))


class EventSource(_Reading):
    """Server-sent events: `EventSource(registry, keys=keys)` is a WSGI application, to be mounted, or returned by a view.

    `keys(environ)` returns the mapping of keys that this request may have, or refuses: by an error whose `code` is 401
    or 403, as Flask's `abort` raises it, or by `PermissionError`. `event` names the events: a name, or a function of the
    notification; without it a page hears them as `message`. `origins` are the other sites whose pages may connect.

    A browser that goes is noticed at once under `gevent.pywsgi` and gunicorn's gevent workers, which let one see the
    connection; elsewhere, or where the client has sent more than its request, when the next comment cannot be written.
    With the connection, a client that has read nothing for two times `comment_seconds` is closed as well; it comes again
    by itself, with its cursor.
    """

    def __init__(
        self, registry: Registry, *, keys: KeysOf, event: EventName = None, **options: Unpack[BridgeKeywords]
    ) -> None:
        super().__init__(registry, keys=keys, **options)
        self._event = check_event_name(event)
        self._audience: Audience[_Events] = Audience(
            time.monotonic, Timer, self._options.comment_seconds, _Events.break_silence
        )

    def _answer(self, answer: Answering, keys: Keys) -> Iterable[bytes]:
        feed = self._feed_of(answer, keys)
        if isinstance(feed, Refused):
            return answer.refuse(feed)
        events = _Events(feed, self._event, self._audience, Connection(answer.environ, feed.end))
        try:
            answer.start(200, HEADERS)
        except BaseException:
            events.close()
            raise
        return events


class _Events:
    """What the server sends, piece by piece, and closes when it is over, or when the client has gone.

    It is the core's `event_stream` as a plain object: a client that waits has no coroutines on its stack.
    """

    __slots__ = (
        "_audience",
        "_awake",
        "_connection",
        "_event",
        "_feed",
        "_is_over",
        "_is_waiting",
        "_pieces",
        "_silences",
    )

    def __init__(self, feed: Feed, event: EventName, audience: Audience[_Events], connection: Connection) -> None:
        self._feed = feed
        self._event = event
        self._audience = audience
        self._connection = connection
        self._awake = Event()
        self._is_over = False
        self._is_waiting = False
        self._silences = 0
        """How many have passed since the server was given what it has not sent yet."""
        self._pieces: Iterator[bytes] = iter((encode_hello(feed.cursor, random.random),))
        feed.listen(self._awake.set)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        self._silences = 0  # else the server would not ask for more
        piece = next(self._pieces, None) or self._wait()
        if piece is None or self._connection.is_gone:
            raise StopIteration
        self._audience.told(self)
        return piece

    def break_silence(self) -> None:
        """Have a comment sent; give up a client that has not read what it was sent before two of them were due."""
        if self._is_waiting:
            self._awake.set()
            return
        self._silences += 1
        if self._silences >= STALL_COMMENTS:
            self._connection.give_up()

    def close(self) -> None:
        self._audience.leave(self)
        self._connection.close()
        run(self._feed.close())

    def _wait(self) -> bytes | None:
        feed = self._feed
        self._awake.clear()
        items = feed.take()
        if not items and not feed.ended:
            self._is_waiting = True
            self._awake.wait()
            self._is_waiting = False
            items = feed.take()
        if items:
            self._pieces = encode_items(items, self._event)
            return next(self._pieces)
        if not feed.ended:
            return COMMENT
        was_over, self._is_over = self._is_over, True
        return None if was_over else encode_reconnect(feed.cursor)


class LongPoll(_Reading):
    """Polls that wait: `LongPoll(registry, keys=keys)` is a WSGI application; `keys` as `EventSource` has it.

    `?since=` is the cursor of the last answer, `?timeout=` for how many seconds to wait.
    """

    def _answer(self, answer: Answering, keys: Keys) -> Iterable[bytes]:
        seconds = poll_seconds(answer.query("timeout"))
        if isinstance(seconds, Refused):
            return answer.refuse(seconds)
        feed = self._feed_of(answer, keys)
        if isinstance(feed, Refused):
            return answer.refuse(feed)
        connection = Connection(answer.environ, feed.end)
        try:
            polled = run(poll(feed, seconds))
        finally:
            connection.close()
            run(feed.close())
        return answer.whole(polled.status, polled.body, polled.headers)
