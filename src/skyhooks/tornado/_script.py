"""`skyhooks.js` as a Tornado handler."""

from __future__ import annotations

from tornado.web import RequestHandler

from .._bridge.script import HEADERS, script


class Script(RequestHandler):
    """Serves `skyhooks.js`, which a page imports: `(r"/skyhooks.js", Script)`."""

    SUPPORTED_METHODS = ("GET", "HEAD")

    def get(self) -> None:
        """Answer; Tornado adds an ETag, and 304 where the page has it."""
        for name, value in HEADERS:
            self.set_header(name, value)
        self.finish(script())

    head = get
