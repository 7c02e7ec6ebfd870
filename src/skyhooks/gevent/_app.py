"""The WSGI application that a web application mounts, where the registry is not to listen for itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import gevent
from gevent import socket

from .._answering import refused, respond, start_calls
from .._http import BODY_SECONDS, LINGER_SECONDS, TOO_LARGE, Refusal, Response, judge_request
from .._http.head import MALFORMED
from .._http.server import REASONS

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

    from ._registry import Registry

HEADERS = "skyhooks.headers"
"""Where `StrictWSGIHandler` leaves the headers as they came: WSGI's own are joined where they are repeated."""
SOCKETS = ("skyhooks.socket", "gunicorn.socket", "gunicorn.sock")
"""Where servers leave the connection, so that what was refused can be ended."""
PIECE_BYTES = 65_536

_NAME = re.compile("[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
_JOINED = re.compile(r",(?=v\d+[a-z]*,)")
_SINGLE = frozenset(("skyhooks-instance", "webhook-id", "webhook-timestamp"))
"""Headers that hold no comma, unless a server has joined two of them with one."""

Headers = list[tuple[str, str]]


class WebhookApp:
    """Takes what jobs POST: `WebhookApp(registry)` is a WSGI application, to be mounted at the path of `url=`.

    It answers as the own listener does: judges the head before the body is read, caps body and time by itself whatever
    the server allows, and ends the connection of whatever it refuses, as far as the server lets it. `gevent.pywsgi` takes
    heads that no server should, and waits for ever for one that stalls: give it `handler_class=StrictWSGIHandler`. What
    gunicorn refuses first never comes here, and gets gunicorn's own 400. Behind several workers a URL reaches any of
    them: there leave out `url=`, and let each worker's registry listen for itself.
    """

    body_seconds = BODY_SECONDS
    linger_seconds = LINGER_SECONDS

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> _Answer:
        """Answer; calls start when the server has sent the answer and closes it."""
        headers = environ.get(HEADERS) or _headers(environ)
        response = self._answer(environ, headers)
        head = [("content-type", response.content_type), ("content-length", str(len(response.body)))]
        head += response.headers
        if response.status != 200:
            head.append(("connection", "close"))
        start_response(f"{response.status} {REASONS.get(response.status, '')}", head)
        body = b"" if environ["REQUEST_METHOD"] == "HEAD" else response.body
        if response.status == 200:
            return _Answer(body, lambda: start_calls(self._registry.dispatch))
        return _Answer(body, lambda: self._end(environ))

    def _answer(self, environ: WSGIEnvironment, headers: Headers) -> Response:
        limit = self._registry.max_body_bytes
        refusal = _judge(environ, headers, limit)
        if refusal is not None:
            return refused(refusal)
        with gevent.Timeout(self.body_seconds) as timeout:
            try:
                body = _read(environ, limit)
            except gevent.Timeout as error:
                if error is not timeout:
                    raise
                body = None
            except Exception:  # noqa: BLE001  # each server has its own way to say that the body is broken
                body = None
        if body is None:
            return refused(MALFORMED)
        if len(body) > limit:
            return refused(TOO_LARGE)
        return respond(self._registry.receive, headers, body)

    def _end(self, environ: WSGIEnvironment) -> None:
        """End a connection; a peer that was refused gets time to read why (RFC 9112, section 9.6)."""
        start_calls(self._registry.dispatch)
        try:
            gevent.with_timeout(self.linger_seconds, _drain, environ, timeout_value=None)
        except Exception:  # noqa: BLE001  # whatever its server makes of it: it has ended, or makes no sense
            return
        finally:
            _give_up_body(environ["wsgi.input"])


class _Answer:
    """What the server sends, and then closes."""

    def __init__(self, body: bytes, afterwards: Callable[[], None]) -> None:
        self._body = body
        self.close = afterwards

    def __iter__(self) -> Iterator[bytes]:
        yield self._body


def _judge(environ: WSGIEnvironment, headers: Headers, max_body_bytes: int) -> Refusal | None:
    if any(_CONTROL.search(value) or not _NAME.fullmatch(name) for name, value in headers):
        return MALFORMED
    return judge_request(
        environ["REQUEST_METHOD"],
        environ.get("SERVER_PROTOCOL", "").removeprefix("HTTP/"),
        environ.get("PATH_INFO", "") + environ.get("QUERY_STRING", ""),
        headers,
        max_body_bytes=max_body_bytes,
    )


def _headers(environ: WSGIEnvironment) -> Headers:
    """Rebuild the headers; those that a server has joined, and that must not come twice, are taken apart again."""
    headers = []
    for key, value in environ.items():
        if key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            if value:
                headers.append((key.lower().replace("_", "-"), value))
        elif key.startswith("HTTP_"):
            name = key[5:].lower().replace("_", "-")
            headers += [(name, one) for one in _apart(name, value)]
    return headers


def _apart(name: str, value: str) -> Sequence[str]:
    if name in _SINGLE:
        return value.split(",")
    return _JOINED.split(value) if name == "webhook-signature" else (value,)


def _read(environ: WSGIEnvironment, limit: int) -> bytes | None:
    """Read the body, or more than the limit of it; None where it ends too early."""
    length = environ.get("CONTENT_LENGTH")
    wanted = int(length) if length else limit + 1
    stream, body = environ["wsgi.input"], bytearray()
    while len(body) < wanted:
        piece = stream.read(min(wanted - len(body), PIECE_BYTES))
        if not piece:
            break
        body += piece
    return None if length and len(body) < wanted else bytes(body)


def _drain(environ: WSGIEnvironment) -> None:
    for name in SOCKETS:
        if name in environ:
            environ[name].shutdown(socket.SHUT_WR)
    while environ["wsgi.input"].read(PIECE_BYTES):
        continue


def _give_up_body(stream: Any) -> None:
    """Have pywsgi (26.9) think that it was read: it would wait for the rest of it without end."""
    if hasattr(stream, "chunked_input"):
        stream.chunked_input, stream.content_length = False, 0
