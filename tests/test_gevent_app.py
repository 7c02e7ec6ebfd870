"""`WebhookApp` under servers of gevent's: it answers as the own listener does, as far as the server lets it."""

from __future__ import annotations

import contextlib
import socket
import time
from wsgiref.validate import validator

import gevent
import pytest
from flask import Flask
from gevent.event import Event
from gevent.pywsgi import WSGIHandler, WSGIServer
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from listener_conformance import PLAIN, REFUSED
from peers import SECONDS, is_closed, read_answer
from skyhooks._driver import run
from skyhooks._http import Response
from skyhooks.gevent import Notifier, Registry, StrictWSGIHandler, WebhookApp
from skyhooks.gevent._listener import Listener

KEY = {"account": 42}
CHUNKED = PLAIN.replace(b"content-length: 2", b"transfer-encoding: chunked")[:-2]


class Recorder:
    """What the application needs of a registry: keeps what it receives, and whether it was told to dispatch."""

    max_body_bytes = 1000

    def __init__(self, response=None):
        self.response = response or Response(200, b'{"status":"ok"}')
        self.requests = []
        self.dispatched = Event()

    def receive(self, headers, body):
        self.requests.append((headers, body))
        if isinstance(self.response, Exception):
            raise self.response
        return self.response

    def dispatch(self):
        self.dispatched.set()


class Impatient(WebhookApp):
    body_seconds = 0.3
    linger_seconds = 0.3


class ImpatientHandler(StrictWSGIHandler):
    head_seconds = 0.3
    idle_seconds = 0.6


@pytest.fixture(autouse=True)
def limit():
    with gevent.Timeout(60):
        yield


@pytest.fixture
def registry():
    return Recorder()


@contextlib.contextmanager
def serving(app, handler=StrictWSGIHandler):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = WSGIServer(listening, app, handler_class=handler, log=None, error_log=None)
        server.start()
        try:
            yield listening.getsockname()
        finally:
            server.stop()


def ask(address, data):
    """Send bytes, and return (status, headers, body, whether the connection then ends)."""
    with socket.create_connection(address, SECONDS) as sock:
        sock.sendall(data)
        status, headers, body = read_answer(sock)
        return status, headers, body, status != 200 and is_closed(sock)


BOTH = pytest.mark.parametrize("handler", [WSGIHandler, StrictWSGIHandler], ids=["stock handler", "strict handler"])


# -- what it refuses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "status", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_htp_under_the_strict_handler_refusals_are_those_of_the_own_listener(registry, data, status, code):
    listener = Listener(registry.receive, registry.dispatch, max_body_bytes=registry.max_body_bytes)
    run(listener.start("127.0.0.1", 0))
    with serving(Impatient(registry)) as address:
        found, headers, body, closed = ask(address, data)
        own, own_headers, own_body, _ = ask(("127.0.0.1", listener.port), data)
    run(listener.close())
    assert (found, closed, f'"code":"{code}"'.encode() in body) == (status, True, True)
    assert (found, body, headers.get("allow")) == (own, own_body, own_headers.get("allow"))
    assert headers["content-type"] == own_headers["content-type"] == "application/problem+json"
    assert registry.requests == []


SHOWN = ("method", "length", "declared", "type", "coding")
"""What a WSGI environment shows."""


@pytest.mark.parametrize(("data", "status", "code"), [REFUSED[name] for name in SHOWN], ids=SHOWN)
def test_htp_under_the_stock_handler_what_can_be_seen_is_refused_alike(registry, data, status, code):
    with serving(Impatient(registry), WSGIHandler) as address:
        found, _, body, closed = ask(address, data)
    assert (found, closed, f'"code":"{code}"'.encode() in body) == (status, True, True)
    assert registry.requests == []


@pytest.mark.parametrize("extra", [b"x: a\r\n b", b"x: a\0b"], ids=["fold", "NUL"])
def test_htp_under_the_stock_handler_odd_headers_are_refused(registry, extra):
    with serving(Impatient(registry), WSGIHandler) as address:
        assert ask(address, PLAIN.replace(b"host: here", extra))[0] == 400
    assert registry.requests == []


@BOTH
@pytest.mark.parametrize(
    "body",
    [b"ffffff\r\n" + b"x" * 2000, b"3e8\r\n" + b"x" * 1000 + b"\r\n1\r\nx\r\n"],
    ids=["in one", "in two"],
)
def test_htp_chunked_body_is_refused_as_soon_as_it_is_too_large(registry, handler, body):
    with serving(Impatient(registry), handler) as address:
        assert ask(address, CHUNKED + body)[0] == 413
    assert registry.requests == []


@BOTH
@pytest.mark.parametrize("body", [b"zz\r\n", b"2\r\n{}xx", b"2;" + b"x" * 9000], ids=["size", "end", "extension"])
def test_htp_broken_chunks_are_malformed(registry, handler, body):
    with serving(Impatient(registry), handler) as address:
        status, _, _, closed = ask(address, CHUNKED + body)
    assert (status, closed) == (400, True)
    assert registry.requests == []


