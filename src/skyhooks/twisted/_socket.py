"""WebSocket as a resource of twisted.web.

`twisted.web.websocket` (26.10) is not used: it puts messages together without a limit before anyone sees them, and its
`loseConnection` stops to read at once, so that a peer that still sends is reset before it can read the close code.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from .._bridge.feed import Feed
from .._bridge.messages import FIRST_MESSAGE_SECONDS, Close, close_of, message_stream, read_first
from .._bridge.options import STALL_COMMENTS, is_foreign, since_of
from .._bridge.refusals import FOREIGN, Refused
from .._bridge.socket import SocketWire, judge_upgrade, shake_hands
from .._http import LINGER_SECONDS
from ._bridge import Bridge, Keys
from ._deferred import inside, within
from ._reactor import Timer
from ._visit import Visit

log = Logger("skyhooks")


class WebSocket(Bridge):
    """JSON messages: `root.putChild(b"socket", WebSocket(registry, keys=keys))`; `keys` as `EventSource` has it.

    Pages of other sites are refused unless `origins` names them. `?since=` with a cursor resumes; without a value, the
    first message `{"since": cursor}` does, and it is the only message that a client may send.
    """

    def _judge(self, visit: Visit) -> Refused | None:
        refused = judge_upgrade(visit.header)
        if refused is None and is_foreign(visit.header("origin"), visit.header("host"), self._options.origins):
            return FOREIGN
        return refused

    async def _admit(self, visit: Visit, keys: Keys) -> Refused | None:
        if visit.argument("since") != "":
            return await super()._admit(visit, keys)
        if not visit.gone:
            await self._admit_by_first(Talk(visit), keys)
        return None

    async def _admit_by_first(self, talk: Talk, keys: Keys) -> None:
        first = await talk.first()
        if first is None:
            talk.end(Close.POLICY)
            return
        feed = await self._open_feed(keys, since_of(None, first))
        if isinstance(feed, Refused):
            talk.end(close_of(feed))
            return
        try:
            await self._talk(talk, feed)
        finally:
            feed.leave()

    async def _answer(self, visit: Visit, feed: Feed) -> None:
        await self._talk(Talk(visit, has_feed=True), feed)

    async def _talk(self, talk: Talk, feed: Feed) -> None:
        try:
            talk.end(await self._tell(talk, feed))
        except Exception:  # noqa: BLE001  # the client is told that it is not to blame
            log.failure("a bridge failed")
            talk.end(Close.INTERNAL)

    async def _tell(self, talk: Talk, feed: Feed) -> Close:
        """Send what comes; return with which code to close."""
        async with aclosing(message_stream(feed, self._options)) as messages:
            async for message in messages:
                if not message and talk.unanswered >= STALL_COMMENTS:
                    return Close.TRY_AGAIN
                talk.tell(message) if message else talk.ping()
                if not await talk.visit.written(self._options.stall_seconds):
                    return Close.TRY_AGAIN
        return Close.GOING_AWAY


class Talk:
    """What is said on a socket that is open."""

    def __init__(self, visit: Visit, *, has_feed: bool = False) -> None:
        self.visit = visit
        self.unanswered = 0
        """How many pings in a row the client has not answered."""
        self._wire = SocketWire()
        self._may_speak = not has_feed
        self._first: Deferred[str] = Deferred()
        self._limit: Timer | None = None
        self._channel: Any = visit.request.channel
        self._open()

    async def first(self) -> str | None:
        """Wait for the cursor in the first message; None: it did not come."""
        try:
            return await within(self.visit.reactor, FIRST_MESSAGE_SECONDS, inside(self._first))
        except TimeoutError:
            return None

    def tell(self, message: bytes) -> None:
        """Send a message, and before it what had to wait for room."""
        self._reply()
        self._write(self._wire.send(message))

    def ping(self) -> None:
        """Ask whether the client is there."""
        self.unanswered += 1
        self._write(self._wire.ping())

    def end(self, code: int) -> None:
        """Close; the client has 2 s to read why. Twice is fine."""
        self._write(self._wire.close(code))
        self._linger()

    # -- inside -----------------------------------------------------------------------------------

    def _open(self) -> None:
        self.visit.begin(self.visit)
        self.visit.request.notifyFinish().addErrback(lambda _: self._forget())
        # As Twisted's own WebSocket takes over; but the connection's end still goes to the request.
        self._channel.dataReceived = self._received
        self._channel.transport.resumeProducing()  # in case the client spoke too early: what it said then is lost
        self._write(shake_hands(self.visit.header("sec-websocket-key") or ""))

    def _received(self, data: bytes) -> None:
        for heard in self._wire.receive(data):
            self.unanswered = 0
            if heard is not None:
                self._hear(heard)
        if self._wire.reply and not self.visit.paused:
            self._reply()
        if self._wire.close_code is not None:
            self._reply()
            self.visit.leave()
            self._linger()
        if self._wire.ended:
            self._channel.loseConnection()

    def _hear(self, message: str) -> None:
        cursor = read_first(message) if self._may_speak else None
        self._may_speak = False
        if cursor is None:
            self.end(Close.POLICY)
        else:
            self._first.callback(cursor)

    def _reply(self) -> None:
        reply, self._wire.reply = self._wire.reply, b""
        self._write(reply)

    def _write(self, data: bytes) -> None:
        if data:
            self._channel.write(data)

    def _linger(self) -> None:
        if self._limit is None:
            self._limit = self.visit.reactor.callLater(LINGER_SECONDS, self.visit.abort)

    def _forget(self) -> None:
        if self._limit is not None and self._limit.active():
            self._limit.cancel()
