"""A web process on plain asyncio, in the place of a framework that is not installed."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from .._asyncio.registry import Registry
from .events import encode_event
from .http import Exchange, Server
from .orders import HEARTBEAT_SECONDS, LEASE_SECONDS, Ready, WebOrder, read_web_order, say, when_parent_ends
from .web import FAULTS, events_head, hello, since, status_of

FRAMEWORK = "asyncio"


class Web:
    """Serves `/events`."""

    def __init__(self, order: WebOrder) -> None:
        self._order = order
        self._registry = Registry(lease_seconds=LEASE_SECONDS, heartbeat_seconds=HEARTBEAT_SECONDS)
        self._server = Server(self._handle, order.origins)

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
        if exchange.request.path != "/events":
            await exchange.answer(HTTPStatus.NOT_FOUND)
        elif exchange.request.method != "GET":
            await exchange.answer(HTTPStatus.METHOD_NOT_ALLOWED, allow="GET")
        else:
            await self._stream(exchange)

    async def _stream(self, exchange: Exchange) -> None:
        headers, query = exchange.request.headers, exchange.request.query
        begin = since(headers.get("last-event-id"), query.get("since"))
        try:
            async with self._registry.subscribe(self._order.keys, since=begin) as stream:
                await exchange.begin(events_head(headers.get("origin")))
                await exchange.send(hello(self._order, FRAMEWORK, self._registry.instance_id))
                async for what in stream:
                    await exchange.send(encode_event(what))
        except FAULTS as fault:
            await exchange.answer(status_of(fault), str(fault).encode())


if __name__ == "__main__":
    asyncio.run(Web(read_web_order()).run())
