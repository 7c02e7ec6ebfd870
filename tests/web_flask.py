"""A Flask application whose views return gevent's bridges."""

from __future__ import annotations

import os

from flask import Flask, abort, request

from skyhooks.gevent import EventSource, LongPoll, Registry, Script, WebSocket

registry = Registry(os.environ["SKYHOOKS_STORE"])
app = Flask(__name__)


def keys(environ):
    return {"account": request.cookies.get("account") or abort(401)}


def mount(rule, bridge):
    app.add_url_rule(rule, rule, lambda: bridge, websocket=isinstance(bridge, WebSocket))


mount("/events", EventSource(registry, keys=keys))
mount("/socket", WebSocket(registry, keys=keys))
mount("/poll", LongPoll(registry, keys=keys))
mount("/skyhooks.js", Script())
