"""A web process on gevent, on public names alone: pywsgi with a registry; told and talking as web_tornado.py is."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json
import os
import sys
import time
from urllib.parse import parse_qs

import gevent
from gevent.fileobject import FileObjectPosix
from gevent.pywsgi import WSGIServer

from skyhooks import SkyhooksError
from skyhooks.gevent import Registry
from talking import event_text, say, say_error, teller


class Events:
    """`/events/<account>`, as a WSGI application."""

    def __init__(self, registry):
        self.registry = registry

    def __call__(self, environ, start_response):
        account = environ["PATH_INFO"].rpartition("/")[2]
        query = parse_qs(environ["QUERY_STRING"])
        since = environ.get("HTTP_LAST_EVENT_ID") or query.get("since", ["start"])[0]
        with self.registry.subscribe({"account": account}, since=since) as stream:
            start_response("200 OK", [("content-type", "text/event-stream")])
            yield b""
            for item in stream:
                yield event_text(item).encode()


class Web:
    def __init__(self, registry):
        self.registry = registry

    def register(self, name, keys, since=None):
        callback, on_gap = teller(name)
        self.registry.register(keys, callback, since=since, on_gap=on_gap)
        say("registered", name=name)

    def cursor(self, keys):
        say("cursor", cursor=self.registry.cursor(keys))

    def who(self):
        say("who", url=self.registry.url, instance_id=self.registry.instance_id)

    def watch(self, seconds):
        """Say how long the hub stood still at most."""
        until, worst = time.monotonic() + seconds, 0.0
        while (now := time.monotonic()) < until:
            gevent.sleep(0.005)
            worst = max(worst, time.monotonic() - now - 0.005)
        say("watched", worst=worst)

    def stop(self, drain_seconds=10):
        self.registry.stop(drain_seconds)
        say("stopped")
        raise SystemExit

    def obey(self):
        for line in FileObjectPosix(os.dup(sys.stdin.fileno()), "r"):
            order = json.loads(line)
            try:
                getattr(self, order.pop("do"))(**order)
            except SkyhooksError as error:
                say("refused", error=type(error).__name__)


def main(store, options, register):
    registry = Registry(store, on_error=say_error, **options)
    server = WSGIServer(("127.0.0.1", 0), Events(registry), log=None, error_log=None)
    server.start()
    try:
        registry.start()
    except SkyhooksError as error:
        say("failed", error=type(error).__name__)
        return
    web = Web(registry)
    for name, keys in register.items():
        web.register(name, keys)
    say("started", url=registry.url, instance_id=registry.instance_id, port=server.server_port)
    web.obey()


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
