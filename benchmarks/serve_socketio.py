"""A process that serves python-socketio's clients, on aiohttp: each is in the room of its key."""

from __future__ import annotations

import asyncio
import threading

import socketio
from aiohttp import web

from benchmarks.harness import DATA
from benchmarks.serving import COMMENT_SECONDS, Heard, key_asked, obey, order


async def main() -> None:
    order()  # there is one kind
    server = socketio.AsyncServer(async_mode="aiohttp", ping_interval=COMMENT_SECONDS)

    @server.event
    async def connect(sid, environ):
        await server.enter_room(sid, key_asked(environ["QUERY_STRING"]))

    async def publish(keys):
        for key in keys:
            await server.emit("event", DATA, room=key)

    application = web.Application()
    server.attach(application)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
    await site.start()
    loop = asyncio.get_running_loop()
    start = lambda keys: asyncio.run_coroutine_threadsafe(publish(keys), loop)  # noqa: E731
    threading.Thread(target=obey, args=(runner.addresses[0][1], start, Heard()), daemon=True).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
