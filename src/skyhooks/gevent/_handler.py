"""pywsgi's handler with what it lacks: strictness about heads, and an end to waiting for them."""

from __future__ import annotations

import contextlib
import http.client
import string
import time
from contextlib import AbstractContextManager
from io import BytesIO
from typing import TYPE_CHECKING, Any

import gevent
import httptools
from gevent import socket
from gevent.pywsgi import WSGIHandler

from .._http import HEAD_SECONDS, LINGER_SECONDS, MAX_HEAD_BYTES, MAX_HEADERS, Refusal, ServerConnection
from .._http.head import HEADERS_TOO_LARGE, MALFORMED, WRONG_METHOD, is_framed, joined
from .._http.server import IDLE_SECONDS
from .._wire import problem
from ._app import HEADERS, PIECE_BYTES

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment


_FIRST = string.ascii_letters.encode() + b"\r\n"


class StrictWSGIHandler(WSGIHandler):
    """For the server that `WebhookApp` is mounted in: `WSGIServer(…, handler_class=StrictWSGIHandler)`.

    pywsgi (26.9) takes doubled or odd lengths, a length beside chunks, folded lines, NUL and bare CR in headers, and
    waits without end. This one has each head judged by llhttp, as the own listener has, whatever application it is for: at
    most 16 KiB and 100 headers of it, within 10 s. It also sets TCP_NODELAY, without which each answer waits for 40 ms.
    """

    head_seconds = HEAD_SECONDS
    idle_seconds = IDLE_SECONDS

    def __init__(self, sock: Any, address: Any, server: Any) -> None:
        super().__init__(sock, address, server)
        self._pairs: list[tuple[str, str]] = []
        self._overdue = 0.0
        with contextlib.suppress(OSError):  # a Unix socket has none
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read_requestline(self) -> str:
        """Wait for a request, but not for ever; nothing at all ends the connection."""
        with gevent.Timeout(self.idle_seconds, ConnectionAbortedError):
            begun = self.rfile.peek(1)
        if begun and begun[:1] not in _FIRST:
            self._refuse(WRONG_METHOD)  # TLS, say, in which no line may ever end
            return ""
        # Where the whole head is here already, two timers less are a tenth of what a request costs.
        self._overdue = 0.0 if b"\r\n\r\n" in begun else time.monotonic() + self.head_seconds
        with self._in_time():
            return super().read_requestline()

    def read_request(self, raw_requestline: str) -> Any:
        """Judge the whole head before pywsgi sees it."""
        with self._in_time():
            lines = _read_lines(self.rfile, len(raw_requestline))
        self._pairs = _parse(raw_requestline.encode("latin-1") + lines)
        connection, self.rfile = self.rfile, BytesIO(lines)  # type: ignore[assignment]  # it reads lines of it, no more
        try:
            return super().read_request(raw_requestline)
        finally:
            self.rfile = connection

    def get_environ(self) -> WSGIEnvironment:
        """Add the headers as they came, and the connection, for `WebhookApp`."""
        environ = super().get_environ()
        environ[HEADERS] = self._pairs
        environ["skyhooks.socket"] = self.socket
        return environ

    def _handle_client_error(self, error: Exception) -> None:
        """Answer what was refused; None: close the connection. pywsgi calls it for whatever `read_request` raises."""
        if isinstance(error, _Refused):
            self._refuse(error.refusal)
        elif isinstance(error, (ValueError, http.client.HTTPException)):
            self._refuse(MALFORMED)

    def _refuse(self, refusal: Refusal) -> None:
        answer = ServerConnection(max_body_bytes=0, now=0).refuse(refusal, problem(refusal.status, refusal.code))
        with contextlib.suppress(OSError), gevent.Timeout(LINGER_SECONDS, ConnectionAbortedError):
            self.socket.sendall(answer)
            self.socket.shutdown(socket.SHUT_WR)
            while self.socket.recv(PIECE_BYTES):
                continue

    def _in_time(self) -> AbstractContextManager[object]:
        if not self._overdue:
            return contextlib.nullcontext()
        return gevent.Timeout(max(0.001, self._overdue - time.monotonic()), ConnectionAbortedError)


class _Refused(ValueError):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


class _Head:
    """Collects what llhttp finds in a head."""

    def __init__(self) -> None:
        self.pairs: list[tuple[str, str]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.pairs.append((name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")))


def _read_lines(stream: Any, size: int) -> bytes:
    """Read to the end of the head, whose first line had so many bytes."""
    lines: list[bytes] = []
    while not lines or lines[-1] not in (b"\r\n", b"\n"):
        line = stream.readline(MAX_HEAD_BYTES)
        if not line:
            raise ConnectionAbortedError  # it ended within its head
        lines.append(line)
        size += len(line)
        if size > MAX_HEAD_BYTES or len(lines) > MAX_HEADERS + 1:
            raise _Refused(HEADERS_TOO_LARGE)
    return b"".join(lines)


def _parse(data: bytes) -> list[tuple[str, str]]:
    head = _Head()
    parser = httptools.HttpRequestParser(head)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # the application's affair
    except httptools.HttpParserInvalidMethodError:
        raise _Refused(WRONG_METHOD) from None
    except httptools.HttpParserError:
        raise _Refused(MALFORMED) from None
    fields = joined(head.pairs)
    if not is_framed(parser.get_http_version(), fields.get("content-length"), fields.get("transfer-encoding")):
        raise _Refused(MALFORMED)
    return head.pairs
