"""A process that serves EventSources on Twisted: by hand, or by skyhooks."""

from __future__ import annotations

import threading

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore
from twisted.internet.task import LoopingCall, react
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from benchmarks.serving import COMMENT, COMMENT_SECONDS, HEADERS, HELLO, Fan, Heard, key_asked, obey, order
from skyhooks.twisted import EventSource, Registry


class Bare(Resource):
    """What one writes by hand, at its leanest: events are written to the requests, and a slow client is not bounded."""

    isLeaf = True  # noqa: N815

    def __init__(self, fan: Fan) -> None:
        super().__init__()
        self._fan = fan
        LoopingCall(fan.tell_all, COMMENT).start(COMMENT_SECONDS, now=False)

    def render_GET(self, request):  # noqa: N802
        for name, value in HEADERS:
            request.setHeader(name, value)
        key = key_asked(request.uri.partition(b"?")[2].decode())
        take = request.write
        take(HELLO)
        self._fan.join(key, take)
        request.notifyFinish().addBoth(lambda _: self._fan.leave(key, take))
        return NOT_DONE_YET


async def main(reactor: IReactorCore) -> None:
    ordered = order()
    fan, heard = Fan(), Heard()
    registry = Registry(ordered.store, reactor=reactor)
    if ordered.kind != "bare":
        await registry.start()
    if ordered.kind == "callbacks":
        for key in ordered.keys:
            await registry.register({"account": key}, heard)
    if ordered.kind == "skyhooks":
        site = EventSource(
            registry,
            keys=lambda request: {"account": key_asked(request.uri.partition(b"?")[2].decode())},
            comment_seconds=COMMENT_SECONDS,
        )
    else:
        site = Bare(fan)
    listening = reactor.listenTCP(0, Site(site, timeout=None), backlog=4096, interface="127.0.0.1")
    publish = lambda keys: reactor.callFromThread(fan.publish, keys)  # noqa: E731
    threading.Thread(target=obey, args=(listening.getHost().port, publish, heard), daemon=True).start()
    await Deferred()


if __name__ == "__main__":
    react(main)
