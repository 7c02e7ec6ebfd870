"""A web process on gevent: the bridges as WSGI applications, under pywsgi."""
# ruff: noqa: E402 - patched before everything that might keep a socket or a lock of its own

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

from typing import TYPE_CHECKING

from gevent.event import Event
from gevent.os import tp_read
from gevent.pywsgi import WSGIServer

from ..gevent import EventSource, LongPoll, Registry, Script, WebSocket
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
from .web import keys_for, listening_socket

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

FRAMEWORK = "gevent"


def application(order: WebOrder, registry: Registry) -> WSGIApplication:
    """Let the demo's page have the demo's key."""

    def keys(environ: WSGIEnvironment) -> dict[str, str]:
        return keys_for(order, environ.get("HTTP_HOST"), environ.get("HTTP_ORIGIN"))

    apps: dict[str, WSGIApplication] = {
        "/events": EventSource(registry, keys=keys, origins=order.origins),
        "/socket": WebSocket(registry, keys=keys, origins=order.origins),
        "/poll": LongPoll(registry, keys=keys, origins=order.origins),
        "/skyhooks.js": Script(),
    }

    def route(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return apps.get(environ["PATH_INFO"], _not_found)(environ, start_response)

    return route


def _not_found(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("404 Not Found", [("content-length", "0")])
    return []


def main(order: WebOrder) -> None:
    """Serve until the parent says so, or ends."""
    ended = Event()
    when_parent_ends(order.scratch, ended.set, read=tp_read)
    with Registry(lease_seconds=LEASE_SECONDS, heartbeat_seconds=HEARTBEAT_SECONDS) as registry:
        server = WSGIServer(listening_socket(order), application(order, registry), log=None)
        server.start()
        say(Ready(FRAMEWORK, registry.instance_id))
        ended.wait()
        server.close()
        registry.stop(DRAIN_SECONDS)
        server.stop(timeout=0)


if __name__ == "__main__":
    main(read_web_order())
