"""gunicorn with one worker whose own server takes what jobs POST (test_gevent_gunicorn.py)."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import os

import gevent

from gevent_gunicorn_web import hear
from skyhooks.gevent import Registry, WebhookApp

worker_class = "gevent"
workers = 1
wsgi_app = "gevent_gunicorn_mounted:app"

registry = Registry(url=os.environ["WEBHOOK_URL"], max_body_bytes=5000)
app = WebhookApp(registry)


def post_worker_init(worker):
    gevent.spawn(start)  # it proves its URL, so the worker must be serving by then


def start():
    registry.start()
    registry.register({"account": 42}, hear)


def worker_exit(server, worker):
    registry.stop()
