"""What a connection tells beside its request: that the client has gone, or that it reads nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gevent import get_hub, socket

from ._app import SOCKETS

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

_READABLE = 1
"""What libev and libuv call READ."""


class Connection:
    """Watches the connection of a request that is answered for long; where a server hides it, it tells nothing.

    No greenlet waits for it, as that would cost as much memory again as the one that answers: the hub looks by itself.
    """

    __slots__ = ("_gone", "_sock", "_timer", "_watcher", "is_gone")

    def __init__(self, environ: WSGIEnvironment, gone: Callable[[], None]) -> None:
        """Begin; `gone` is called in the hub, once, when the client has ended the connection."""
        self.is_gone = False
        self._gone = gone
        self._sock = socket_of(environ)
        self._timer: Any = None
        self._watcher: Any = None
        if self._sock is not None:
            send_at_once(self._sock)
            self._watcher = get_hub().loop.io(self._sock.fileno(), _READABLE)
            self._watcher.start(self._look)

    def is_sent_to(self, stall_seconds: float) -> None:
        """End the connection, unless what the server now sends is read within so many seconds: `is_read` says it is."""
        if self._sock is not None:
            self._timer = get_hub().loop.timer(stall_seconds)
            self._timer.start(self._give_up)

    def is_read(self) -> None:
        """Wait no more for what was sent to be read."""
        _close(self._timer)
        self._timer = None

    def close(self) -> None:
        """Watch no more; the connection is the server's. Twice is fine."""
        self.is_read()
        self._look_away()

    def _look(self) -> None:
        # Beneath gevent's socket, which would wait, and beneath TLS, which cannot peek.
        try:
            piece = self._sock._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        self._look_away()  # what nobody reads would wake the hub for ever
        if not piece:
            self.is_gone = True
            self._gone()

    def _look_away(self) -> None:
        _close(self._watcher)
        self._watcher = None

    def _give_up(self) -> None:
        end(
            self._sock
        )  # the greenlet that sends is the server's: it gets an EPIPE, and servers take that for what it is


def socket_of(environ: WSGIEnvironment) -> Any:
    """Return the connection of a request: gunicorn and `StrictWSGIHandler` name it, pywsgi reads from it; else None."""
    for name in SOCKETS:
        if name in environ:
            return environ[name]
    stream = environ["wsgi.input"]
    return getattr(getattr(getattr(stream, "rfile", stream), "raw", None), "_sock", None)


def send_at_once(sock: Any) -> None:
    """Let nothing wait until what was sent before it is acknowledged."""
    with contextlib.suppress(OSError):  # a Unix socket has no such delay
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def end(sock: Any) -> None:
    """End a connection that others hold: beneath gevent's socket, which would tell them of an odder error than EPIPE."""
    with contextlib.suppress(OSError):
        sock._sock.shutdown(socket.SHUT_RDWR)


def _close(watcher: Any) -> None:
    if watcher is not None:
        watcher.stop()
        watcher.close()
