"""gevent's own listener, put to what every listener must do; and what it costs."""

from __future__ import annotations

import socket
import time

import pytest

from listener_conformance import PLAIN, ListenerConformance
from peers import SECONDS, is_closed, read_answer
from skyhooks._driver import run
from skyhooks._http import Response
from skyhooks.gevent._listener import Listener


class Served:
    """Our listener in this hub: counts what it received, and when `dispatch` was called."""

    def __init__(self, receive=None, dispatch=None, *, host="127.0.0.1", ssl=None, **options):
        self.requests = []
        self.dispatched = 0
        self._receive = receive or (lambda headers, body: Response(200, b'{"status":"ok"}'))
        self._dispatch = dispatch or (lambda: None)
        self._skipped = 0.0
        options = {"max_body_bytes": 1_048_576, "ssl_context": ssl, **options}
        self.listener = Listener(self._take, self._count, clock=self._clock, **options)
        self._host = host

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.listener.port), timeout=SECONDS)

    def start(self, port=0):
        run(self.listener.start(self._host, port))

    def close(self):
        run(self.listener.close())

    def skip(self, seconds):
        """Let that much time have passed for the listener."""
        self._skipped += seconds

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.close()

    def _clock(self):
        return time.monotonic() + self._skipped

    def _take(self, headers, body):
        self.requests.append((headers, body))
        return self._receive(headers, body)

    def _count(self):
        self.dispatched += 1
        self._dispatch()


class TestListener(ListenerConformance):
    serve = Served

    def test_close_before_start_is_fine(self):
        Served().close()

    def test_address_that_is_taken_is_told(self, served):
        with pytest.raises(OSError, match="in use"):
            Served().start(served.listener.port)

    def test_what_comes_behind_a_refused_request_is_not_received(self):
        refused = Response(401, b"{}", "application/problem+json")
        with Served(lambda headers, body: refused) as served, served.connect() as sock:
            sock.sendall(PLAIN * 3)
            assert read_answer(sock)[0] == 401
            assert is_closed(sock)
        assert len(served.requests) == 1
