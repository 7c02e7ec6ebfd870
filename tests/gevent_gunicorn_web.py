"""A Flask application, and gunicorn's configuration for it: each worker an instance of its own (test_gevent_gunicorn.py)."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()  # gunicorn's worker does so as well, but with `preload_app` too late for what is imported here

import json
import os

from flask import Flask

from skyhooks.gevent import Registry

worker_class = "gevent"
workers = 3
wsgi_app = "gevent_gunicorn_web:app"

app = Flask(__name__)
registry = Registry(lease_seconds=2.0, heartbeat_seconds=0.5)
"""It touches nothing before it is started, so it may be made before the fork; $SKYHOOKS_STORE names the store."""


def post_worker_init(worker):
    """Start it in each worker: after the fork, and once gevent has patched."""
    registry.start()
    registry.register({"account": 42}, hear)


def worker_exit(server, worker):
    registry.stop()


@app.get("/")
def show():
    return {"pid": os.getpid(), "instance": registry.instance_id}


def hear(notification):
    line = json.dumps({"pid": os.getpid(), "data": notification.data})
    with open(os.environ["HEARD"], "a") as heard:
        heard.write(line + "\n")
