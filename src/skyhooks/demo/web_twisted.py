"""A web process on Twisted: a site with the bridges."""

from __future__ import annotations

import socket

from twisted.internet.defer import Deferred
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.task import react
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from ..twisted import EventSource, LongPoll, Registry, Script, WebSocket
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
from .web import keys_for, listening_socket

FRAMEWORK = "twisted"


def site(order: WebOrder, registry: Registry) -> Site:
    """Let the demo's page have the demo's key."""

    def keys(request: Request) -> dict[str, str]:
        return keys_for(order, request.getHeader("host"), request.getHeader("origin"))

    root = Resource()
    bridges = {
        b"events": EventSource(registry, keys=keys, origins=order.origins),
        b"socket": WebSocket(registry, keys=keys, origins=order.origins),
        b"poll": LongPoll(registry, keys=keys, origins=order.origins),
        b"skyhooks.js": Script(),
    }
    for path, bridge in bridges.items():
        root.putChild(path, bridge)  # type: ignore[arg-type]  # a Resource is an IResource, which zope says
    return Site(root)


async def main(reactor: PosixReactorBase, order: WebOrder) -> None:
    """Serve until the parent says so, or ends."""
    ended: Deferred[None] = Deferred()
    when_parent_ends(order.scratch, lambda: reactor.callFromThread(ended.callback, None))
    async with Registry(lease_seconds=LEASE_SECONDS, heartbeat_seconds=HEARTBEAT_SECONDS) as registry:
        with listening_socket(order) as listener:
            port = reactor.adoptStreamPort(listener.fileno(), socket.AF_INET, site(order, registry))
        say(Ready(FRAMEWORK, registry.instance_id))
        await ended
        await port.stopListening()
        await registry.stop(DRAIN_SECONDS)


if __name__ == "__main__":
    react(main, [read_web_order()])
