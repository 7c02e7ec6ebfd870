"""A subscription on plain asyncio: a registration that is iterated."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from .._cursor import encode_cursor
from .._notification import Gap, Notification
from .._registry import RegistryCore
from .._stream import Stream
from ..exceptions import NotStarted

Keys = Mapping[str, object]


class Subscription:
    """A registration that is read as a stream: an async context manager that yields `Notification` and `Gap`.

    What a slow reader has not read waits in the log, beyond `max_pending` items and 1 MiB; nothing is lost by being slow
    within the retention. The iteration ends when the registry stops: reconnect elsewhere, with the last cursor.
    """

    def __init__(self, core: RegistryCore, keys: Keys, since: str | None, max_pending: int) -> None:
        self._core = core
        self._keys = keys
        self._since = since
        self._max_pending = max_pending
        self._stream: Stream | None = None
        self._awake: asyncio.Event = asyncio.Event()
        self._cursor: str | None = None

    async def __aenter__(self) -> Self:
        if self._stream is not None:
            raise RuntimeError("this subscription is open, or was; call registry.subscribe() again")
        self._stream = await self._core.open_stream(self._keys, since=self._since, max_pending=self._max_pending)
        self._stream.wake = self._awake.set
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._stream is not None:
            await self._core.close_stream(self._stream)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Notification | Gap:
        stream = self._opened()
        while not stream.pending:
            if stream.ended:
                raise StopAsyncIteration
            self._awake.clear()
            await self._awake.wait()
        what = stream.take()
        self._cursor = what.cursor
        return what

    @property
    def cursor(self) -> str:
        """Where this stream is: behind the last item that was read."""
        if self._cursor is not None:
            return self._cursor
        if self._since is not None:
            return self._since
        limits = [(seat.track.key, seat.limit) for seat in self._opened().seats]
        return encode_cursor((key, limit.epoch, limit.seq) for key, limit in limits if limit is not None)

    def _opened(self) -> Stream:
        if self._stream is None:
            raise NotStarted("this subscription is not open", 'use "async with registry.subscribe(…) as stream"')
        return self._stream
