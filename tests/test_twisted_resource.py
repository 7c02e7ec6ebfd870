"""What a mounted resource answers: the same as the own listener, where its site is hardened.

On a site that is not, twisted.web reads a body to its end, however long it is and takes, before the resource is asked;
and it answers heads that are malformed or too long in its own words.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import ssl
import threading

import pytest
from twisted.internet.defer import maybeDeferred
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.resource import Resource
from twisted.web.server import Site

import reactor_thread
from certificates import Certificate
from listener_conformance import PLAIN
from peers import SECONDS, is_closed, read_answer
from reactor_thread import reactor
from skyhooks import ForkedRegistry, NotStarted
from skyhooks._http import Response
from skyhooks.twisted import Notifier, Registry, WebhookResource, harden
from skyhooks.twisted._tls import server_options
from test_twisted_listener import Served

LIMIT = 5000
BODY = b'{"v":1}'


class Recorder:
    """What the resource needs of a registry: keeps what it receives, and whether it was told to dispatch."""

    max_body_bytes = LIMIT

    def __init__(self, response=None):
        self.response = response or Response(200, b'{"status":"ok"}')
        self.received = []
        self.dispatched = threading.Event()

    def receive(self, headers, body):
        self.received.append((headers, body))
        if isinstance(self.response, Exception):
            raise self.response
        return self.response

    def dispatch(self):
        self.dispatched.set()


class Page(Resource):
    isLeaf = True

    def render_POST(self, request):
        return b"%d" % len(request.content.read())


class Clock:
    """The reactor's timers for a site, with a clock that runs as fast as a test says."""

    def __init__(self, speed):
        self.speed = speed

    def callLater(self, delay, *args):
        return reactor.callLater(delay / self.speed, *args)

    def __getattr__(self, name):
        return getattr(reactor, name)


@contextlib.contextmanager
def mounted(registry, *, hardened=True, speed=1.0, tls=None):
    def serve():
        root = Resource()
        root.putChild(b"webhook", WebhookResource(registry))
        root.putChild(b"page", Page())
        site = Site(root, reactor=Clock(speed))
        if hardened:
            harden(site, registry, b"/webhook")
        return reactor.listenTCP(0, TLSMemoryBIOFactory(tls, False, site) if tls else site, interface="127.0.0.1")

    port = reactor_thread.call(serve)
    try:
        yield port.getHost().port
    finally:
        reactor_thread.call(maybeDeferred, port.stopListening)


def connected(port):
    return socket.create_connection(("127.0.0.1", port), timeout=SECONDS)


def ask(port, data):
    """Send bytes, read an answer, and see whether the peer then ends the connection."""
    with connected(port) as sock:
        sock.sendall(data)
        answer = read_answer(sock)
        sock.settimeout(0.3)
        try:
            closed = sock.recv(1) == b""
        except TimeoutError:
            closed = False
        return *answer, closed


def request(method="POST", *, headers=(), body=BODY, length=True, version="1.1", path="/webhook"):
    lines = [f"{method} {path} HTTP/{version}", "host: a", "content-type: application/json"]
    lines += [f"content-length: {len(body)}"] if length else []
    return "\r\n".join([*lines, *headers]).encode() + b"\r\n\r\n" + body


def chunked(*chunks):
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


