"""The resource that an application mounts, where the registry is not to listen for itself."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any, cast

from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import Request

from .._http import TOO_LARGE, Refusal, Response, judge_request
from .._identity import RETRY_AFTER_SECONDS
from .._wire import problem
from ..exceptions import ForkedRegistry, NotStarted

if TYPE_CHECKING:
    from ._registry import Registry

log = Logger("skyhooks")

PROBLEM = "application/problem+json"
Pairs = list[tuple[str, str]]


class WebhookResource(Resource):
    """Takes what jobs POST: `root.putChild(b"webhook", WebhookResource(registry))`.

    It answers as the own listener does. But twisted.web asks a resource only when it has read a request's body, however
    long that is and takes, so give the site to `harden` as well, which refuses before that.
    """

    isLeaf = True

    def __init__(self, registry: Registry) -> None:
        super().__init__()
        self._registry = registry

    def render(self, request: Request) -> bytes:
        """Answer a request by whatever method; calls start when the answer has been written."""
        response = self._respond(request)
        request.setResponseCode(response.status)
        request.setHeader("content-type", response.content_type)
        for name, value in response.headers:
            request.setHeader(name, value)
        if response.status != 200:  # whoever was refused has to begin anew
            request.setHeader("connection", "close")
            request.channel.persistent = False
        self._registry.dispatch()
        return b"" if request.method == b"HEAD" else response.body

    def _respond(self, request: Request) -> Response:
        pairs = header_pairs(request)
        body: bytes = cast("Any", request.content).read()
        refusal = judge_request(
            request.method.decode("latin-1"),
            request.clientproto.decode("latin-1").removeprefix("HTTP/"),
            request.uri.decode("latin-1"),
            pairs,
            max_body_bytes=self._registry.max_body_bytes,
        )
        if refusal is None and len(body) > self._registry.max_body_bytes:
            refusal = TOO_LARGE
        return self._receive(pairs, body) if refusal is None else _refused(refusal)

    def _receive(self, pairs: Pairs, body: bytes) -> Response:
        try:
            return self._registry.receive(pairs, body)
        except (NotStarted, ForkedRegistry):
            retry_after = (("retry-after", str(RETRY_AFTER_SECONDS)),)
            return Response(503, problem(503, "draining"), PROBLEM, retry_after)
        except Exception as error:  # noqa: BLE001  # whatever it is, the sender must be answered
            # Where it happened, but not what it said: messages of errors quote what they stumbled over.
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("receiving a request failed: {kind}\n{where}", kind=type(error).__name__, where=where)  # noqa: TRY400
            return Response(500, problem(500, "internal"), PROBLEM)


def header_pairs(request: Request) -> Pairs:
    """Return all headers of a request, names in lower case, repeated ones kept."""
    headers = request.requestHeaders.getAllRawHeaders()
    return [(name.lower().decode("latin-1"), value.decode("latin-1")) for name, values in headers for value in values]


def _refused(refusal: Refusal) -> Response:
    return Response(refusal.status, problem(refusal.status, refusal.code), PROBLEM, refusal.headers)
