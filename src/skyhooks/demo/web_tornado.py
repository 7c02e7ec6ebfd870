"""A web process on Tornado: an application with the bridges."""

from __future__ import annotations

import asyncio

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from ..tornado import EventSource, LongPoll, Registry, Script, WebSocket
from .orders import (
    DRAIN_SECONDS,
    HEARTBEAT_SECONDS,
    LEASE_SECONDS,
    Ready,
    WebOrder,
    read_web_order,
    say,
    when_parent_ends,
)
from .web import keys_for

FRAMEWORK = "tornado"


def application(order: WebOrder, registry: Registry) -> Application:
    """Let the demo's page have the demo's key."""

    def keys(handler: RequestHandler) -> dict[str, str]:
        headers = handler.request.headers
        return keys_for(order, headers.get("Host"), headers.get("Origin"))

    bridge = {"registry": registry, "keys": keys, "origins": order.origins}
    return Application(
        [
            ("/events", EventSource, bridge),
            ("/socket", WebSocket, bridge),
            ("/poll", LongPoll, bridge),
            ("/skyhooks.js", Script),
        ]
    )


async def main(order: WebOrder) -> None:
    """Serve until the parent says so, or ends."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    when_parent_ends(order.scratch, lambda: loop.call_soon_threadsafe(ended.set))
    async with Registry(lease_seconds=LEASE_SECONDS, heartbeat_seconds=HEARTBEAT_SECONDS) as registry:
        server = HTTPServer(application(order, registry))
        server.add_sockets(bind_sockets(order.port, order.host, reuse_port=True))
        say(Ready(FRAMEWORK, registry.instance_id))
        await ended.wait()
        server.stop()
        await registry.stop(DRAIN_SECONDS)


if __name__ == "__main__":
    asyncio.run(main(read_web_order()))