REFUSED = {
    "too long": (request(body=b"x" * (LIMIT + 1)), 413, "too_large"),
    "far too long, and the body does not come": (
        request(body=b"", length=False, headers=["content-length: 200000000"]),
        413,
        "too_large",
    ),
    "too long in chunks": (
        request(body=chunked(b"x" * LIMIT, b"y"), length=False, headers=["transfer-encoding: chunked"]),
        413,
        "too_large",
    ),
    "a chunk that says 200 MB": (
        request(body=b"bebc200\r\n" + b"x" * (LIMIT + 1), length=False, headers=["transfer-encoding: chunked"]),
        413,
        "too_large",
    ),
    "no length": (request(body=b"", length=False), 411, "length_required"),
    "compressed": (request(headers=["content-encoding: gzip"]), 415, "media_type"),
    "a form": (
        b"POST /webhook HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 3\r\n\r\na=b",
        415,
        "media_type",
    ),
    "no type": (b"POST /webhook HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}", 415, "media_type"),
    "two types": (request(headers=["content-type: application/json"]), 415, "media_type"),
    "too many headers": (request(headers=[f"x-{n}: y" for n in range(100)]), 431, "headers_too_large"),
    "a long header": (request(headers=["x: " + "y" * 17_000]), 431, "headers_too_large"),
    "2000 headers": (request(headers=[f"x-{n}: y" for n in range(2000)]), 431, "headers_too_large"),
    "100 KB of a header": (request(headers=["x: " + "y" * 100_000]), 431, "headers_too_large"),
    "PUT": (request("PUT"), 405, "method"),
    "OPTIONS": (request("OPTIONS", body=b""), 405, "method"),
    "GET": (b"GET /webhook HTTP/1.1\r\nhost: a\r\n\r\n", 405, "method"),
    "chunks in HTTP/1.0": (
        request(version="1.0", body=chunked(BODY), length=False, headers=["transfer-encoding: chunked"]),
        400,
        "malformed",
    ),
    "a folded header": (request(headers=["x: a", " b"]), 400, "malformed"),
    "a NUL": (request(headers=["x: a\0b"]), 400, "malformed"),
    "a bare CR": (request(headers=["x: a\rb"]), 400, "malformed"),
    "an unknown coding": (request(length=False, headers=["transfer-encoding: gzip, chunked"]), 400, "malformed"),
    "length and chunks": (request(headers=["transfer-encoding: chunked"]), 400, "malformed"),
    "two lengths": (request(headers=["content-length: 9"]), 400, "malformed"),
    "twice the same length": (request(headers=["content-length: 7"]), 400, "malformed"),
    "an odd length": (request(length=False, headers=["content-length: +7"]), 400, "malformed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_htp_what_is_refused_is_refused_as_by_the_own_listener(name):
    data, status, code = REFUSED[name]
    registry = Recorder()
    with mounted(registry) as theirs, Served(registry.receive, max_body_bytes=LIMIT) as ours:
        answer, own = ask(theirs, data), ask(ours.listener.port, data)
    assert (answer[0], json.loads(answer[2])["code"]) == (status, code)
    for headers in (answer[1], own[1]):
        headers.pop("date")
    assert answer == own
    assert answer[1]["connection"] == "close"
    assert not registry.received
    assert not registry.dispatched.is_set()


@pytest.mark.parametrize("path", ["/webhook", "/webhook?a=b"])
def test_a_post_is_received_answered_and_then_dispatched(path):
    registry = Recorder()
    with mounted(registry) as port:
        status, headers, body, closed = ask(port, request(path=path))
        assert registry.dispatched.wait(SECONDS)
    assert (status, headers["Content-Type"], body, closed) == (200, "application/json", b'{"status":"ok"}', False)
    [(pairs, received)] = registry.received
    assert received == BODY
    assert ("content-type", "application/json") in pairs


@pytest.mark.parametrize("size", [1, LIMIT - 1, LIMIT])
def test_a_body_of_any_size_up_to_the_limit_arrives_whole_in_chunks_too(size):
    registry = Recorder()
    pieces = chunked(b"x" * (size // 2), b"y" * (size - size // 2)) if size > 1 else chunked(b"y")
    with mounted(registry) as port:
        assert ask(port, request(body=b"x" * size))[0] == 200
        assert ask(port, request(body=pieces, length=False, headers=["transfer-encoding: chunked"]))[0] == 200
    assert [len(body) for _, body in registry.received] == [size, size]


def test_sig_repeated_headers_are_handed_on_one_by_one_with_names_in_lower_case():
    registry = Recorder()
    with mounted(registry) as port:
        ask(port, request(headers=["Webhook-ID: a", "webhook-id: b"]))
    [(pairs, _)] = registry.received
    assert [pair for pair in pairs if pair[0] == "webhook-id"] == [("webhook-id", "a"), ("webhook-id", "b")]


def test_a_connection_serves_many_posts_and_pages():
    registry = Recorder()
    with mounted(registry) as port, connected(port) as sock:
        for _ in range(3):
            sock.sendall(request())
            assert read_answer_of_twisted(sock)[0] == 200
            sock.sendall(request(path="/page", body=b"x" * 100_000))
            assert read_answer_of_twisted(sock)[2] == b"100000"
        sock.sendall(request() * 3)
        assert [read_answer_of_twisted(sock)[0] for _ in range(3)] == [200] * 3
    assert len(registry.received) == 6


def read_answer_of_twisted(sock):
    """Read one answer to its last byte, and no further."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    body = b""
    while len(body) < length:
        body += sock.recv(length - len(body))
    return int(head.split()[1]), head, body


@pytest.mark.parametrize("path", ["/%77ebhook", "/webhook/", "/webhook/more?a=b", "Xwebhook"])
def test_htp_no_other_name_for_the_resource_leads_around_its_limits(path):
    registry = Recorder()
    with mounted(registry) as port:
        data = request(path=path, body=b"", length=False, headers=["content-length: 200000000"])
        status, _, body, closed = ask(port, data)
    assert (status, json.loads(body)["code"], closed) == (413, "too_large", True)


@pytest.mark.parametrize("path", ["/", "/any/where"])
def test_htp_a_resource_that_is_all_of_a_site_is_hardened_everywhere(path):
    def serve():
        return reactor.listenTCP(0, harden(Site(WebhookResource(registry)), registry, b"/"), interface="127.0.0.1")

    registry = Recorder()
    port = reactor_thread.call(serve)
    data = request(path=path, body=b"", length=False, headers=["content-length: 200000000"])
    assert ask(port.getHost().port, data)[0] == 413
    assert ask_twisted(port.getHost().port, request(path=path))[0] == 200
    reactor_thread.call(maybeDeferred, port.stopListening)


def test_other_pages_of_the_site_have_no_limit_of_ours():
    with mounted(Recorder()) as port:
        status, _, body, _ = ask_twisted(port, request(path="/page", body=b"x" * 300_000))
        folded = ask_twisted(port, request(path="/page", headers=["x: a", " b"]))
        with connected(port) as sock:
            sock.sendall(request(path="/page", headers=["content-length: 9"]))
            assert sock.recv(100).startswith(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with connected(port) as sock:
            sock.sendall(request(path="/page", headers=["x: " + "y" * 100_000]))
            assert is_closed(sock)
    assert (status, body, folded[0]) == (200, b"300000", 200)


def ask_twisted(port, data):
    with connected(port) as sock:
        sock.sendall(data)
        return *read_answer_of_twisted(sock), None


@pytest.mark.parametrize("status", [401, 410, 413, 503])
def test_what_the_registry_refuses_closes_the_connection(status):
    registry = Recorder(Response(status, b"{}", "application/problem+json", (("retry-after", "1"),)))
    with mounted(registry) as port, connected(port) as sock:
        sock.sendall(request() + request())
        found, head, _ = read_answer_of_twisted(sock)
        assert (found, b"retry-after: 1" in head.lower(), b"connection: close" in head.lower()) == (status, True, True)
        assert is_closed(sock)
    assert len(registry.received) == 1


@pytest.mark.parametrize("error", [NotStarted("not", "start it"), ForkedRegistry()])
@pytest.mark.parametrize("hardened", [True, False])
def test_a_registry_that_is_not_started_is_draining(error, hardened):
    with mounted(Recorder(error), hardened=hardened) as port:
        status, head, body = ask_twisted(port, request())[:3]
    assert (status, json.loads(body)["code"], b"retry-after: 1" in head.lower()) == (503, "draining", True)


def test_an_error_is_answered_500_without_traceback_or_data():
    with mounted(Recorder(KeyError("hunter2"))) as port:
        status, _, body = ask_twisted(port, request())[:3]
    assert (status, json.loads(body)["code"], b"hunter2" in body) == (500, "internal", False)


def test_htp_head_is_405_with_allow_and_without_a_body():
    for hardened in (True, False):
        with mounted(Recorder(), hardened=hardened) as port, connected(port) as sock:
            sock.sendall(b"HEAD /webhook HTTP/1.1\r\nhost: a\r\n\r\n")
            data = b""
            while chunk := sock.recv(65_536):
                data += chunk
        assert data.startswith(b"HTTP/1.1 405 ")
        assert b"allow: post" in data.lower()
        assert data.endswith(b"\r\n\r\n")


# -- time -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [PLAIN[:30], PLAIN[:-1]], ids=["head", "body"])
def test_htp_what_stalls_is_closed_while_others_are_served(part):
    registry = Recorder()
    part = part.replace(b"/hook", b"/webhook")
    with mounted(registry, speed=50) as port, connected(port) as stalled:
        stalled.sendall(part)
        assert ask_twisted(port, request())[0] == 200
        assert is_closed(stalled)
    assert len(registry.received) == 1


@pytest.mark.parametrize("part", [b"POST /", PLAIN[:30], PLAIN[:-2]], ids=["line", "head", "body"])
def test_htp_what_drips_has_no_more_time_in_all(part):
    registry = Recorder()
    part = part.replace(b"/hook", b"/webhook").replace(b": 2", b": 2000")
    with mounted(registry, speed=20) as port, connected(port) as sock:
        began = reactor.seconds()
        sock.sendall(part)
        with contextlib.suppress(ConnectionError):
            while reactor.seconds() - began < SECONDS:
                sock.sendall(b"x")
                sock.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    if not sock.recv(1):
                        break
        elapsed = reactor.seconds() - began
    assert 0.4 < elapsed < 2
    assert not registry.received


def test_htp_a_body_cut_short_is_not_received():
    registry = Recorder()
    with mounted(registry) as port, connected(port) as sock:
        sock.sendall(request()[:-1])
        sock.shutdown(socket.SHUT_WR)
        assert is_closed(sock)
    assert not registry.received


def test_htp_a_refusal_can_be_read_by_a_peer_that_first_sends_its_whole_body():
    with mounted(Recorder()) as port, connected(port) as sock:
        sock.sendall(request(body=b"x" * 20_000_000))
        assert read_answer(sock)[0] == 413


def test_a_refused_peer_that_goes_on_sending_is_closed_soon():
    with mounted(Recorder(), speed=10) as port, connected(port) as sock:
        sock.sendall(request(body=b"", length=False, headers=["content-length: 200000000"]))
        read_answer(sock)
        assert is_reset(sock)


def is_reset(sock):
    """Send until that is refused."""
    try:
        while True:
            sock.sendall(b"x" * 1000)
    except ConnectionError:
        return True


def test_who_waits_for_a_100_gets_it_only_where_the_body_is_welcome():
    with mounted(Recorder()) as port:
        with connected(port) as sock:
            sock.sendall(request(body=b"", length=False, headers=["content-length: 7", "expect: 100-continue"]))
            assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            sock.sendall(BODY)
            assert read_answer_of_twisted(sock)[0] == 200
        refused = ask(port, request(body=b"", length=False, headers=["content-length: 9999", "expect: 100-continue"]))
    assert (refused[0], refused[3]) == (413, True)


def test_tls_refusals_of_a_hardened_site_are_the_same(tmp_path):
    certificate = Certificate(tmp_path / "localhost.pem")
    trust = ssl.create_default_context(cafile=certificate.path)
    with (
        mounted(Recorder(), tls=server_options(certificate.path, None)) as port,
        connected(port) as sock,
        trust.wrap_socket(sock, server_hostname="localhost") as tls,
    ):
        tls.sendall(request())
        assert read_answer_of_twisted(tls)[0] == 200
        tls.sendall(request("PUT"))
        assert read_answer(tls)[0] == 405
        assert is_closed(tls)


# -- sites that are not hardened --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request(body=b"x" * (LIMIT + 1)), 413),
        (request(body=chunked(b"x" * (LIMIT + 1)), length=False, headers=["transfer-encoding: chunked"]), 413),
        (request("PUT"), 405),
        (request(body=b"", length=False), 411),
        (request(headers=["content-encoding: gzip"], body=gzip.compress(BODY)), 415),
    ],
)
def test_htp_a_site_that_is_not_hardened_refuses_late_but_the_same(data, status):
    registry = Recorder()
    with mounted(registry, hardened=False) as port, connected(port) as sock:
        sock.sendall(data)
        found, head, _ = read_answer_of_twisted(sock)
        assert is_closed(sock)
    assert (found, b"application/problem+json" in head) == (status, True)
    assert not registry.received


def test_a_registry_that_listens_for_itself_has_nothing_to_harden():
    with pytest.raises(ValueError, match="url="):
        harden(Site(Resource()), Registry("memory://"))


def test_a_registry_that_is_mounted_proves_its_url_and_is_rung_through_it():
    async def scenario():
        root, heard = Resource(), []
        site = Site(root)
        port = reactor.listenTCP(0, site, interface="127.0.0.1")
        registry = Registry("memory://mounted", url=f"http://127.0.0.1:{port.getHost().port}/hooks")
        root.putChild(b"hooks", WebhookResource(registry))
        harden(site, registry)
        async with registry, Notifier("memory://mounted") as notifier:
            await registry.register({"account": 42}, heard.append)
            receipt = await notifier.notify({"account": 42}, 1)
            await reactor_thread.until(lambda: heard)
        await port.stopListening()
        return receipt.reached

    assert reactor_thread.run(scenario()) == 1
