"""A Klein service on Twisted whose pages hear of results: `python klein_service.py`, open http://127.0.0.1:8003/42, run job.py."""

from __future__ import annotations

import sys

from klein import Klein
from twisted.internet import endpoints
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorCore
from twisted.internet.task import react
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.server import Site

from skyhooks import Gap, InvalidCursor
from skyhooks.twisted import Registry

PAGE = """<!doctype html><title>skyhooks on Twisted</title><pre id="log">waiting…\n</pre><script>
const show = (event) => document.getElementById("log").append(event.data + "\\n")
new EventSource("/events/{account}?since={cursor}").onmessage = show
</script>"""


class Service:
    app = Klein()

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    @app.route("/<int:account>")
    async def page(self, request: IRequest, account: int) -> str:
        # In your application the account comes from the session of whoever asks, not from the path. The cursor is taken
        # before the page is out, so that a result which is faster than the browser is replayed when it connects.
        request.setHeader("content-type", "text/html; charset=utf-8")
        cursor = await self.registry.cursor({"account": account})
        return PAGE.replace("{account}", str(account)).replace("{cursor}", cursor)

    @app.route("/events/<int:account>")
    def events(self, request: IRequest, account: int) -> Deferred[None]:
        request.setHeader("content-type", "text/event-stream")
        request.setHeader("cache-control", "no-store")
        reading = Deferred.fromCoroutine(self.read(request, account))
        request.notifyFinish().addErrback(lambda _: reading.cancel())
        return reading.addErrback(ended, request)

    async def read(self, request: IRequest, account: int) -> None:
        since = request.getHeader("last-event-id") or request.args.get(b"since", [b""])[0].decode() or None
        async with self.registry.subscribe({"account": account}, since=since) as stream:
            request.write(b": connected\n\n")
            async for item in stream:
                if isinstance(item, Gap):
                    request.write(f"event: gap\nid: {item.cursor}\ndata: {item.reason}\n\n".encode())
                else:
                    request.write(f"id: {item.cursor}\ndata: {item.raw.decode()}\n\n".encode())


def ended(failure: Failure, request: IRequest) -> bytes:
    if failure.trap(CancelledError, InvalidCursor) is InvalidCursor:
        request.setResponseCode(400)
    return b""


async def main(reactor: IReactorCore, port: int) -> None:
    registry = Registry()  # $SKYHOOKS_STORE, else a SQLite file in this directory
    await registry.start()
    reactor.addSystemEventTrigger("before", "shutdown", registry.stop)
    endpoint = endpoints.TCP4ServerEndpoint(reactor, port, interface="127.0.0.1")
    await endpoint.listen(Site(Service(registry).app.resource()))
    print(f"http://127.0.0.1:{port}/42", flush=True)
    await Deferred()  # until the reactor stops


if __name__ == "__main__":
    react(main, [int(sys.argv[1]) if sys.argv[1:] else 8003])
