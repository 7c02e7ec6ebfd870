"""The handler that an application mounts, where the registry is not to listen for itself."""

from __future__ import annotations

import logging
import sys
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, cast

from tornado.http1connection import HTTP1Connection
from tornado.web import HTTPError, RequestHandler, stream_request_body

from .._answering import PROBLEM, refused, respond
from .._http import BODY_SECONDS, LINGER_SECONDS, TOO_LARGE, Refusal, Response, judge_request
from .._wire import problem

if TYPE_CHECKING:
    from .._asyncio.registry import Registry

log = logging.getLogger("skyhooks")

_CODES = {405: "method", 500: "internal"}
_NAMES = {"x-consumed-content-encoding": "content-encoding"}
"""What `HTTPServer(decompress_request=True)` calls the encoding that it has undone."""


@stream_request_body
class WebhookHandler(RequestHandler):
    """Takes what jobs POST: `(r"/webhook", WebhookHandler, {"registry": registry})`.

    It answers as the own listener does: judges the head before the body is read, caps body and time by itself whatever
    the server allows, needs no XSRF token (a POST is authenticated by its signature), and closes the connection of
    whatever it refuses. What Tornado refuses first never comes here, and gets Tornado's bare 400, or no answer: heads
    that are malformed or above the server's `max_header_size`. A head that stalls is closed by the server as well,
    after an hour: give it `HTTPServer(application, idle_connection_timeout=75)`.
    """

    body_seconds = BODY_SECONDS
    linger_seconds = LINGER_SECONDS

    def initialize(self, registry: Registry) -> None:
        """Take what the route gives."""
        self._registry = registry
        self._pairs: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._refused = False

    def check_xsrf_cookie(self) -> None:
        """Let it pass: there is no cookie that somebody else could use."""

    def check_trusted_origin(self, origin: str) -> bool:  # noqa: ARG002  # Tornado's signature
        """Let it pass, for the same reason."""
        return True

    def prepare(self) -> None:
        """Judge the head."""
        request = self.request
        # The server's limit is for its other routes, and what is over it gets a bare 400; `data_received` counts instead.
        self._connection.set_max_body_size(sys.maxsize)
        self._connection.set_body_timeout(self.body_seconds)
        for name, value in request.headers.get_all():
            word = name.lower()
            self._pairs.append((_NAMES.get(word, word), value))
        refusal = judge_request(
            request.method or "",
            request.version.removeprefix("HTTP/"),
            request.uri or "",
            self._pairs,
            max_body_bytes=self._registry.max_body_bytes,
        )
        if refusal is not None:
            self._refuse(refusal)

    def data_received(self, chunk: bytes) -> None:
        """Take a piece of the body."""
        if self._refused:
            return
        self._body_bytes += len(chunk)
        if self._body_bytes > self._registry.max_body_bytes:
            self._body.clear()
            self._refuse(TOO_LARGE)
        else:
            self._body.append(chunk)

    def post(self) -> None:
        """Answer; calls start when the answer is on its way."""
        if self._refused:
            self._end()
            return
        self._put(respond(self._registry.receive, self._pairs, b"".join(self._body)))
        self._end()
        self._registry.dispatch()

    get = head = delete = patch = put = options = post

    def write_error(self, status_code: int, **kwargs: object) -> None:  # noqa: ARG002  # Tornado's signature
        """Answer what Tornado or an error has stopped, and show nothing of it."""
        headers = (("allow", "POST"),) if status_code == 405 else ()
        self._put(Response(status_code, problem(status_code, _CODES.get(status_code, "malformed")), PROBLEM, headers))
        self._end()

    def log_exception(
        self, typ: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Say where it happened, but not what it said: messages of errors quote what they stumbled over."""
        if typ is not None and not isinstance(value, HTTPError):
            log.error("receiving a request failed: %s\n%s", typ.__name__, "".join(traceback.format_tb(tb)))

    # -- inside -----------------------------------------------------------------------------------

    @property
    def _connection(self) -> HTTP1Connection:
        return cast("HTTP1Connection", self.request.connection)

    def _refuse(self, refusal: Refusal) -> None:
        self._refused = True
        self._put(refused(refusal))
        if refusal.status == 400 or "Expect" in self.request.headers:
            self._end()  # there is no telling where this body ends, or it will not come
            return
        # Not finished yet: Tornado would close at once, and bytes that nobody has read become a reset which takes the
        # answer along (RFC 9112, section 9.6). The rest of the body is read and dropped meanwhile.
        self.flush()
        self._connection.set_body_timeout(self.linger_seconds)

    def _put(self, response: Response) -> None:
        self.set_status(response.status)
        self.set_header("Content-Type", response.content_type)
        self.set_header("Content-Length", len(response.body))
        for name, value in response.headers:
            self.set_header(name, value)
        if response.status != 200:
            self.set_header("Connection", "close")
        self.write(response.body)

    def _end(self) -> None:
        connection = self._connection
        written = self.finish()
        if self.get_status() != 200:
            written.add_done_callback(lambda _: connection.close())
