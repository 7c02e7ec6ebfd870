"""What Tornado's bridges have in common: who may have which keys, how a client is refused, when it has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from tornado.iostream import IOStream
from tornado.web import RequestHandler

from .._bridge.feed import Feed, open_feed
from .._bridge.options import COMMENT_SECONDS, MAX_PENDING, Policy, bridge_options, cors_headers
from .._bridge.refusals import FORBIDDEN, NO_GET, PROBLEM, Refused

if TYPE_CHECKING:
    from .._asyncio.registry import Registry

Keys = Mapping[str, object]
KeysOf = Callable[[Any], Keys | Awaitable[Keys]]
"""Says which keys a request may have, given its handler; or refuses by raising `tornado.web.HTTPError` or `PermissionError`."""


class Bridge(RequestHandler):
    """A handler that reads a registry for a browser."""

    __slots__ = ("_feed", "_keys", "_left", "_options", "_registry")  # one more in a dict of these would double it

    SUPPORTED_METHODS = ("GET",)
    _cors: tuple[tuple[str, str], ...] = ()

    def initialize(
        self,
        registry: Registry,
        keys: KeysOf,
        *,
        max_pending: int = MAX_PENDING,
        policy: Policy = "lossless",
        comment_seconds: float = COMMENT_SECONDS,
        origins: Collection[str] = (),
    ) -> None:
        """Take what the route gives."""
        self._registry = registry
        self._keys = keys
        self._options = bridge_options(
            max_pending=max_pending, policy=policy, comment_seconds=comment_seconds, origins=origins
        )
        cors = cors_headers(self.request.headers.get("Origin"), self._options.origins)
        if cors:
            self._cors = cors
        self._feed: Feed | None = None
        self._left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.set_default_headers()

    def set_default_headers(self) -> None:
        """Let pages of other sites that were named read every answer, refusals too."""
        for name, value in self._cors:
            self.set_header(name, value)

    def on_connection_close(self) -> None:
        """End what is done for a client that has gone."""
        self._leave()
        super().on_connection_close()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say which method there is; all else as the application says it."""
        if status_code == 405:
            self._refuse(NO_GET)
        else:
            super().write_error(status_code, **kwargs)

    # -- inside -----------------------------------------------------------------------------------

    async def _allowed(self) -> Keys | Refused:
        """Ask the application which keys this request may have."""
        try:
            keys = self._keys(self)
            return await keys if isawaitable(keys) else keys
        except PermissionError:
            return FORBIDDEN

    async def _open_feed(self, keys: Keys, since: str | None) -> Feed | Refused:
        """Open the feed, which is then to be closed."""
        feed = await open_feed(lambda: self._registry.feed(self._options), keys, since)
        if isinstance(feed, Feed):
            self._feed = feed
            if self._left.done():
                feed.end()
        return feed

    async def _close_feed(self) -> None:
        if self._feed is not None:
            await self._feed.close()

    def _leave(self) -> None:
        if not self._left.done():
            self._left.set_result(None)
        if self._feed is not None:
            self._feed.end()

    def _refuse(self, refused: Refused) -> None:
        self.set_status(refused.status)
        self.set_header("Content-Type", PROBLEM)
        for name, value in refused.headers:
            self.set_header(name, value)
        self.finish(refused.body)

    async def _is_written(self, written: asyncio.Future[None], stream: IOStream | None) -> bool:
        """Wait until a client has read what it was sent; False: it has gone, or takes too long."""
        if stream is None:
            return False
        if stream.writing() and not self._left.done():
            # Nobody resolves `written` where the connection ends first.
            await asyncio.wait(
                (written, self._left), timeout=self._options.stall_seconds, return_when=asyncio.FIRST_COMPLETED
            )
        return not self._left.done() and not stream.closed() and (written.done() or not stream.writing())
