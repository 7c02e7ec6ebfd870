"""What Twisted's bridges have in common: who may have which keys, and what becomes of a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.web.error import Error
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from .._bridge.feed import Feed, open_feed
from .._bridge.options import COMMENT_SECONDS, MAX_PENDING, Policy, bridge_options, cors_headers, since_of
from .._bridge.refusals import FORBIDDEN, NO_GET, Refused
from ._deferred import inside, outside
from ._visit import Visit

if TYPE_CHECKING:
    from ._registry import Registry

Keys = Mapping[str, object]
KeysOf = Callable[[Any], Keys | Awaitable[Keys]]
"""Says which keys a `Request` may have, at once, by a Deferred or as a coroutine; or refuses by raising
`twisted.web.error.Error` or `PermissionError`."""


class Bridge(Resource):
    """A resource that reads a registry for a browser."""

    isLeaf = True

    def __init__(
        self,
        registry: Registry,
        *,
        keys: KeysOf,
        max_pending: int = MAX_PENDING,
        policy: Policy = "lossless",
        comment_seconds: float = COMMENT_SECONDS,
        origins: Collection[str] = (),
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted (26.10) has no types here
        self._registry = registry
        self._keys = keys
        self._options = bridge_options(
            max_pending=max_pending, policy=policy, comment_seconds=comment_seconds, origins=origins
        )

    def render(self, request: Request) -> int:
        """Answer a request by whatever method."""
        visit = Visit(self._registry.reactor, request)
        visit.follow(outside(self._serve(visit)))
        return NOT_DONE_YET

    # -- inside -----------------------------------------------------------------------------------

    async def _serve(self, visit: Visit) -> None:
        for name, value in cors_headers(visit.header("origin"), self._options.origins):
            visit.request.setHeader(name, value)
        refused = NO_GET if visit.request.method != b"GET" else self._judge(visit)
        if refused is None:
            try:
                keys = await self._allowed(visit.request)
            except PermissionError:
                refused = FORBIDDEN
            except Error as error:
                visit.answer_error(error)
                return
            else:
                refused = await self._admit(visit, keys)
        if refused is not None:
            visit.refuse(refused)

    def _judge(self, visit: Visit) -> Refused | None:  # noqa: ARG002  # what a bridge asks for besides
        """Refuse what needs no application to be refused."""
        return None

    async def _allowed(self, request: Request) -> Keys:
        keys = self._keys(request)
        if isinstance(keys, Deferred):
            return await inside(keys)
        return await keys if isawaitable(keys) else keys

    async def _admit(self, visit: Visit, keys: Keys) -> Refused | None:
        """Serve a client that may have these keys, to its end."""
        feed = await self._open_feed(keys, since_of(visit.header("last-event-id"), visit.argument("since")))
        if isinstance(feed, Refused):
            return feed
        try:
            if not visit.gone:
                await self._answer(visit, feed)
        finally:
            feed.leave()
        return None

    async def _answer(self, visit: Visit, feed: Feed) -> None:
        raise NotImplementedError

    async def _open_feed(self, keys: Keys, since: str | None) -> Feed | Refused:
        return await open_feed(lambda: self._registry.feed(self._options), keys, since)
