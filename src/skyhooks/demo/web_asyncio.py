"""A web process on plain asyncio: a registry, and an event stream over it."""

from __future__ import annotations

import asyncio
import os
import sys
from http import HTTPStatus

import msgspec

from .._asyncio import Registry
from ..exceptions import InvalidCursor
from .events import MEDIA_TYPE, Hello, encode_event, encode_hello
from .http import Exchange, Server
from .orders import HEARTBEAT_SECONDS, LEASE_SECONDS, Ready, WebOrder, say, when_parent_ends

FRAMEWORK = "asyncio"


class Web:
    """Serves `/events`."""

    def __init__(self, order: WebOrder) -> None:
        self._order = order
        self._registry = Registry(order.store, lease_seconds=LEASE_SECONDS, heartbeat_seconds=HEARTBEAT_SECONDS)
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
        request = exchange.request
        since = request.headers.get("last-event-id") or request.query.get("since") or None
        try:
            async with self._registry.subscribe(self._order.keys, since=since) as stream:
                await exchange.begin(MEDIA_TYPE, {"access-control-allow-origin": request.headers.get("origin", "null")})
                await exchange.send(encode_hello(self._hello()))
                async for what in stream:
                    await exchange.send(encode_event(what))
        except InvalidCursor as error:
            await exchange.answer(HTTPStatus.BAD_REQUEST, str(error).encode())

    def _hello(self) -> Hello:
        return Hello(self._order.name, FRAMEWORK, os.getpid(), self._registry.instance_id)


if __name__ == "__main__":
    asyncio.run(Web(msgspec.json.decode(sys.argv[1], type=WebOrder)).run())
