"""A web process on plain asyncio, in the place of a framework that is not installed: EventSource and long poll by hand."""

from __future__ import annotations

import asyncio
import random
from http import HTTPStatus

from .._asyncio.registry import Registry
from .._bridge.events import HEADERS, event_stream
from .._bridge.feed import Feed, open_feed
from .._bridge.options import COMMENT_SECONDS, MAX_PENDING, bridge_options, cors_headers, since_of
from .._bridge.poll import poll, poll_seconds
from .._bridge.refusals import FORBIDDEN, NO_GET, PROBLEM, Refused
from .http import Exchange, Server
from .orders import HEARTBEAT_SECONDS, LEASE_SECONDS, Ready, WebOrder, read_web_order, say, when_parent_ends
from .web import keys_for

FRAMEWORK = "asyncio"


class Web:
    """Serves `/events` and `/poll`."""

    def __init__(self, order: WebOrder) -> None:
        self._order = order
        self._registry = Registry(lease_seconds=LEASE_SECONDS, heartbeat_seconds=HEARTBEAT_SECONDS)
        self._server = Server(self._handle, order.origins)
        self._options = bridge_options(
            max_pending=MAX_PENDING, policy="lossless", comment_seconds=COMMENT_SECONDS, origins=order.origins
        )
        self._ways = {"/events": self._stream, "/poll": self._poll}

    async def run(self) -> None:
        """Serve until the parent says so, or ends."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        when_parent_ends(self._order.scratch, lambda: loop.call_soon_threadsafe(ended.set))
        async with self._registry:
            await self._server.start(self._order.host, self._order.port, reserved=True)
            say(Ready(FRAMEWORK, self._registry.instance_id))
            await ended.wait()
            await self._server.close()

    async def _handle(self, exchange: Exchange) -> None:
        way = self._ways.get(exchange.request.path)
        if way is None:
            await exchange.answer(HTTPStatus.NOT_FOUND)
            return
        refused: Refused | None = NO_GET
        if exchange.request.method == "GET":
            feed = await self._open_feed(exchange)
            if isinstance(feed, Feed):
                try:
                    refused = await way(exchange, feed)
                finally:
                    await feed.close()
            else:
                refused = feed
        if refused is not None:
            await self._answer(exchange, refused.status, refused.body, ("content-type", PROBLEM), *refused.headers)

    async def _open_feed(self, exchange: Exchange) -> Feed | Refused:
        headers = exchange.request.headers
        try:
            keys = keys_for(self._order, headers.get("host"), headers.get("origin"))
        except PermissionError:
            return FORBIDDEN
        since = since_of(headers.get("last-event-id"), exchange.request.query.get("since"))
        return await open_feed(lambda: self._registry.feed(self._options), keys, since)

    async def _stream(self, exchange: Exchange, feed: Feed) -> None:
        await exchange.begin({**dict(HEADERS), **self._cors(exchange)})
        async for block in event_stream(feed, self._options, random.random):
            await exchange.send(block)

    async def _poll(self, exchange: Exchange, feed: Feed) -> Refused | None:
        seconds = poll_seconds(exchange.request.query.get("timeout"))
        if isinstance(seconds, Refused):
            return seconds
        answer = await poll(feed, seconds)
        await self._answer(exchange, answer.status, answer.body, *answer.headers)
        return None

    async def _answer(self, exchange: Exchange, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        await exchange.answer(HTTPStatus(status), body, **dict(headers), **self._cors(exchange))

    def _cors(self, exchange: Exchange) -> dict[str, str]:
        return dict(cors_headers(exchange.request.headers.get("origin"), self._options.origins))


if __name__ == "__main__":
    asyncio.run(Web(read_web_order()).run())
