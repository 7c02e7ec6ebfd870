"""What a connection tells beside its request: that the client has gone; and what the hub does by itself."""

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

    __slots__ = ("_gone", "_sock", "_watcher", "is_gone")

    def __init__(self, environ: WSGIEnvironment, gone: Callable[[], None]) -> None:
        """Begin; `gone` is called in the hub, once, when the client has ended the connection."""
        self.is_gone = False
        self._gone = gone
        self._sock = socket_of(environ)
        self._watcher: Any = None
        if self._sock is not None:
            send_at_once(self._sock)
            self._watcher = get_hub().loop.io(self._sock.fileno(), _READABLE)
            self._watcher.start(self._look)

    def give_up(self) -> None:
        """End the connection: the greenlet that sends is the server's, it gets an EPIPE, which servers take for what it is."""
        if self._sock is not None:
            end(self._sock)

    def close(self) -> None:
        """Watch no more; the connection is the server's. Twice is fine."""
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


class Timer:
    """Something that the hub does later, in none of the greenlets."""

    __slots__ = ("_watcher", "_work")

    def __init__(self, seconds: float, work: Callable[[], None]) -> None:
        self._work = work
        self._watcher = get_hub().loop.timer(seconds)
        self._watcher.start(self._do)

    def cancel(self) -> None:
        """Call it off."""
        _close(self._watcher)

    def _do(self) -> None:
        self.cancel()
        self._work()


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
