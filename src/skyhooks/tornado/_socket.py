"""WebSocket as a Tornado handler."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing, suppress

from tornado.websocket import WebSocketClosedError, WebSocketHandler

from .._bridge.feed import Feed
from .._bridge.messages import FIRST_MESSAGE_SECONDS, Close, close_of, message_stream, read_first
from .._bridge.options import MAX_MESSAGE_BYTES, STALL_COMMENTS, is_foreign, since_of
from .._bridge.refusals import FOREIGN, NO_UPGRADE, Refused
from ._bridge import Bridge


class WebSocket(Bridge, WebSocketHandler):
    """JSON messages: `(r"/socket", WebSocket, {"registry": registry, "keys": keys})`; `keys` as `EventSource` has it.

    Pages of other sites are refused unless `origins` names them. `?since=` with a cursor resumes; without a value, the
    first message `{"since": cursor}` does, and it is the only message that a client may send.
    """

    _pump: asyncio.Task[None] | None = None

    async def get(self, *args: str, **kwargs: str) -> None:
        """Judge the request, open the feed, and only then the socket: a refusal has a status."""
        keys = await self._admitted()
        if isinstance(keys, Refused):
            self._refuse(keys)
            return
        self._first: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._granted = keys
        self._unanswered = 0
        since = self.get_query_argument("since", None)
        feed = None if since == "" else await self._open_feed(keys, since)
        try:
            if isinstance(feed, Refused):
                self._refuse(feed)
            elif not self._left.done():
                await super().get(*args, **kwargs)  # returns when the socket is closed
        finally:
            if self._pump is not None:
                await self._pump
            await self._close_feed()

    def open(self, *args: str, **kwargs: str) -> None:  # noqa: ARG002  # groups of the route
        """Begin to tell."""
        self.set_nodelay(True)
        self._pump = asyncio.ensure_future(self._tell())

    def on_message(self, message: str | bytes) -> None:
        """Take the one message that a client may send."""
        cursor = read_first(message) if self._feed is None and isinstance(message, str) else None
        if cursor is None or self._first.done():
            self._end(Close.POLICY)
        else:
            self._first.set_result(cursor)

    def on_pong(self, data: bytes) -> None:  # noqa: ARG002  # Tornado's signature
        """Know that the client is there."""
        self._unanswered = 0

    def check_origin(self, origin: str) -> bool:
        """Let pass whom `origins` names."""
        return not is_foreign(origin, self.request.headers.get("Host"), self._options.origins)

    @property
    def max_message_size(self) -> int:
        """How long a message of a client may be; beyond it is closed with 1009."""
        return MAX_MESSAGE_BYTES

    @property
    def ping_interval(self) -> float:
        """Whatever the application's settings say: the bridge has pings of its own."""
        return 0

    # -- inside -----------------------------------------------------------------------------------

    async def _admitted(self) -> Mapping[str, object] | Refused:
        if self.request.headers.get("Upgrade", "").lower() != "websocket":
            return NO_UPGRADE
        if is_foreign(self.request.headers.get("Origin"), self.request.headers.get("Host"), self._options.origins):
            return FOREIGN
        return await self._allowed()

    async def _tell(self) -> None:
        code = Close.INTERNAL
        try:
            with suppress(WebSocketClosedError):  # the client was faster
                code = await self._tell_all()
        finally:
            self._end(code)

    async def _tell_all(self) -> Close:
        """Tell until there is nothing more to tell, and return why."""
        feed = self._feed or await self._open_by_first()
        if not isinstance(feed, Feed):
            return feed
        async with aclosing(message_stream(feed, self._options)) as messages:
            async for message in messages:
                if not await (self._write(message) if message else self._ping()):
                    return Close.TRY_AGAIN
        return Close.GOING_AWAY

    async def _open_by_first(self) -> Feed | Close:
        await asyncio.wait(
            (self._first, self._left), timeout=FIRST_MESSAGE_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        if not self._first.done():
            return Close.POLICY
        feed = await self._open_feed(self._granted, since_of(None, self._first.result()))
        return close_of(feed) if isinstance(feed, Refused) else feed

    async def _write(self, message: bytes) -> bool:
        written = self.write_message(message)
        connection = self.ws_connection
        return connection is not None and await self._is_written(written, connection.stream)

    async def _ping(self) -> bool:
        if self._unanswered >= STALL_COMMENTS:
            return False
        self._unanswered += 1
        self.ping()
        return True

    def _end(self, code: Close) -> None:
        self.close(code)
        self._leave()
