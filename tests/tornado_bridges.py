"""Tornado as the bridges' conformance suite sees it."""

from __future__ import annotations

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError

from adapters import AsyncioAdapter
from skyhooks.testing import BridgeAdapter
from skyhooks.tornado import EventSource, LongPoll, Notifier, Registry, Script, WebSocket

BRIDGES = {"events": EventSource, "socket": WebSocket, "poll": LongPoll}


class TornadoBridges(AsyncioAdapter, BridgeAdapter):
    registry_class = Registry
    notifier_class = Notifier

    def __init__(self, store_url):
        super().__init__(store_url)
        self.servers = []

    async def serve(self, registry, transport, *, keys, **options):
        if transport == "script":
            return self.listen([("/bridge", Script)])
        return self.listen([("/bridge", BRIDGES[transport], {"registry": registry, "keys": keys, **options})])

    def listen(self, routes, **settings):
        sockets = bind_sockets(0, "127.0.0.1", backlog=1024)
        server = HTTPServer(Application(routes, log_function=lambda handler: None, **settings))
        server.add_sockets(sockets)
        self.servers.append(server)
        return f"http://127.0.0.1:{sockets[0].getsockname()[1]}/bridge"

    def allows(self, keys):
        return lambda handler: keys

    def refuses(self, status):
        def refuse(handler):
            raise HTTPError(status)

        return refuse

    async def close(self):
        await super().close()
        for server in self.servers:
            server.stop()
            await server.close_all_connections()
