"""How gunicorn serves web_flask.py: the registry lives as long as the worker takes connections."""

from __future__ import annotations

import gevent

worker_class = "gevent"
control_socket_disable = True


def post_worker_init(worker):
    from web_flask import registry

    def watch():
        while worker.alive:
            gevent.sleep(0.1)
        registry.stop(drain_seconds=1)

    registry.start()
    gevent.spawn(watch)