@BOTH
def test_htp_body_cut_short_is_not_dispatched(registry, handler):
    with serving(Impatient(registry), handler) as address, socket.create_connection(address, SECONDS) as sock:
        sock.sendall(PLAIN[:-1])
        sock.shutdown(socket.SHUT_WR)
        assert read_answer(sock)[0] == 400
        assert is_closed(sock)
    assert registry.requests == []


@BOTH
def test_htp_body_that_stalls_is_given_up_and_holds_up_nobody(registry, handler):
    with serving(Impatient(registry), handler) as address, socket.create_connection(address, SECONDS) as stalled:
        stalled.sendall(PLAIN[:-1])
        assert ask(address, PLAIN)[0] == 200
        assert read_answer(stalled)[0] == 400
        assert is_closed(stalled)
    assert len(registry.requests) == 1


@BOTH
def test_htp_body_that_comes_drop_by_drop_is_given_up_in_time(registry, handler):
    with serving(Impatient(registry), handler) as address, socket.create_connection(address, SECONDS) as sock:
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            sock.sendall(PLAIN.replace(b": 2", b": 900"))
            for _ in range(100):
                sock.sendall(b" ")
                gevent.sleep(0.02)
        assert time.monotonic() - began < 1.5
    assert registry.requests == []


@BOTH
def test_htp_refusal_reaches_a_peer_that_is_still_sending(registry, handler):
    with serving(WebhookApp(registry), handler) as address, socket.create_connection(address, SECONDS) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(PLAIN.replace(b": 2", b": 20000000") + b"x" * 20_000_000)
        assert read_answer(sock)[0] == 413


def test_htp_under_the_strict_handler_a_refused_peer_sees_the_end_at_once(registry):
    with serving(WebhookApp(registry)) as address:
        began = time.monotonic()
        assert ask(address, REFUSED["declared"][0])[3]
        assert time.monotonic() - began < 1.0


# -- what it answers ----------------------------------------------------------------------------------


@BOTH
def test_post_is_answered_and_only_then_dispatched(registry, handler):
    with serving(validator(WebhookApp(registry)), handler) as address:
        with socket.create_connection(address, SECONDS) as sock:
            for _ in range(2):
                registry.dispatched.clear()
                sock.sendall(PLAIN)
                status, _, body = read_answer(sock)
                assert (status, body) == (200, b'{"status":"ok"}')
                assert registry.dispatched.wait(SECONDS)
        assert [body for _, body in registry.requests] == [b"{}"] * 2


def test_headers_come_as_they_were_sent(registry):
    with serving(WebhookApp(registry)) as address:
        ask(address, PLAIN.replace(b"host: here", b"webhook-id: a,b\r\nwebhook-id: c"))
    [(headers, _)] = registry.requests
    assert [value for name, value in headers if name == "webhook-id"] == ["a,b", "c"]


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "skyhooks-instance"])
def test_sig_headers_that_a_server_has_joined_are_taken_apart(registry, name):
    with serving(WebhookApp(registry), WSGIHandler) as address:
        ask(address, PLAIN.replace(b"host: here", f"{name}: 1\r\n{name}: 1".encode()))
    [(headers, _)] = registry.requests
    assert [value for found, value in headers if found == name] == ["1", "1"]


def test_sig_signatures_that_a_server_has_joined_are_taken_apart(registry):
    twice = b"webhook-signature: v1,YQ== v1a,Yg==\r\nwebhook-signature: v1,Yw=="
    with serving(WebhookApp(registry), WSGIHandler) as address:
        ask(address, PLAIN.replace(b"host: here", twice))
    [(headers, _)] = registry.requests
    assert [value for name, value in headers if name == "webhook-signature"] == ["v1,YQ== v1a,Yg==", "v1,Yw=="]


@BOTH
def test_head_is_answered_without_body(registry, handler):
    with serving(Impatient(registry), handler) as address, socket.create_connection(address, SECONDS) as sock:
        sock.sendall(b"HEAD / HTTP/1.1\r\nhost: here\r\n\r\n")
        data = b""
        while chunk := sock.recv(65_536):
            data += chunk
    assert b"allow: POST" in data
    assert data.endswith(b"\r\n\r\n")


@BOTH
def test_continue_is_told(registry, handler):
    with serving(WebhookApp(registry), handler) as address, socket.create_connection(address, SECONDS) as sock:
        sock.sendall(PLAIN.replace(b"host: here", b"expect: 100-continue")[:-2])
        assert sock.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"{}")
        assert read_answer(sock)[0] == 200


