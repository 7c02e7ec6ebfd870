"""Twisted's own listener, put to what every listener must do; over TLS too."""

from __future__ import annotations

import socket
import ssl
import threading

import pytest
from twisted.logger import formatEvent, globalLogPublisher

import reactor_thread
from certificates import Certificate
from listener_conformance import PLAIN, ListenerConformance
from peers import SECONDS, is_closed, read_answer, within
from reactor_thread import reactor
from skyhooks._http import Response
from skyhooks.twisted._deferred import outside
from skyhooks.twisted._listener import Listener
from skyhooks.twisted._reactor import Turns
from skyhooks.twisted._tls import server_options


class SkippingReactor:
    """The reactor, with a clock that a test can put forward."""

    def __init__(self):
        self.skipped = 0.0

    def seconds(self):
        return reactor.seconds() + self.skipped

    def __getattr__(self, name):
        return getattr(reactor, name)


class Served:
    """Our listener on the reactor's thread: counts what it received, and for how much of it `dispatch` was called."""

    def __init__(self, receive=None, dispatch=None, *, host="127.0.0.1", certfile=None, **options):
        self.requests = []
        self.dispatched = 0
        self._receive = receive or (lambda headers, body: Response(200, b'{"status":"ok"}'))
        self._dispatch = dispatch or (lambda: None)
        self._reactor = SkippingReactor()
        options = {"max_body_bytes": 1_048_576, "tls": server_options(certfile, None), **options}
        self.listener = Listener(self._reactor, Turns(reactor), self._take, self._count, **options)
        self._host = host

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.listener.port), timeout=SECONDS)

    def start(self, port=0):
        reactor_thread.call(lambda: outside(self.listener.start(self._host, port)))

    def close(self):
        reactor_thread.call(lambda: outside(self.listener.close()))

    def skip(self, seconds):
        """Let that much time have passed for the listener."""
        self._reactor.skipped += seconds

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.close()

    def _take(self, headers, body):
        self.requests.append((headers, body))
        return self._receive(headers, body)

    def _count(self):
        self.dispatched = len(self.requests)
        self._dispatch()


class TestListener(ListenerConformance):
    serve = Served

    def test_close_before_start_is_fine(self):
        Served().close()

    def test_address_that_is_taken_is_told(self, served):
        with pytest.raises(OSError, match="in use"):
            Served().start(served.listener.port)

    def test_ipv6_is_listened_on(self):
        with (
            Served(host="::1") as served,
            socket.create_connection(("::1", served.listener.port), timeout=SECONDS) as sock,
        ):
            sock.sendall(PLAIN)
            assert read_answer(sock)[0] == 200

    def test_what_was_answered_in_one_turn_is_dispatched_together(self):
        turns = []
        with Served(dispatch=lambda: turns.append(len(served.requests))) as served, served.connect() as sock:
            sock.sendall(PLAIN * 100)
            data = b""
            while data.count(b"HTTP/1.1") < 100:
                data += sock.recv(65_536)
            for _ in within(SECONDS):
                if turns and turns[-1] == 100:
                    break
        assert turns[-1] == 100
        assert len(turns) < 50


# -- TLS ------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path):
    return Certificate(tmp_path / "localhost.pem")


@pytest.fixture
def shown(certificate):
    with Served(certfile=certificate.path, max_body_bytes=1000) as served:
        yield served


@pytest.fixture
def trust(certificate):
    return ssl.create_default_context(cafile=certificate.path)


def test_tls_requests_are_answered_on_one_connection(shown, trust):
    with shown.connect() as sock, trust.wrap_socket(sock, server_hostname="localhost") as tls:
        for _ in range(3):
            tls.sendall(PLAIN)
            assert read_answer(tls)[0] == 200
        assert tls.version() in ("TLSv1.2", "TLSv1.3")


def test_tls_refusal_reaches_a_peer_that_is_still_sending(shown, trust):
    with shown.connect() as sock, trust.wrap_socket(sock, server_hostname="localhost") as tls:
        tls.sendall(PLAIN.replace(b": 2", b": 200000000") + b"x" * 500_000)
        assert read_answer(tls)[0] == 413


def test_tls_refused_peer_that_does_not_end_is_closed(shown, trust):
    with shown.connect() as sock, trust.wrap_socket(sock, server_hostname="localhost") as tls:
        tls.sendall(b"GET / HTTP/1.1\r\n\r\n")
        read_answer(tls)
        shown.skip(3)
        for _ in within(SECONDS):
            if not shown.listener._connections:
                break
        assert not shown.listener._connections


def test_tls_handshake_that_stalls_is_closed_after_ten_seconds(shown, trust):
    with shown.connect() as sock, shown.connect() as idle, trust.wrap_socket(idle, server_hostname="localhost") as tls:
        sock.sendall(b"\x16\x03\x01")
        for _ in within(SECONDS):
            if len(shown.listener._connections) == 2:
                break
        shown.skip(10.5)
        assert is_closed(sock)
        tls.sendall(PLAIN)
        assert read_answer(tls)[0] == 200


def test_tls_before_1_2_is_refused(shown, certificate):
    old = ssl.create_default_context(cafile=certificate.path)
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with shown.connect() as sock, pytest.raises(ssl.SSLError):
        old.wrap_socket(sock, server_hostname="localhost")


def test_tls_close_does_not_wait_for_peers(shown, trust):
    with shown.connect() as sock, trust.wrap_socket(sock, server_hostname="localhost") as tls:
        tls.sendall(PLAIN)
        read_answer(tls)
        shown.close()
        assert is_closed(tls)


@pytest.mark.parametrize("case", ["missing", "empty", "another key"])
def test_certificate_that_cannot_be_loaded_is_named(tmp_path, certificate, case):
    other = Certificate(tmp_path / "other.pem").path
    (tmp_path / "empty.pem").touch()
    certfile, keyfile = {
        "missing": (str(tmp_path / "missing.pem"), None),
        "empty": (str(tmp_path / "empty.pem"), None),
        "another key": (certificate.path, other),
    }[case]
    with pytest.raises(ValueError, match="cannot be loaded") as raised:
        server_options(certfile, keyfile)
    assert certfile in str(raised.value)


def test_dispatch_that_blocks_delays_no_answer_over_tls(certificate, trust):
    answered, waited = threading.Event(), []
    with (
        Served(certfile=certificate.path, dispatch=lambda: waited.append(answered.wait(SECONDS))) as served,
        served.connect() as sock,
        trust.wrap_socket(sock, server_hostname="localhost") as tls,
    ):
        tls.sendall(PLAIN)
        assert read_answer(tls)[0] == 200
        answered.set()
    assert waited == [True]


@pytest.mark.parametrize("over", ["tcp", "tls"])
def test_of_a_listener_twisted_logs_where_it_listens_and_its_end(certificate, over):
    said = []

    def observe(event):
        said.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    served = Served(certfile=certificate.path if over == "tls" else None)
    served.start()
    port = served.listener.port
    served.connect().close()
    served.close()
    globalLogPublisher.removeObserver(observe)
    name = "The skyhooks listener" + " (TLS)" * (over == "tls")
    assert said == [f"{name} starting on {port}", f"(TCP Port {port} Closed)"]
