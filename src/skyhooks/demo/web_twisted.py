"""A web process on Twisted: a site with one resource."""

from __future__ import annotations

import socket
from http import HTTPStatus

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IPushProducer
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.task import react
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

from ..twisted import Registry
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
from .web import FAULTS, REFUSAL, events_head, hello, listening_socket, may_ask, since, status_of

FRAMEWORK = "twisted"

_log = Logger()


class EventsResource(Resource):
    """An EventSource for each who asks."""

    isLeaf = True

    def __init__(self, order: WebOrder, registry: Registry) -> None:
        Resource.__init__(self)
        self._order = order
        self._registry = registry

    def render(self, request: Request) -> bytes | int:
        """Let only the demo's page ask."""
        if not may_ask(request.getHeader("host"), request.getHeader("origin"), self._order.origins):
            request.setResponseCode(HTTPStatus.FORBIDDEN)
            return REFUSAL
        answer: bytes | int = Resource.render(self, request)
        return answer

    def render_HEAD(self, request: Request) -> bytes:
        """Refuse it, or Twisted would make an endless GET of it."""
        request.setResponseCode(HTTPStatus.METHOD_NOT_ALLOWED)
        request.setHeader("Allow", "GET")
        return b""

    def render_GET(self, request: Request) -> int:
        """Send what arrives until the browser or the registry goes."""
        serving = Deferred.fromCoroutine(self._serve(request))
        request.notifyFinish().addErrback(lambda _: serving.cancel())
        serving.addErrback(_failed, request)
        return NOT_DONE_YET

    async def _serve(self, request: Request) -> None:
        begin = since(
            request.getHeader("last-event-id"), request.args.get(b"since", [b""])[-1].decode(errors="replace")
        )
        try:
            async with self._registry.subscribe(self._order.keys, since=begin) as stream:
                outlet = _Outlet(request)
                await outlet.send(hello(self._order, FRAMEWORK, self._registry.instance_id))
                async for what in stream:
                    await outlet.send(encode_event(what))
                outlet.end()
        except FAULTS as fault:
            request.setResponseCode(status_of(fault))
            request.write(str(fault).encode())
            request.finish()


def _failed(failure: Failure, request: Request) -> None:
    if not failure.check(CancelledError):
        _log.failure("cannot serve {request}", failure, request=request)
        request.loseConnection()


@implementer(IPushProducer)
class _Outlet:
    """The way to one browser, which waits while its connection is full."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._flowing: Deferred[None] = succeed(None)
        for name, value in events_head(request.getHeader("origin")).items():
            request.setHeader(name, value)
        request.registerProducer(self, True)

    async def send(self, part: bytes) -> None:
        """Send some more; wait until there is room for the next."""
        self._request.write(part)
        await self._flowing

    def end(self) -> None:
        """End the answer."""
        self._request.unregisterProducer()
        self._request.finish()

    def pauseProducing(self) -> None:
        """Say that the connection is full."""
        if self._flowing.called:
            self._flowing = Deferred()

    def resumeProducing(self) -> None:
        """Say that there is room again."""
        if not self._flowing.called:
            self._flowing.callback(None)

    def stopProducing(self) -> None:
        """Leave it to `notifyFinish`, which cancels whatever is waited for."""


async def main(reactor: PosixReactorBase, order: WebOrder) -> None:
    """Serve until the parent says so, or ends."""
    ended: Deferred[None] = Deferred()
    when_parent_ends(order.scratch, lambda: reactor.callFromThread(ended.callback, None))
    async with Registry(lease_seconds=LEASE_SECONDS, heartbeat_seconds=HEARTBEAT_SECONDS) as registry:
        root = Resource()
        events = EventsResource(order, registry)
        root.putChild(b"events", events)  # type: ignore[arg-type]  # a Resource is an IResource, which zope says
        with listening_socket(order) as listener:
            port = reactor.adoptStreamPort(listener.fileno(), socket.AF_INET, Site(root))
        say(Ready(FRAMEWORK, registry.instance_id))
        await ended
        await port.stopListening()
        await registry.stop(DRAIN_SECONDS)


if __name__ == "__main__":
    react(main, [read_web_order()])
