"""A web process on gevent: a WSGI application under pywsgi."""
# ruff: noqa: E402 - patched before everything that might keep a socket or a lock of its own

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from gevent.event import Event
from gevent.os import tp_read
from gevent.pywsgi import WSGIServer
from gevent.timeout import with_timeout

from ..gevent import Registry, Subscription
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

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

FRAMEWORK = "gevent"
QUIET_SECONDS = 2.0
COMMENT = b":\n\n"


class Web:
    """Serves `/events`: a greenlet for each who asks."""

    def __init__(self, order: WebOrder, registry: Registry) -> None:
        self._order = order
        self._registry = registry

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        """Let only the demo's page ask."""
        if not may_ask(environ.get("HTTP_HOST"), environ.get("HTTP_ORIGIN"), self._order.origins):
            return _answer(start_response, HTTPStatus.FORBIDDEN, REFUSAL)
        if environ["PATH_INFO"] != "/events":
            return _answer(start_response, HTTPStatus.NOT_FOUND)
        if environ["REQUEST_METHOD"] != "GET":
            return _answer(start_response, HTTPStatus.METHOD_NOT_ALLOWED, Allow="GET")
        return self._stream(environ, start_response)

    def _stream(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        (asked,) = parse_qs(environ["QUERY_STRING"]).get("since", [None])[-1:]
        begin = since(environ.get("HTTP_LAST_EVENT_ID"), asked)
        try:
            with self._registry.subscribe(self._order.keys, since=begin) as stream:
                start_response(_line(HTTPStatus.OK), list(events_head(environ.get("HTTP_ORIGIN")).items()))
                yield hello(self._order, FRAMEWORK, self._registry.instance_id)
                yield from _events(stream)
        except FAULTS as fault:
            yield from _answer(start_response, status_of(fault), str(fault).encode())


def _events(stream: Subscription) -> Iterator[bytes]:
    """Yield what arrives, and comments meanwhile: WSGI sees that a browser has gone when it is written to."""
    parts = map(encode_event, stream)
    while part := with_timeout(QUIET_SECONDS, next, parts, b"", timeout_value=COMMENT):
        yield part


def _answer(start_response: StartResponse, status: HTTPStatus, body: bytes = b"", **headers: str) -> Iterator[bytes]:
    head = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body)), **headers}
    start_response(_line(status), list(head.items()))
    return iter([body])


def _line(status: HTTPStatus) -> str:
    return f"{status.value} {status.phrase}"


def main(order: WebOrder) -> None:
    """Serve until the parent says so, or ends."""
    ended = Event()
    when_parent_ends(order.scratch, ended.set, read=tp_read)
    with Registry(lease_seconds=LEASE_SECONDS, heartbeat_seconds=HEARTBEAT_SECONDS) as registry:
        serve(order, registry, ended)


def serve(order: WebOrder, registry: Registry, ended: Event) -> None:
    """Serve until that event."""
    server = WSGIServer(listening_socket(order), Web(order, registry), log=None)
    server.start()
    say(Ready(FRAMEWORK, registry.instance_id))
    ended.wait()
    server.stop(timeout=0)
    registry.stop(DRAIN_SECONDS)


if __name__ == "__main__":
    main(read_web_order())
