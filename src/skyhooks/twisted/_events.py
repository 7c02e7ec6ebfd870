"""EventSource as a resource of twisted.web: nothing of it runs, and no timer is kept, for a client that hears nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Unpack

from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from zope.interface import implementer

from .._bridge.audience import Audience
from .._bridge.events import COMMENT, HEADERS, EventName, check_event_name, encode_hello, encode_items, encode_reconnect
from .._bridge.feed import Feed
from .._bridge.options import BridgeKeywords, since_of
from .._bridge.refusals import Refused
from ._bridge import Bridge, Keys, KeysOf
from ._reactor import Timer
from ._visit import Visit

if TYPE_CHECKING:
    from ._registry import Registry

log = Logger("skyhooks")

_NOTHING: Iterator[bytes] = iter(())
_SENT = Headers()
"""The headers of all streams that have begun: they are sent, and for as long as a stream lasts it has no use for 0.6 kB."""


class EventSource(Bridge):
    """Server-sent events: `root.putChild(b"events", EventSource(registry, keys=keys))`.

    `keys(request)` returns the mapping of keys that this request may have, a Deferred or a coroutine of it, or refuses
    by raising `twisted.web.error.Error(401)`, `(403)` or `PermissionError`. `event` names the events: a name, or a
    function of the notification; without it a page hears them as `message`. `origins` are the other sites whose pages
    may connect.

    A client that has not read what it was sent for two times `comment_seconds` is closed; it comes again by itself, with
    its cursor.
    """

    def __init__(
        self, registry: Registry, *, keys: KeysOf, event: EventName = None, **options: Unpack[BridgeKeywords]
    ) -> None:
        super().__init__(registry, keys=keys, **options)
        self.event = check_event_name(event)
        self._woken: list[Telling] = []

    @property
    def stall_seconds(self) -> float:
        """How long a client may take to read what it was sent."""
        return self._options.stall_seconds

    @cached_property
    def audience(self) -> Audience[Telling]:
        """All clients that are there."""
        reactor = self._registry.reactor
        return Audience(reactor.seconds, reactor.callLater, self._options.comment_seconds, Telling.comment)

    def later(self, client: Telling) -> None:
        """Have a client go on in the next turn; of a crowd nothing more is made, or the garbage collector would look for it."""
        if not self._woken:
            self._registry.reactor.callLater(0, self._turn)
        self._woken.append(client)

    def _turn(self) -> None:
        woken, self._woken = self._woken, []
        for client in woken:
            try:
                client.go_on()
            except Exception:  # noqa: BLE001  # it harms nobody else's turn
                log.failure("skyhooks failed in a turn of its own", Failure())

    async def _admit(self, visit: Visit, keys: Keys) -> Refused | None:
        feed = await self._open_feed(keys, since_of(visit.header("last-event-id"), visit.argument("since")))
        if isinstance(feed, Refused):
            return feed
        Telling(self, visit, feed).begin()
        return None


@implementer(IPushProducer)
class Telling:
    """What one client is told, from its hello to its end; the coroutine that has let it in has ended by then.

    A coroutine for each would take twice the memory of all that twisted.web has for a request.
    """

    __slots__ = ("_bridge", "_feed", "_is_awake", "_is_paused", "_pieces", "_stall", "_visit")

    def __init__(self, bridge: EventSource, visit: Visit, feed: Feed) -> None:
        self._bridge = bridge
        self._visit = visit
        self._feed: Feed | None = feed
        self._pieces = _NOTHING
        self._is_awake = False
        self._is_paused = False
        self._stall: Timer | None = None

    def begin(self) -> None:
        """Say hello, and go on with what there is."""
        visit, feed = self._visit, self._feed
        visit.stop = self._close
        if visit.gone or feed is None:
            self._close()
            return
        visit.head(200, *HEADERS)
        visit.begin(self)
        self._write(encode_hello(feed.cursor, random.random))
        visit.request.responseHeaders = _SENT
        feed.listen(self._wake)
        self._wake()

    def comment(self) -> None:
        """Break a silence."""
        if not self._is_paused:
            self._visit.request.write(COMMENT)

    # -- IPushProducer ----------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """Wait until the client has read; in time."""
        self._is_paused = True
        if self._stall is None:
            self._stall = self._visit.reactor.callLater(self._bridge.stall_seconds, self._abort)

    def resumeProducing(self) -> None:
        """Go on."""
        self._is_paused = False
        self._keep_no_time()
        self._wake()

    def stopProducing(self) -> None:
        """End: the connection is being closed."""
        self._visit.leave()

    # -- inside -----------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Go on in a later turn: who calls may be amid the core's."""
        if not self._is_awake:
            self._is_awake = True
            self._bridge.later(self)

    def go_on(self) -> None:
        """Tell what there is, if anything is and there is room."""
        self._is_awake = False
        if self._feed is not None and not self._is_paused:
            self._tell(self._feed)

    def _tell(self, feed: Feed) -> None:
        """Write what there is, for as long as there is room."""
        while True:
            for piece in self._pieces:
                self._write(piece)
                if self._is_paused or self._feed is None:
                    return
            items = feed.take()
            if not items:
                break
            self._pieces = encode_items(items, self._bridge.event)
        if feed.ended:
            self._write(encode_reconnect(feed.cursor))
            self._close()
            self._visit.end()

    def _write(self, piece: bytes) -> None:
        self._visit.request.write(piece)
        self._bridge.audience.told(self)

    def _abort(self) -> None:
        self._close()
        self._visit.abort()

    def _close(self) -> None:
        self._keep_no_time()
        self._bridge.audience.leave(self)
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.leave()

    def _keep_no_time(self) -> None:
        stall, self._stall = self._stall, None
        if stall is not None and stall.active():
            stall.cancel()
