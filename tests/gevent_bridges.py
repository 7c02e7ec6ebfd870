"""gevent as the bridges' conformance suite sees it."""

from __future__ import annotations

import socket

from gevent.pywsgi import WSGIServer
from werkzeug.exceptions import abort

from gevent_adapter import GeventAdapter
from skyhooks.gevent import EventSource, LongPoll, Script, WebSocket
from skyhooks.testing import BridgeAdapter

BRIDGES = {"events": EventSource, "socket": WebSocket, "poll": LongPoll}


class GeventBridges(GeventAdapter, BridgeAdapter):
    def __init__(self, store_url):
        super().__init__(store_url)
        self.servers = []

    async def serve(self, registry, transport, *, keys, **options):
        if transport == "script":
            return self.listen(Script())
        return self.listen(BRIDGES[transport](registry.blocking, keys=keys, **options))

    def listen(self, app):
        listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        server = WSGIServer(listening, app, log=None, error_log=None)
        server.start()
        self.servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/bridge"

    def allows(self, keys):
        return lambda environ: keys

    def refuses(self, status):
        return lambda environ: abort(status)

    def close(self):
        super().close()
        for server in self.servers:
            server.stop(timeout=1)
