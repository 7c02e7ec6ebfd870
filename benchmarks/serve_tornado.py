"""A process that serves EventSources on Tornado: by hand, or by skyhooks."""

from __future__ import annotations

import asyncio
import threading

from tornado.httpserver import HTTPServer
from tornado.ioloop import PeriodicCallback
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from benchmarks.serving import (
    COMMENT,
    COMMENT_SECONDS,
    HEADERS,
    HELLO,
    Fan,
    Heard,
    key_asked,
    obey,
    order,
)
from skyhooks.tornado import EventSource, Registry


class Bare(RequestHandler):
    """What one writes by hand, at its leanest: events are written to the requests, and a slow client is not bounded."""

    def initialize(self, fan: Fan) -> None:
        self._fan = fan
        self._gone = asyncio.get_running_loop().create_future()

    async def get(self) -> None:
        for name, value in HEADERS:
            self.set_header(name, value)
        key, take = key_asked(self.request.query), self._tell
        self._tell(HELLO)
        self._fan.join(key, take)
        try:
            await self._gone
        finally:
            self._fan.leave(key, take)

    def on_connection_close(self) -> None:
        if not self._gone.done():
            self._gone.set_result(None)

    def _tell(self, event: bytes) -> None:
        self.write(event)
        self.flush()


async def main() -> None:
    ordered = order()
    fan, heard = Fan(), Heard()
    loop = asyncio.get_running_loop()
    PeriodicCallback(lambda: fan.tell_all(COMMENT), COMMENT_SECONDS * 1000).start()
    registry = Registry(ordered.store)
    if ordered.kind != "bare":
        await registry.start()
    if ordered.kind == "callbacks":
        for key in ordered.keys:
            await registry.register({"account": key}, heard)
    if ordered.kind == "skyhooks":
        bridge = {
            "registry": registry,
            "keys": lambda handler: {"account": key_asked(handler.request.query)},
            "comment_seconds": COMMENT_SECONDS,
        }
        route = ("/events", EventSource, bridge)
    else:
        route = ("/events", Bare, {"fan": fan})
    sockets = bind_sockets(0, "127.0.0.1", backlog=4096)
    HTTPServer(Application([route])).add_sockets(sockets)
    port = sockets[0].getsockname()[1]
    publish = lambda keys: loop.call_soon_threadsafe(fan.publish, keys)  # noqa: E731
    threading.Thread(target=obey, args=(port, publish, heard), daemon=True).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
