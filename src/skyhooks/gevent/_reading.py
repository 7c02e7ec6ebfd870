"""EventSource and long poll as WSGI applications."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self

from gevent.event import Event

from .._bridge.events import COMMENT, HEADERS, EventName, encode_event, encode_hello, encode_reconnect, join_pieces
from .._bridge.feed import Feed
from .._bridge.options import BridgeOptions, since_of
from .._bridge.poll import poll, poll_seconds
from .._bridge.refusals import Refused
from .._driver import run
from ._bridge import Answering, Bridge, Keys, KeysOf
from ._connection import Connection

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

    def __init__(self, registry: Registry, *, keys: KeysOf, event: EventName = None, **options: Any) -> None:
        super().__init__(registry, keys=keys, **options)
        self._event = event

    def _answer(self, answer: Answering, keys: Keys) -> Iterable[bytes]:
        feed = self._feed_of(answer, keys)
        if isinstance(feed, Refused):
            return answer.refuse(feed)
        events = _Events(feed, self._options, self._event, Connection(answer.environ, feed.end))
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

    __slots__ = ("_awake", "_connection", "_event", "_feed", "_is_over", "_options", "_pieces")

    def __init__(self, feed: Feed, options: BridgeOptions, event: EventName, connection: Connection) -> None:
        self._feed = feed
        self._options = options
        self._event = event
        self._connection = connection
        self._awake = Event()
        self._is_over = False
        self._pieces: Iterator[bytes] = iter((encode_hello(feed.cursor, random.random),))
        feed.listen(self._awake.set)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        self._connection.is_read()  # else the server would not ask for more
        piece = next(self._pieces, None) or self._wait()
        if piece is None or self._connection.is_gone:
            raise StopIteration
        self._connection.is_sent_to(self._options.stall_seconds)
        return piece

    def close(self) -> None:
        self._connection.close()
        run(self._feed.close())

    def _wait(self) -> bytes | None:
        feed = self._feed
        self._awake.clear()
        items = feed.take()
        if not items and not feed.ended:
            self._awake.wait(self._options.comment_seconds)
            items = feed.take()
        if items:
            self._pieces = join_pieces(encode_event(item, self._event) for item in items)
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
