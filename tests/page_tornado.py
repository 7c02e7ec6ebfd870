"""A web process that a browser opens: Tornado with all bridges, a page, and what a proxy in between may do to it.

It is told and talks as web_tornado.py does.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from skyhooks.tornado import EventSource, LongPoll, Registry, Script, WebSocket
from talking import say, say_error
from web_tornado import Web

PAGE = Path(__file__).with_name("page.html")


class Page(RequestHandler):
    def get(self):
        self.finish(PAGE.read_bytes())


class Refusing(RequestHandler):
    """Knows nothing of bridges."""

    def get(self):
        self.send_error(404)


class Silent(RequestHandler):
    """Takes the request, and answers nothing."""

    async def get(self):
        await asyncio.Future()


class Holding(RequestHandler):
    """Hands the head of an event stream on, and keeps all that follows, as a proxy does that buffers."""

    async def get(self):
        self.set_header("content-type", "text/event-stream")
        await self.flush()
        await asyncio.Future()


def application(registry):
    bridge = {"registry": registry, "keys": lambda _: {"account": 42}}
    return Application(
        [
            ("/", Page),
            ("/skyhooks.js", Script),
            ("/events", EventSource, bridge),
            ("/socket", WebSocket, bridge),
            ("/poll", LongPoll, bridge),
            ("/refusing", Refusing),
            ("/silent", Silent),
            ("/holding", Holding),
        ],
        log_function=lambda _: None,
    )


async def main(store, port, options):
    async with Registry(store, on_error=say_error, **options) as registry:
        sockets = bind_sockets(port, "127.0.0.1")
        HTTPServer(application(registry)).add_sockets(sockets)
        say("started", port=sockets[0].getsockname()[1])
        await Web(registry).obey()


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))
