"""`skyhooks.js` as a WSGI application."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING

from .._bridge.script import HEADERS, script
from ._bridge import Answering

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


class Script:
    """Serves `skyhooks.js`, which a page imports: `Script()` is a WSGI application; 304 where the page has it."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer GET and HEAD."""
        answer = Answering(environ, start_response, ())
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return answer.whole(405, b"", [("allow", "GET, HEAD"), ("content-length", "0")])
        source = script()
        tag = f'"{sha256(source).hexdigest()[:32]}"'
        headers = [*HEADERS, ("etag", tag)]
        if tag in environ.get("HTTP_IF_NONE_MATCH", ""):
            return answer.whole(304, b"", headers)
        return answer.whole(200, source, headers)
