"""A web process, as a team would run it: a Tornado application with a registry, on public names alone.

Told what to do by JSON lines on its standard input; says what happens by JSON lines on its standard output. It serves
`/events/<account>` to browsers, as an EventSource reads it.
"""

from __future__ import annotations

import asyncio
import json
import sys

from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from skyhooks import SkyhooksError
from skyhooks.tornado import Registry
from talking import event_text, say, say_error, teller


class Events(RequestHandler):
    def initialize(self, registry):
        self.registry = registry

    async def get(self, account):
        self.set_header("content-type", "text/event-stream")
        since = self.request.headers.get("last-event-id") or self.get_argument("since", "start")
        try:
            async with self.registry.subscribe({"account": account}, since=since) as stream:
                await self.flush()
                async for item in stream:
                    self.write(event_text(item))
                    await self.flush()
        except StreamClosedError:
            return


class Web:
    def __init__(self, registry):
        self.registry = registry

    async def register(self, name, keys, since=None):
        callback, on_gap = teller(name)
        await self.registry.register(keys, callback, since=since, on_gap=on_gap)
        say("registered", name=name)

    async def cursor(self, keys):
        say("cursor", cursor=await self.registry.cursor(keys))

    async def who(self):
        say("who", url=self.registry.url, instance_id=self.registry.instance_id)

    async def watch(self, seconds):
        """Say how long the loop stood still at most."""
        loop = asyncio.get_running_loop()
        until, worst = loop.time() + seconds, 0.0
        while (now := loop.time()) < until:
            await asyncio.sleep(0.005)
            worst = max(worst, loop.time() - now - 0.005)
        say("watched", worst=worst)

    async def stop(self, drain_seconds=10):
        await self.registry.stop(drain_seconds)
        say("stopped")
        raise SystemExit

    async def obey(self):
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            order = json.loads(line)
            try:
                await getattr(self, order.pop("do"))(**order)
            except SkyhooksError as error:
                say("refused", error=type(error).__name__)


async def main(store, options, register):
    registry = Registry(store, on_error=say_error, **options)
    sockets = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(Application([("/events/(.*)", Events, {"registry": registry})]))
    server.add_sockets(sockets)
    try:
        await registry.start()
    except SkyhooksError as error:
        say("failed", error=type(error).__name__)
        return
    web = Web(registry)
    for name, keys in register.items():
        await web.register(name, keys)
    say("started", url=registry.url, instance_id=registry.instance_id, port=sockets[0].getsockname()[1])
    await web.obey()


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))
