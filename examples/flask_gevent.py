"""A Flask app on gevent whose pages hear of results: `python flask_gevent.py`, open http://127.0.0.1:8002/42, run job.py."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import contextlib
import sys
from collections.abc import Iterator

import gevent
from flask import Flask, Response, request
from gevent.pywsgi import WSGIServer

from skyhooks import Gap, Notification
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
    since = request.headers.get("last-event-id") or request.args.get("since")
    return Response(read(account, since), mimetype="text/event-stream", headers={"cache-control": "no-store"})


def read(account: int, since: str | None) -> Iterator[str]:
    with registry.subscribe({"account": account}, since=since) as stream:
        yield ": connected\n\n"
        while True:
            try:
                with gevent.Timeout(COMMENT_SECONDS):
                    item = next(stream)
            except gevent.Timeout:
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
    with contextlib.suppress(KeyboardInterrupt), registry:
        print(f"http://127.0.0.1:{port}/42", flush=True)
        WSGIServer(("127.0.0.1", port), app, log=None).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 8002)
