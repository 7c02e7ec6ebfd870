"""A Flask app on gevent whose pages hear of results: `python flask_gevent.py`, open http://127.0.0.1:8002/42, run job.py."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import contextlib
import signal
import sys
from collections.abc import Iterator
from itertools import chain

import gevent
from flask import Flask, Response, abort, request
from gevent.pywsgi import WSGIServer

from skyhooks import Gap, InvalidCursor, Notification
from skyhooks.gevent import Registry

PAGE = """<!doctype html><title>skyhooks on gevent</title><pre id="log">waiting…\n</pre><script>
const show = (event) => document.getElementById("log").append(event.data + "\\n")
new EventSource("/events/{account}?since={cursor}").onmessage = show
</script>"""
COMMENT_SECONDS = 15

app = Flask(__name__)
registry = Registry()  # $SKYHOOKS_STORE, else a SQLite file in this directory


@app.get("/<int:account>")
def page(account: int) -> str:
    # In your application the account comes from the session of whoever asks, not from the path. The cursor is taken before
    # the page is out, so that a result which is faster than the browser is replayed when it connects.
    return PAGE.replace("{account}", str(account)).replace("{cursor}", registry.cursor({"account": account}))


@app.get("/events/<int:account>")
def events(account: int) -> Response:
    since = request.headers.get("last-event-id") or request.args.get("since") or None
    events = read(account, since)
    try:
        first = next(events)
    except InvalidCursor:
        abort(400)
    return Response(chain([first], events), mimetype="text/event-stream", headers={"cache-control": "no-store"})


def read(account: int, since: str | None) -> Iterator[str]:
    with registry.subscribe({"account": account}, since=since) as stream:
        yield ": connected\n\n"
        while True:
            quiet = gevent.Timeout(COMMENT_SECONDS)
            try:
                with quiet:
                    item = next(stream)
            except gevent.Timeout as timeout:
                if timeout is not quiet:
                    raise
                yield ": still here\n\n"  # which is how pywsgi notices that the browser is not
            except StopIteration:
                return
            else:
                yield as_event(item)


def as_event(item: Notification | Gap) -> str:
    if isinstance(item, Gap):
        return f"event: gap\nid: {item.cursor}\ndata: {item.reason}\n\n"
    return f"id: {item.cursor}\ndata: {item.raw.decode()}\n\n"


def main(port: int) -> None:
    server = WSGIServer(("127.0.0.1", port), app, log=None)
    gevent.signal_handler(signal.SIGTERM, server.stop, 1)
    with contextlib.suppress(KeyboardInterrupt), registry:
        server.start()
        print(f"http://127.0.0.1:{port}/42", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 8002)
