"""WebSocket as a WSGI application."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Any, Self

import gevent
from gevent import Greenlet
from gevent.event import AsyncResult

from .._bridge.feed import Feed
from .._bridge.messages import FIRST_MESSAGE_SECONDS, Close, close_of, message_stream, read_first
from .._bridge.options import BridgeOptions, is_foreign, since_of
from .._bridge.refusals import FOREIGN, Refused
from .._bridge.socket import judge_upgrade, shake_hands
from .._driver import iterate, run
from .._http import LINGER_SECONDS
from ._bridge import Answering, Bridge, Keys
from ._connection import end, send_at_once, socket_of
from ._frames import Frames

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

log = logging.getLogger("skyhooks")


class WebSocket(Bridge):
    """JSON messages: `WebSocket(registry, keys=keys)` is a WSGI application; `keys` as `EventSource` has it.

    Pages of other sites are refused unless `origins` names them. `?since=` with a cursor resumes; without a value, the
    first message `{"since": cursor}` does, and it is the only message that a client may send.

    It needs the connection itself: `gevent.pywsgi` and gunicorn's gevent workers give it, under other servers it raises
    RuntimeError. A view of Flask may return it, whose rule has to say `websocket=True`; the view then lasts as long as
    the connection.
    """

    def _judge(self, environ: WSGIEnvironment) -> Refused | None:
        refused = super()._judge(environ)
        if refused is not None:
            return refused
        refused = judge_upgrade(lambda name: environ.get(f"HTTP_{name.upper().replace('-', '_')}"))
        if refused is not None:
            return refused
        foreign = is_foreign(environ.get("HTTP_ORIGIN"), environ.get("HTTP_HOST"), self._options.origins)
        return FOREIGN if foreign else None

    def _answer(self, answer: Answering, keys: Keys) -> Iterable[bytes]:
        sock = socket_of(answer.environ)
        if sock is None:
            raise RuntimeError(
                "this server keeps the connection of a request to itself; for a WebSocket serve the application by "
                "gevent.pywsgi or by gunicorn -k gevent, or mount EventSource or LongPoll"
            )
        since = answer.query("since")
        feed = None if since == "" else self._open_feed(keys, since)
        if isinstance(feed, Refused):
            return answer.refuse(feed)
        answer.start(101, [("upgrade", "websocket"), ("connection", "upgrade")])  # for the log: it is sent beside it
        head = shake_hands(answer.environ["HTTP_SEC_WEBSOCKET_KEY"])
        return _Socket(sock, head, self._options, feed, lambda since: self._open_feed(keys, since))


class _Socket:
    """What the server asks for a first piece; there is none, and by then the connection has been a WebSocket and is over.

    The head is not left to the server, as each has another moment for it. What it writes in the end it cannot write any
    more: pywsgi and gunicorn take that for a client that has gone, without a word.
    """

    def __init__(
        self,
        sock: Any,
        head: bytes,
        options: BridgeOptions,
        feed: Feed | None,
        open_feed: Callable[[str | None], Feed | Refused],
    ) -> None:
        self._sock = sock
        self._head = head
        self._options = options
        self._feed = feed
        self._open_feed = open_feed
        self._first: AsyncResult[str | None] = AsyncResult()
        self._frames = Frames(sock, stall_seconds=options.stall_seconds, heard=self._hear, left=self._leave)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        reader = gevent.spawn(self._frames.read)
        try:
            self._serve(reader)
        finally:
            reader.kill()
            self.close()
            end(self._sock)
        raise StopIteration

    def close(self) -> None:
        if self._feed is not None:
            run(self._feed.close())

    def _serve(self, reader: Greenlet[..., None]) -> None:
        with contextlib.suppress(OSError):  # the client has gone before it began
            send_at_once(self._sock)
            self._sock.sendall(self._head)
            self._frames.close(self._tell())  # unless it is closed by now
        if not self._frames.is_broken:
            reader.join(LINGER_SECONDS)

    def _tell(self) -> Close:
        try:
            return self._tell_all()
        except Exception:
            log.exception("a WebSocket's bridge failed")
            return Close.INTERNAL

    def _tell_all(self) -> Close:
        """Tell until there is nothing more to tell, or nobody to be told, and return why."""
        feed = self._feed or self._open_by_first()
        if not isinstance(feed, Feed):
            return feed
        frames = self._frames
        with closing(iterate(message_stream(feed, self._options))) as messages:
            for message in messages:
                if frames.is_left or not (frames.send(message) if message else frames.ping()):
                    return Close.TRY_AGAIN
        return Close.GOING_AWAY

    def _open_by_first(self) -> Feed | Close:
        self._first.wait(FIRST_MESSAGE_SECONDS)
        since = self._first.value
        if since is None:
            return Close.POLICY
        feed = self._open_feed(since_of(None, since))
        if isinstance(feed, Refused):
            return close_of(feed)
        self._feed = feed
        if self._frames.is_left:
            feed.end()
        return feed

    def _hear(self, message: str) -> None:
        """Take the one message that a client may send."""
        cursor = None if self._feed is not None or self._first.ready() else read_first(message)
        if cursor is None:
            self._frames.close(Close.POLICY)
        else:
            self._first.set(cursor)

    def _leave(self) -> None:
        if not self._first.ready():
            self._first.set(None)
        if self._feed is not None:
            self._feed.end()
