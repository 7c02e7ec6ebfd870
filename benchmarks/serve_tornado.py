"""A process that serves EventSources on Tornado: by hand, or by skyhooks."""

from __future__ import annotations

import asyncio
import threading

from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from benchmarks.serving import (
    COMMENT,
    COMMENT_SECONDS,
    HEADERS,
    HELLO,
    MAX_PENDING,
    Fan,
    key_asked,
    obey,
    order,
)
from skyhooks.tornado import EventSource, Registry


class Bare(RequestHandler):
    """What one writes by hand: a queue for each client, and a coroutine that reads it."""

    def initialize(self, fan: Fan) -> None:
        self._fan = fan
        self._task: asyncio.Task | None = None

    async def get(self) -> None:
        self._task = asyncio.current_task()
        for name, value in HEADERS:
            self.set_header(name, value)
        key = key_asked(self.request.query)
        queue: asyncio.Queue[bytes] = asyncio.Queue(MAX_PENDING)
        take = queue.put_nowait
        self._fan.join(key, take)
        try:
            self.write(HELLO)
            await self.flush()
            while True:
                try:
                    async with asyncio.timeout(COMMENT_SECONDS):
                        event = await queue.get()
                except TimeoutError:
                    event = COMMENT
                self.write(event)
                await self.flush()
        except (StreamClosedError, asyncio.CancelledError):
            pass
        finally:
            self._fan.leave(key, take)

    def on_connection_close(self) -> None:
        if self._task is not None:
            self._task.cancel()


async def main() -> None:
    kind, store = order()
    fan = Fan()
    loop = asyncio.get_running_loop()
    if kind == "skyhooks":
        registry = Registry(store)
        await registry.start()
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
    threading.Thread(target=obey, args=(port, publish), daemon=True).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
