"""Twisted as the bridges' conformance suite sees it."""

from __future__ import annotations

from twisted.internet.defer import maybeDeferred
from twisted.web.error import Error
from twisted.web.resource import Resource
from twisted.web.server import Site

from reactor_thread import reactor
from skyhooks.testing import BridgeAdapter
from skyhooks.twisted import EventSource, LongPoll, Script, WebSocket
from twisted_adapter import TwistedAdapter

BRIDGES = {"events": EventSource, "socket": WebSocket, "poll": LongPoll}


class Kept(Site):
    """A site that knows its connections, and tells nobody of requests."""

    def __init__(self, resource):
        super().__init__(resource)
        self.connections = []

    def buildProtocol(self, address):
        self.connections.append(super().buildProtocol(address))
        return self.connections[-1]

    def log(self, request):
        """Say nothing."""


class TwistedBridges(TwistedAdapter, BridgeAdapter):
    def __init__(self, store_url):
        super().__init__(store_url)
        self.sites = []

    async def serve(self, registry, transport, *, keys, **options):
        if transport == "script":
            return self.listen(Script())
        return self.listen(BRIDGES[transport](registry, keys=keys, **options))

    def listen(self, bridge):
        root = Resource()
        root.putChild(b"bridge", bridge)
        site = Kept(root)
        port = reactor.listenTCP(0, site, backlog=1024, interface="127.0.0.1")
        self.sites.append((port, site))
        return f"http://127.0.0.1:{port.getHost().port}/bridge"

    def allows(self, keys):
        return lambda request: keys

    def refuses(self, status):
        def refuse(request):
            raise Error(status)

        return refuse

    async def close(self):
        await super().close()
        for port, site in self.sites:
            await maybeDeferred(port.stopListening)
            for connection in site.connections:
                connection._channel.transport.abortConnection()  # nothing, where it has ended
