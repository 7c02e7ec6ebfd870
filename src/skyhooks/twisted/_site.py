"""What makes twisted.web refuse a webhook's request before it reads the body, within time, and in our words."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import unquote_to_bytes

import msgspec
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.server import Site

from .._answering import Answering
from .._http import (
    BODY_SECONDS,
    HEAD_SECONDS,
    LINGER_SECONDS,
    TOO_LARGE,
    Refusal,
    judge_request,
)
from .._http.head import HEADERS_TOO_LARGE, MALFORMED
from ._reactor import Timer, Transport
from ._resource import header_pairs

if TYPE_CHECKING:
    from ._registry import Registry

S = TypeVar("S", bound=Site)


def harden(site: S, registry: Registry, path: bytes | None = None) -> S:
    """Have a site judge requests to a `WebhookResource` by their heads, and bound their bodies and their time.

    They are refused as the own listener refuses them. `path` is where the site has the resource; None: the path of the
    registry's `url=`, which differs only behind a proxy that rewrites it. All requests of the site have 10 s for their
    heads then, and it speaks HTTP/1.1 only; everything else is as it was. Returns the site.

    Raises:
        ValueError: the registry has no `url=`, so nothing is mounted.
    """
    path = path or registry.path
    if path is None:
        raise ValueError(
            "this registry listens for itself; give it the url= of the WebhookResource, or leave the site be"
        )
    factory: Any = site
    factory.protocol = lambda: _Channel(registry, path)
    factory.acceptableProtocols = lambda: [b"http/1.1"]
    return site


def _segments(target: bytes) -> list[bytes]:
    """Take a request's target apart as twisted.web does when it looks for a resource."""
    return [unquote_to_bytes(segment) for segment in target.partition(b"?")[0][1:].split(b"/")]


class _Channel(HTTPChannel):
    """A connection to a hardened site."""

    def __init__(self, registry: Registry, path: bytes) -> None:
        super().__init__()
        self._registry = registry
        self._ours = [segment for segment in _segments(path) if segment]
        self._seen = (b"", False)
        self._between = True
        self._refused = False
        self._seconds: float | None = None
        self._part = self._part_in_time = 0
        self._limit: Timer | None = None

    # -- a request's way --------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        self._begin()
        super().dataReceived(data)
        self._keep_time()

    def lineReceived(self, line: bytes) -> None:
        if self._refused:
            return  # read and dropped: what nobody reads becomes a reset, which takes the answer along
        self._begin()
        if line[:1] in (b" ", b"\t") and self._is_ours():
            self._refuse(MALFORMED)  # Twisted (26.10) joins what is folded
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> Any:
        if self._is_ours():
            return self._refuse(HEADERS_TOO_LARGE)
        return super().lineLengthExceeded(line)

    def allHeadersReceived(self) -> None:
        ours = self._is_ours()
        refusal = self._judge() if ours else None
        if refusal is not None:
            self._refuse(refusal)
        else:
            self._enter(BODY_SECONDS if ours else None)
            super().allHeadersReceived()

    def rawDataReceived(self, data: bytes) -> None:
        if self._refused:
            return
        super().rawDataReceived(data)
        if self._is_ours() and self._is_too_long():
            self._refuse(TOO_LARGE)

    def allContentReceived(self) -> None:
        if self._refused:
            return
        if self._is_ours() and self._is_too_long():
            self._refuse(TOO_LARGE)
            return
        self._enter(None)
        super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        self._between = True
        super().requestDone(request)
        self._keep_time()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._enter(None)
        self._keep_time()
        super().connectionLost(reason)

    # -- inside -----------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._between:
            self._between = False
            self._enter(HEAD_SECONDS)

    @property
    def _target(self) -> bytes:
        """What a request line asks for; empty but between that line and the end of the body."""
        target: bytes = getattr(self, "_path", b"")
        return target

    def _is_ours(self) -> bool:
        """Tell whether the request goes to the resource, which is a leaf: what lies below it comes to it as well."""
        target = self._target
        if target and target != self._seen[0]:
            self._seen = target, _segments(target)[: len(self._ours)] == self._ours
        return bool(target) and self._seen[1]

    def _judge(self) -> Refusal | None:
        return judge_request(
            self._command.decode("latin-1"),
            self._version.decode("latin-1").removeprefix("HTTP/"),
            self._target.decode("latin-1"),
            header_pairs(self.requests[-1]),
            max_body_bytes=self._registry.max_body_bytes,
        )

    def _is_too_long(self) -> bool:
        content = self.requests[-1].content
        return content is not None and content.tell() > self._registry.max_body_bytes

    def _respondToBadRequestAndDisconnect(self) -> None:
        if not self._is_ours():
            super()._respondToBadRequestAndDisconnect()
        elif self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders:
            self._refuse(HEADERS_TOO_LARGE)
        else:
            self._refuse(MALFORMED)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer and end; the peer gets time to read why (RFC 9112, section 9.6)."""
        if self._refused:
            return
        self._refused = True
        self.setTimeout(None)
        self._enter(LINGER_SECONDS)
        if self._command == b"HEAD":
            refusal = msgspec.structs.replace(refusal, head_only=True)
        transport = cast("Transport", self.transport)
        transport.write(self._answer(refusal))
        transport.unregisterProducer()
        if self.isSecure():
            transport.loseConnection()
        else:
            transport.loseWriteConnection()

    def _answer(self, refusal: Refusal) -> bytes:
        answering = Answering(self._registry.receive, self._registry.dispatch, max_body_bytes=0)
        answering.tick(time.time())
        return answering.answer(answering.connection(0.0), refusal)[0]

    def _enter(self, seconds: float | None) -> None:
        """Begin a part of a request's way, which may take so long."""
        self._part += 1
        self._seconds = seconds

    def _keep_time(self) -> None:
        """Close the connection when the part that it is in has taken too long; most are over within one read."""
        if self._part_in_time == self._part:
            return
        self._part_in_time = self._part
        if self._limit is not None and self._limit.active():
            self._limit.cancel()
        abort = cast("Transport", self.transport).abortConnection
        self._limit = None if self._seconds is None else self.callLater(self._seconds, abort)
