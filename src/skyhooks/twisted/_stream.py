"""A subscription on Twisted: a registration that is iterated, or read item by item."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone

from .._cursor import encode_cursor
from .._notification import Gap, Notification
from .._registry import RegistryCore
from .._stream import Stream
from ..exceptions import NotStarted
from ._deferred import outside
from ._reactor import Turns, check_thread

Keys = Mapping[str, object]


class Subscription:
    """A registration that is read as a stream: an async context manager that yields `Notification` and `Gap`.

    In coroutines, `async with` it and iterate. With callbacks, `open` it, ask for one item after the other with `next`,
    and `close` it. What a slow reader has not read waits in the log, beyond `max_pending` items and 1 MiB; nothing is
    lost by being slow within the retention. The iteration ends when the registry stops: reconnect elsewhere, with the
    last cursor.
    """

    def __init__(self, turns: Turns, core: RegistryCore, keys: Keys, since: str | None, max_pending: int) -> None:
        self._turns = turns
        self._core = core
        self._keys = keys
        self._since = since
        self._max_pending = max_pending
        self._stream: Stream | None = None
        self._readers: deque[Deferred[Notification | Gap]] = deque()
        self._cursor: str | None = None

    def open(self) -> Deferred[Self]:
        """Register; fires with this subscription.

        Fails with:
            InvalidKey, InvalidCursor: nothing was touched.
            StoreUnavailable: within 3 s; nothing is registered.
        """
        return outside(self._open())

    def next(self) -> Deferred[Notification | Gap]:
        """Read one item: fires with it, at once if it is there. Cancelled, it takes none.

        Fails with:
            ConnectionDone: the registry has stopped, or this subscription was closed, and all has been read.
        """
        check_thread()
        try:
            stream = self._opened()
        except NotStarted as error:
            return fail(error)
        if stream.pending and not self._readers:
            return succeed(self._take(stream))
        if stream.ended and not stream.pending:
            return fail(ConnectionDone())
        reader: Deferred[Notification | Gap] = Deferred(self._readers.remove)
        self._readers.append(reader)
        return reader

    def close(self) -> Deferred[None]:
        """End it; twice is fine."""
        check_thread()
        return outside(self._close())

    def __aenter__(self) -> Deferred[Self]:
        return self.open()

    def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Deferred[None]:
        return self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Notification | Gap:
        try:
            return await self.next()
        except ConnectionDone:
            raise StopAsyncIteration from None

    @property
    def cursor(self) -> str:
        """Where this stream is: behind the last item that was read."""
        if self._cursor is not None:
            return self._cursor
        if self._since is not None:
            return self._since
        limits = [(seat.track.key, seat.limit) for seat in self._opened().seats]
        return encode_cursor((key, limit.epoch, limit.seq) for key, limit in limits if limit is not None)

    # -- inside -----------------------------------------------------------------------------------

    async def _open(self) -> Self:
        if self._stream is not None:
            raise RuntimeError("this subscription is open, or was; call registry.subscribe() again")
        self._stream = await self._core.open_stream(self._keys, since=self._since, max_pending=self._max_pending)
        self._stream.wake = lambda: self._turns.later(self._serve)
        return self

    async def _close(self) -> None:
        if self._stream is not None:
            await self._core.close_stream(self._stream)

    def _opened(self) -> Stream:
        if self._stream is None:
            raise NotStarted("this subscription is not open", 'use "async with registry.subscribe(…) as stream"')
        return self._stream

    def _take(self, stream: Stream) -> Notification | Gap:
        what = stream.take()
        self._cursor = what.cursor
        return what

    def _serve(self) -> None:
        """Give what there is to whoever waits for it."""
        stream = self._opened()
        while self._readers and (stream.pending or stream.ended):
            reader = self._readers.popleft()
            if stream.pending:
                reader.callback(self._take(stream))
            else:
                reader.errback(ConnectionDone())
