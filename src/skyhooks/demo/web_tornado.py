"""A web process on Tornado: an application with one handler."""

from __future__ import annotations

import asyncio
import contextlib
from http import HTTPStatus

from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from ..tornado import Registry
from .events import encode_event
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
from .web import FAULTS, REFUSAL, events_head, hello, may_ask, since, status_of

FRAMEWORK = "tornado"


class EventsHandler(RequestHandler):
    """An EventSource for each who asks."""

    def initialize(self, order: WebOrder, registry: Registry) -> None:
        """Take what the application gives."""
        self._order = order
        self._registry = registry
        self._serving: asyncio.Task[None] | None = None

    def prepare(self) -> None:
        """Let only the demo's page ask."""
        headers = self.request.headers
        if not may_ask(headers.get("Host"), headers.get("Origin"), self._order.origins):
            self.set_status(HTTPStatus.FORBIDDEN)
            self.finish(REFUSAL)

    async def get(self) -> None:
        """Send what arrives until the browser or the registry goes."""
        self._serving = asyncio.create_task(self._serve())
        with contextlib.suppress(StreamClosedError, asyncio.CancelledError):
            await self._serving

    def on_connection_close(self) -> None:
        """End the subscription; nobody would notice before the next notification."""
        if self._serving is not None:
            self._serving.cancel()

    async def _serve(self) -> None:
        begin = since(self.request.headers.get("Last-Event-ID"), self.get_query_argument("since", None))
        try:
            async with self._registry.subscribe(self._order.keys, since=begin) as stream:
                await self._begin()
                async for what in stream:
                    self.write(encode_event(what))
                    await self.flush()
        except FAULTS as fault:
            self.set_status(status_of(fault))
            self.write(str(fault))

    async def _begin(self) -> None:
        for name, value in events_head(self.request.headers.get("Origin")).items():
            self.set_header(name, value)
        self.write(hello(self._order, FRAMEWORK, self._registry.instance_id))
        await self.flush()


async def main(order: WebOrder) -> None:
    """Serve until the parent says so, or ends."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    when_parent_ends(order.scratch, lambda: loop.call_soon_threadsafe(ended.set))
    async with Registry(lease_seconds=LEASE_SECONDS, heartbeat_seconds=HEARTBEAT_SECONDS) as registry:
        application = Application([("/events", EventsHandler, {"order": order, "registry": registry})])
        server = HTTPServer(application)
        server.add_sockets(bind_sockets(order.port, order.host, reuse_port=True))
        say(Ready(FRAMEWORK, registry.instance_id))
        await ended.wait()
        server.stop()
        await registry.stop(DRAIN_SECONDS)


if __name__ == "__main__":
    asyncio.run(main(read_web_order()))
