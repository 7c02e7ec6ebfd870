"""A process that serves EventSources on gevent, under pywsgi: by hand, or by skyhooks."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import socket
from contextlib import nullcontext

import gevent
from gevent.pywsgi import WSGIServer
from gevent.queue import Empty, Queue

from benchmarks.serving import (
    COMMENT,
    COMMENT_SECONDS,
    HEADERS,
    HELLO,
    MAX_PENDING,
    Fan,
    Heard,
    key_asked,
    obey,
    order,
)
from skyhooks.gevent import EventSource, Registry

fan = Fan()


def bare(environ, start_response):
    """What one writes by hand: a queue for each client, and a generator that reads it."""
    start_response("200 OK", list(HEADERS))
    return events(key_asked(environ["QUERY_STRING"]))


def events(key):
    queue = Queue(MAX_PENDING)
    take = queue.put_nowait
    fan.join(key, take)
    try:
        yield HELLO
        while True:
            try:
                event = queue.get(timeout=COMMENT_SECONDS)
            except Empty:
                event = COMMENT
            yield event
    finally:
        fan.leave(key, take)


def main() -> None:
    ordered = order()
    heard = Heard()
    registry = Registry(ordered.store)
    with nullcontext() if ordered.kind == "bare" else registry:
        if ordered.kind == "callbacks":
            for key in ordered.keys:
                registry.register({"account": key}, heard)
        app = bare
        if ordered.kind == "skyhooks":
            app = EventSource(
                registry,
                keys=lambda environ: {"account": key_asked(environ["QUERY_STRING"])},
                comment_seconds=COMMENT_SECONDS,
            )
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(4096)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        hub = gevent.get_hub()
        publish = lambda keys: hub.loop.run_callback_threadsafe(gevent.spawn, fan.publish, keys)  # noqa: E731
        hub.threadpool.spawn(obey, listener.getsockname()[1], publish, heard)
        WSGIServer(listener, app, log=None).serve_forever()


if __name__ == "__main__":
    main()
