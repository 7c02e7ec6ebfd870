"""A Tornado service whose pages hear of results: `python tornado_service.py`, open http://127.0.0.1:8001/42, run job.py."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

from tornado.iostream import StreamClosedError
from tornado.web import Application, RequestHandler

from skyhooks import Gap, InvalidCursor
from skyhooks.tornado import Registry

PAGE = """<!doctype html><title>skyhooks on Tornado</title><pre id="log">waiting…\n</pre><script>
const show = (event) => document.getElementById("log").append(event.data + "\\n")
new EventSource("/events/{account}?since={cursor}").onmessage = show
</script>"""


class Page(RequestHandler):
    def initialize(self, registry: Registry) -> None:
        self.registry = registry

    async def get(self, account: str) -> None:
        # In your application the account comes from the session of whoever asks, not from the path. The cursor is taken
        # before the page is out, so that a result which is faster than the browser is replayed when it connects.
        cursor = await self.registry.cursor({"account": account})
        self.write(PAGE.replace("{account}", account).replace("{cursor}", cursor))


class Events(RequestHandler):
    def initialize(self, registry: Registry) -> None:
        self.registry = registry

    async def get(self, account: str) -> None:
        self.set_header("content-type", "text/event-stream")
        self.set_header("cache-control", "no-store")
        self.reading = asyncio.ensure_future(self.read(account))
        try:
            await self.reading
        except InvalidCursor:
            self.send_error(400)
        except (asyncio.CancelledError, StreamClosedError):
            return  # the browser has gone

    async def read(self, account: str) -> None:
        since = self.request.headers.get("last-event-id") or self.get_argument("since", "") or None
        async with self.registry.subscribe({"account": account}, since=since) as stream:
            await self.flush()
            async for item in stream:
                if isinstance(item, Gap):
                    self.write(f"event: gap\nid: {item.cursor}\ndata: {item.reason}\n\n")
                else:
                    self.write(f"id: {item.cursor}\ndata: {item.raw.decode()}\n\n")
                await self.flush()

    def on_connection_close(self) -> None:
        self.reading.cancel()


async def main(port: int) -> None:
    async with Registry() as registry:  # $SKYHOOKS_STORE, else a SQLite file in this directory
        given = {"registry": registry}
        application = Application([("/([0-9]+)", Page, given), ("/events/([0-9]+)", Events, given)])
        application.listen(port, "127.0.0.1")
        ended = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        print(f"http://127.0.0.1:{port}/42", flush=True)
        await ended.wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(int(sys.argv[1]) if sys.argv[1:] else 8001))