def test_refusal_of_the_registry_ends_the_connection():
    gone = Response(410, b"{}", "application/problem+json", (("x-why", "gone"),))
    with serving(WebhookApp(Recorder(gone))) as address:
        status, headers, _, closed = ask(address, PLAIN)
    assert (status, headers["x-why"], closed) == (410, "gone", True)


def test_receiving_that_fails_is_answered_500_and_logged_without_payload(caplog):
    with serving(WebhookApp(Recorder(KeyError("hunter2")))) as address:
        status, _, body, closed = ask(address, PLAIN)
    assert (status, b"internal" in body, closed) == (500, True, True)
    assert "KeyError" in caplog.text
    assert "hunter2" not in caplog.text


def test_before_the_start_and_after_the_stop_it_is_503(tmp_path):
    registry = Registry(f"sqlite:///{tmp_path}/a.db", url="http://127.0.0.1:1/webhook")
    with serving(WebhookApp(registry)) as address:
        status, headers, body, _ = ask(address, PLAIN)
    assert (status, headers["retry-after"], b"draining" in body) == (503, "1", True)


def test_timeout_of_whoever_calls_the_application_is_his(registry):
    def hurried(environ, start_response):
        try:
            with gevent.Timeout(0.1):
                return WebhookApp(registry)(environ, start_response)
        except gevent.Timeout:
            start_response("504 Gateway Timeout", [("content-length", "0"), ("connection", "close")])
            return []

    with serving(hurried) as address, socket.create_connection(address, SECONDS) as sock:
        sock.sendall(PLAIN[:-1])
        assert read_answer(sock)[0] == 504


# -- around it ----------------------------------------------------------------------------------------


def test_mounted_in_flask_it_is_rung_and_the_other_routes_are_served(tmp_path):
    store = f"sqlite:///{tmp_path}/flask.db"
    flask = Flask(__name__)
    flask.add_url_rule("/", view_func=lambda: "hello")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        registry = Registry(store, url=f"http://127.0.0.1:{listening.getsockname()[1]}/webhook")
        flask.wsgi_app = DispatcherMiddleware(flask.wsgi_app, {"/webhook": WebhookApp(registry)})
        server = WSGIServer(listening, flask, handler_class=StrictWSGIHandler, log=None, error_log=None)
        server.start()
        heard = Event()
        with registry, Notifier(store) as notifier:
            registry.register(KEY, lambda _: heard.set())
            assert notifier.notify(KEY, 1).reached == 1
            assert heard.wait(SECONDS)
            assert ask(listening.getsockname(), b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")[2] == b"hello"
        server.stop()


def test_strict_handler_leaves_other_applications_their_bodies_and_upgrades():
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ.get("HTTP_UPGRADE", "").encode() + environ["wsgi.input"].read(3)]

    upgrade = b"GET /ws HTTP/1.1\r\nhost: here\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nabc"
    with serving(app) as address:
        assert ask(address, PLAIN.replace(b"json", b"xml"))[2] == b"{}"
        assert ask(address, upgrade)[2] == b"websocketabc"


def test_strict_handler_refuses_for_other_applications_what_is_framed_in_no_one_way():
    with serving(lambda environ, start_response: pytest.fail("it was asked")) as address:
        status, _, body, closed = ask(address, CHUNKED.replace(b"chunked", b"gzip, chunked"))
    assert (status, b"malformed" in body, closed) == (400, True, True)


def test_htp_strict_handlers_refusal_reaches_a_peer_that_is_still_sending(registry):
    with serving(WebhookApp(registry)) as address, socket.create_connection(address, SECONDS) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(PLAIN.replace(b"host: here", b"x: " + b"y" * 20_000_000))
        assert read_answer(sock)[0] == 431


def test_htp_head_that_stalls_or_never_comes_is_closed(registry):
    with serving(WebhookApp(registry), ImpatientHandler) as address:
        began = time.monotonic()
        with socket.create_connection(address, SECONDS) as stalled, socket.create_connection(address, SECONDS) as idle:
            stalled.sendall(PLAIN[:30])
            assert is_closed(stalled)
            assert time.monotonic() - began < 0.55
            assert is_closed(idle)
            assert 0.55 < time.monotonic() - began < 1.5


def test_htp_head_that_comes_drop_by_drop_is_closed_in_time(registry):
    with serving(WebhookApp(registry), ImpatientHandler) as address:
        with socket.create_connection(address, SECONDS) as sock, contextlib.suppress(ConnectionError):
            began = time.monotonic()
            for byte in PLAIN[:-4]:
                sock.sendall(bytes([byte]))
                gevent.sleep(0.02)
        assert time.monotonic() - began < 1.0


def test_strict_handler_sends_without_delay(registry):
    seen = []

    class Looking(StrictWSGIHandler):
        def handle(self):
            seen.append(self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            super().handle()

    with serving(WebhookApp(registry), Looking) as address:
        ask(address, PLAIN)
    assert seen == [1]
