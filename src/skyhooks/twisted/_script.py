"""`skyhooks.js` as a resource of twisted.web."""

from __future__ import annotations

import hashlib

from twisted.web.http import CACHED
from twisted.web.resource import Resource
from twisted.web.server import Request

from .._bridge.script import HEADERS, script


class Script(Resource):
    """Serves `skyhooks.js`, which a page imports: `root.putChild(b"skyhooks.js", Script())`."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted (26.10) has no types here

    def render_GET(self, request: Request) -> bytes:
        """Answer, also HEAD; 304 where the page has it."""
        for name, value in HEADERS:
            request.setHeader(name, value)
        source = script()
        tag = b'"%s"' % hashlib.sha256(source).hexdigest()[:32].encode()
        return b"" if request.setETag(tag) is CACHED else source
