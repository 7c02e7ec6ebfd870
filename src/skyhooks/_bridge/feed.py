"""One client's notifications as a bridge reads them: all that are there, or a silence. Async, names no loop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from .._cursor import decode_cursor, encode_cursor, key_hash
from .._notification import Gap, Notification
from .._registration import LAGGING
from .._registry import RegistryCore
from .._stream import Stream
from ..abc import Runtime
from .door import Door
from .options import BridgeOptions
from .refusals import Refused, Trouble, refusal_of

log = logging.getLogger("skyhooks")

Item = Notification | Gap


class Feed:
    """A stream that was opened for a client; close it when the client has gone, however it went."""

    __slots__ = ("_core", "_door", "_options", "_runtime", "_stream", "cursor")

    def __init__(self, core: RegistryCore, runtime: Runtime, options: BridgeOptions, door: Door) -> None:
        self.cursor = ""
        """Where the client is, behind the last batch that it was given."""
        self._core = core
        self._door = door
        self._runtime = runtime
        self._options = options
        self._stream: Stream | None = None

    async def open(self, keys: Mapping[str, object], since: str | None) -> None:
        """Begin.

        Raises:
            InvalidKey, InvalidCursor, StoreUnavailable, NotStarted: there is nothing to close.
        """
        options = self._options
        self._stream = stream = await self._door.through(
            lambda: self._core.open_stream(
                keys, since=since, max_pending=options.max_pending, latest=options.policy == "latest"
            )
        )
        self.cursor = _beginning(stream, since)

    async def next(self, seconds: float) -> list[Item]:
        """Return what is there, oldest first, or what comes first within so many seconds: nothing, if nothing does."""
        stream = self._opened()
        if not stream.pending and not stream.ended:
            awake = self._runtime.future()
            stream.wake = lambda: awake.set(None)
            await awake.wait(seconds)
        return self._take(stream)

    def listen(self, wake: Callable[[], None]) -> None:
        """Have this called whenever `take` may have something to give, or `ended` is true; instead of `next`."""
        self._opened().wake = wake

    def take(self) -> list[Item]:
        """Return what is there, oldest first."""
        return self._take(self._opened())

    @property
    def ended(self) -> bool:
        """Whether the registry stops and nothing more will come: the client is to go elsewhere, with its cursor."""
        stream = self._opened()
        return stream.ended and not stream.pending

    @property
    def is_behind(self) -> bool:
        """Whether the log may still have something for it from before it was opened."""
        return any(seat.state == LAGGING for seat in self._opened().seats)

    def end(self) -> None:
        """Let `next` return and `ended` be true: the client has gone. Still to be closed."""
        if self._stream is not None:
            self._stream.end()

    async def close(self) -> None:
        """End it; twice is fine."""
        if self._stream is not None:
            await self._core.close_stream(self._stream)

    def leave(self) -> None:
        """Close it in the background, where nobody can wait for it; what is left to do ends with the registry."""
        self._runtime.spawn(self.close())

    def _take(self, stream: Stream) -> list[Item]:
        items = stream.take_all()
        if items:
            self.cursor = items[-1].cursor
        return items

    def _opened(self) -> Stream:
        if self._stream is None:
            raise RuntimeError("this feed was not opened")
        return self._stream


def _beginning(stream: Stream, since: str | None) -> str:
    """Say where a client is that has got nothing yet, in all keys: those that its cursor does not know began by now."""
    if since == "start":
        return since
    known = decode_cursor(since) if since is not None else {}
    return encode_cursor(
        (key, *known.get(key_hash(key), (limit.epoch, limit.seq)))
        for key, limit in ((seat.track.key, seat.limit) for seat in stream.seats)
        if limit is not None
    )


async def open_feed(make: Callable[[], Feed], keys: Mapping[str, object], since: str | None) -> Feed | Refused:
    """Make a feed and open it, or say what the client is answered that gets none."""
    try:
        feed = make()
        await feed.open(keys, since)
    except Trouble as error:
        refused = refusal_of(error)
        if refused.status == 500:
            log.exception("keys= gave what no notification can be about")
        return refused
    return feed
