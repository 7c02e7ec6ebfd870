"""A web process on Twisted, on public names alone: twisted.web with a registry; told and talking as web_tornado.py is."""

from __future__ import annotations

import json
import sys

from twisted.internet import reactor, stdio
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineOnlyReceiver
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from skyhooks import SkyhooksError
from skyhooks.twisted import Registry
from talking import event_text, say, say_error, teller


class Events(Resource):
    """`/events/<account>`."""

    isLeaf = True

    def __init__(self, registry):
        super().__init__()
        self.registry = registry

    def render_GET(self, request):
        streaming = Deferred.fromCoroutine(self.stream(request))
        request.notifyFinish().addErrback(lambda _: streaming.cancel())
        streaming.addErrback(lambda _: None)
        return NOT_DONE_YET

    async def stream(self, request):
        since = request.getHeader("last-event-id") or request.args.get(b"since", [b"start"])[0].decode()
        request.setHeader("content-type", "text/event-stream")
        account = request.path.decode().rpartition("/")[2]
        async with self.registry.subscribe({"account": account}, since=since) as stream:
            request.write(b"")
            async for item in stream:
                request.write(event_text(item).encode())
        request.finish()


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
        """Say how long the reactor stood still at most."""
        until, worst = reactor.seconds() + seconds, 0.0
        while (now := reactor.seconds()) < until:
            await deferLater(reactor, 0.005)
            worst = max(worst, reactor.seconds() - now - 0.005)
        say("watched", worst=worst)

    async def stop(self, drain_seconds=10):
        await self.registry.stop(drain_seconds)
        say("stopped")
        reactor.stop()


class Orders(LineOnlyReceiver):
    delimiter = b"\n"
    MAX_LENGTH = 1_000_000

    def __init__(self, web):
        self.web = web
        self.before = Deferred.fromCoroutine(_nothing())

    def lineReceived(self, line):
        # One after the other, as the other frameworks' processes do.
        self.before.addCallback(lambda _: Deferred.fromCoroutine(self.obey(json.loads(line))))

    def connectionLost(self, reason):
        if reactor.running:
            reactor.stop()

    async def obey(self, order):
        try:
            await getattr(self.web, order.pop("do"))(**order)
        except SkyhooksError as error:
            say("refused", error=type(error).__name__)


async def _nothing():
    return None


async def main(store, options, register):
    registry = Registry(store, on_error=say_error, **options)
    port = reactor.listenTCP(0, Site(Events(registry)), interface="127.0.0.1")
    try:
        await registry.start()
    except SkyhooksError as error:
        say("failed", error=type(error).__name__)
        reactor.stop()
        return
    web = Web(registry)
    for name, keys in register.items():
        await web.register(name, keys)
    say("started", url=registry.url, instance_id=registry.instance_id, port=port.getHost().port)
    stdio.StandardIO(Orders(web))


def fail(failure):
    failure.printTraceback()
    reactor.stop()


if __name__ == "__main__":
    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(main(**json.loads(sys.argv[1]))).addErrback(fail))
    reactor.run()
