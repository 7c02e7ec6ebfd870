"""The handler that an application mounts, where the registry is not to listen for itself."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler, stream_request_body

from ._http import BODY_SECONDS, Response, check_head
from ._wire import problem
from .exceptions import BodyRejected

if TYPE_CHECKING:
    from ._asyncio import Registry


@stream_request_body
class WebhookHandler(RequestHandler):
    """Takes what jobs POST: `(r"/webhook", WebhookHandler, {"registry": registry})`.

    Judges the head before the body is read, caps body and time by itself, needs no XSRF token (a POST is authenticated by
    its signature), and closes the connection of whatever it refuses.
    """

    SUPPORTED_METHODS = ("GET", "HEAD", "POST", "DELETE", "PATCH", "PUT", "OPTIONS")

    def initialize(self, registry: Registry) -> None:
        self.registry = registry
        self._body: list[bytes] = []
        self._size = 0
        self._answered = False
        self._timer: asyncio.TimerHandle | None = None

    def check_xsrf_cookie(self) -> None:
        """Nothing to check: no browser sends this."""
