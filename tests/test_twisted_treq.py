"""Posts by treq's `HTTPClient`, to peers that answer as they like.

What differs from the own client: of an answer's head Twisted reads as much as comes, within the attempt's time.
"""

from __future__ import annotations

import contextlib
import gzip
import socket
import tracemalloc

import pytest
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError
from twisted.internet.ssl import Certificate as TwistedCertificate
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool, RedirectAgent

import reactor_thread
from certificates import Certificate
from hostile import (
    OK,
    NoPolicy,
    Server,
    dripping,
    flood,
    free_port,
    hanging,
    post_to,
    redirect,
    says,
)
from reactor_thread import gather, in_thread, reactor, until
from skyhooks import UrlPolicy
from skyhooks._values import Answer, Fault, Post
from skyhooks.twisted import Notifier, Registry
from skyhooks.twisted._deferred import outside
from skyhooks.twisted._treq import TreqClient

MIB = 1 << 20


@contextlib.asynccontextmanager
async def opened(policy=None, *, max_connections=32, context=None):
    pool = HTTPConnectionPool(reactor)
    options = {} if context is None else {"contextFactory": context}
    client = TreqClient(
        reactor,
        HTTPClient(Agent(reactor, pool=pool, **options)),
        policy or UrlPolicy(),
        max_connections=max_connections,
    )
    try:
        yield client
    finally:
        await client.close()
        await pool.closeCachedConnections()


def post_once(post, **options):
    async def scenario():
        async with opened(**options) as client:
            return await client.post(post)

    return reactor_thread.run(scenario())


def timed(post, **options):
    async def scenario():
        async with opened(**options) as client:
            began = reactor.seconds()
            return await client.post(post), reactor.seconds() - began

    return reactor_thread.run(scenario())


# -- what is sent and what comes back -------------------------------------------------------------


def test_a_post_brings_status_body_and_the_headers_that_matter():
    answer = b"HTTP/1.1 503 Busy: wait\r\nDATE: then\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\nbusy"
    with Server(says(answer)) as server:
        assert post_once(post_to(server)) == Answer(503, b"busy", "then", "7")


def test_a_post_arrives_as_it_was_made():
    with Server() as server:
        post_once(post_to(server, path="/hook?a=b"))
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert lines[0] == b"post /hook?a=b http/1.1"
    assert {b"content-type: application/json", b"webhook-id: a-1", b"content-length: 7"} <= set(lines)
    assert not any(line.startswith((b"accept-encoding", b"cookie")) for line in lines)
    assert body == b'{"v":1}'


def test_connections_are_kept_but_for_fresh_posts():
    async def scenario(server):
        async with opened() as client:
            for fresh in (False, False, True, False):
                assert (await client.post(post_to(server, fresh=fresh))).status == 200

    with Server(says(OK), often=True) as server:
        reactor_thread.run(scenario(server))
    assert b"connection: close" in server.requests[2].lower()
    assert b"connection: close" not in server.requests[1].lower()


def test_an_answer_that_ends_with_the_connection_is_taken():
    with Server(says(b"HTTP/1.1 200 OK\r\n\r\nwell")) as server:
        assert post_once(post_to(server)) == Answer(200, b"well")


def test_what_follows_204_is_nothing():
    with Server(says(b"HTTP/1.1 204 No Content\r\n\r\n")) as server:
        assert post_once(post_to(server)) == Answer(204)


def test_an_instance_s_cookies_are_neither_kept_nor_sent():
    answer = b"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n"

    async def scenario(server):
        theirs = HTTPClient(Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False)))
        client = TreqClient(reactor, theirs, UrlPolicy())
        await client.post(post_to(server))
        await client.post(post_to(server))
        return len(theirs._cookiejar)

    with Server(says(answer)) as server:
        assert reactor_thread.run(scenario(server)) == 0
    assert b"cookie" not in server.requests[1].lower()


# -- where it leads -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_the_second_host_sees_nothing_snd(status):
    with Server() as second, Server(redirect(status, second.port)) as first:
        assert post_once(post_to(first)).status == status
    assert second.connections == 0


def test_proxies_of_the_environment_are_ignored_snd(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with Server() as server:
        assert post_once(post_to(server)).status == 200


@pytest.mark.parametrize("host", ["169.254.169.254", "8.8.8.8", "0", "[::ffff:169.254.1.1]"])
def test_what_the_policy_forbids_is_blocked_before_anything_is_sent(host):
    answer = post_once(Post(f"http://{host}/", (), b"", 3.0))
    assert answer.fault is Fault.BLOCKED


def test_a_name_of_which_one_address_is_forbidden_is_blocked(monkeypatch):
    def several(*_, **__):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 0)) for one in ("127.0.0.1", "169.254.169.254")]

    monkeypatch.setattr(socket, "getaddrinfo", several)
    answer = post_once(Post("http://name.invalid/", (), b"", 3.0))
    assert (answer.fault, "169.254.169.254" in answer.error) == (Fault.BLOCKED, True)


def test_the_own_url_is_not_asked_about():
    with Server() as server:
        assert post_once(post_to(server, own=True), policy=NoPolicy()).status == 200
        assert post_once(post_to(server), policy=NoPolicy()).fault is Fault.BLOCKED


def test_no_url_is_blocked():
    assert post_once(Post("ftp://a/", (), b"", 3.0)).fault is Fault.BLOCKED


# -- what goes wrong ------------------------------------------------------------------------------


def test_refused_is_a_fault_snd():
    answer = post_once(Post(f"http://127.0.0.1:{free_port()}/", (), b"", 3.0))
    assert (answer.fault, "refused" in answer.error) == (Fault.REFUSED, True)


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort", b"HTTP/1.1 200 OK\r\nx: y"],
    ids=["nothing", "body", "head"],
)
def test_an_answer_that_is_cut_short_is_a_reset_snd(answer):
    with Server(says(answer)) as server:
        assert post_once(post_to(server)).fault is Fault.RESET


@pytest.mark.parametrize("answer", [b"220 mail ESMTP\r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n", b"SSH-2.0-OpenSSH\r\n\r\n"])
def test_an_answer_that_is_none_is_a_fault_of_the_protocol_snd(answer):
    with Server(says(answer)) as server:
        assert post_once(post_to(server)).fault is Fault.PROTOCOL


def test_a_name_that_is_none_is_a_dns_fault_snd():
    for host in ("name.invalid", f"{'x' * 70}.invalid"):
        assert post_once(Post(f"http://{host}/", (), b"", 3.0)).fault is Fault.DNS


def test_a_certificate_that_nobody_signed_is_a_tls_fault_snd(tmp_path):
    certificate = Certificate(tmp_path / "a.pem")
    with Server(context=certificate.server) as server:
        answer = post_once(post_to(server, scheme="https"))
    assert (answer.fault, "certificate" in answer.error) == (Fault.TLS, True)
    assert server.requests == []


def test_a_certificate_that_the_agent_trusts_is_taken(tmp_path):
    certificate = Certificate(tmp_path / "a.pem")
    trusted = TwistedCertificate.loadPEM(tmp_path.joinpath("a.pem").read_text())
    with Server(context=certificate.server) as server:
        answer = post_once(
            post_to(server, scheme="https", host="localhost"), context=BrowserLikePolicyForHTTPS(trusted)
        )
    assert answer.status == 200


def test_a_certificate_for_another_name_is_a_tls_fault_snd(tmp_path, monkeypatch):
    certificate = Certificate(tmp_path / "a.pem")
    trusted = TwistedCertificate.loadPEM(tmp_path.joinpath("a.pem").read_text())
    with Server(context=certificate.server) as server:
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))],
        )
        answer = post_once(
            post_to(server, scheme="https", host="other.invalid"), context=BrowserLikePolicyForHTTPS(trusted)
        )
    assert (answer.fault, "other.invalid" in answer.error) == (Fault.TLS, True)


# -- time and memory ------------------------------------------------------------------------------


def test_a_hung_target_gets_its_verdict_at_the_attempt_s_end_snd():
    with hanging() as server:
        answer, seconds = timed(post_to(server, seconds=0.4))
    assert answer.fault is Fault.TIMEOUT
    assert 0.35 < seconds < 1.0


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 100 C\r\n\r\nHTTP"],
    ids=["body", "header", "interim"],
)
def test_a_drip_fed_answer_is_cut_at_the_attempt_s_end_snd(answer):
    with dripping(answer) as server:
        verdict, seconds = timed(post_to(server, seconds=0.5))
    assert verdict.fault is Fault.TIMEOUT
    assert 0.45 < seconds < 1.0


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("head", [b"", b"content-length: 300000000\r\n"], ids=["no length", "300 MB"])
def test_a_long_body_is_cut_and_costs_the_connection_snd(tmp_path, head, scheme):
    certificate = Certificate(tmp_path / "a.pem")
    context = certificate.server if scheme == "https" else None
    trusted = BrowserLikePolicyForHTTPS(TwistedCertificate.loadPEM(tmp_path.joinpath("a.pem").read_text()))
    script = flood(b"HTTP/1.1 413 No\r\n" + head + b"\r\n", b"x" * 65536, 4600)
    with Server(script, context=context) as server:
        tracemalloc.start()
        answer, seconds = timed(post_to(server, scheme=scheme, host="localhost"), context=trusted)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert (answer.status, len(answer.body)) == (413, 65536)
    assert seconds < 1.0
    assert peak < 4 * MIB


def test_chunks_without_an_end_are_cut_too_snd():
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    with Server(flood(head, b"4000\r\n" + b"x" * 0x4000 + b"\r\n", 20_000)) as server:
        answer, seconds = timed(post_to(server))
    assert (answer.status, len(answer.body)) == (200, 65536)
    assert seconds < 1.0


def test_a_gzip_bomb_is_not_unpacked_snd():
    bomb = gzip.compress(bytes(32 * MIB))
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb)
    with Server(says(head + bomb)) as server:
        tracemalloc.start()
        answer = post_once(post_to(server))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert answer == Answer(200, bomb)
    assert peak < 4 * MIB


def test_headers_without_an_end_are_cut_at_the_attempt_s_end_snd():
    with Server(flood(b"HTTP/1.1 200 OK\r\n", b"x-more: " + b"y" * 1000 + b"\r\n", 2_000_000)) as server:
        answer, seconds = timed(post_to(server, seconds=0.3))
    assert answer.fault is Fault.TIMEOUT
    assert seconds < 1.5


def test_a_header_without_an_end_is_cut_snd():
    with Server(flood(b"HTTP/1.1 200 OK\r\nx: ", b"y" * 60_000, 5000)) as server:
        answer, seconds = timed(post_to(server))
    assert answer.fault in (Fault.RESET, Fault.PROTOCOL)
    assert seconds < 1.0


# -- places and cancellations ---------------------------------------------------------------------


def test_twenty_hung_targets_do_not_delay_a_healthy_one_snd():
    async def scenario(hung, healthy):
        async with opened() as client:
            posts = [outside(client.post(post_to(hung, seconds=0.5))) for _ in range(20)]
            await in_thread(hung.wait_for_requests, 20)
            began = reactor.seconds()
            assert (await client.post(post_to(healthy))).status == 200
            assert reactor.seconds() - began < 0.3
            return [(await post).fault for post in posts]

    with hanging() as hung, Server() as healthy:
        assert set(reactor_thread.run(scenario(hung, healthy))) == {Fault.TIMEOUT}


def test_no_more_connections_are_made_at_once_than_is_said():
    async def scenario(server):
        async with opened(max_connections=2) as client:
            return await gather(*(client.post(post_to(server)) for _ in range(20)))

    with Server(says(OK), often=True) as server:
        answers = reactor_thread.run(scenario(server))
    assert {answer.status for answer in answers} == {200}
    assert server.connections == 2


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"], ids=["head", "body"])
def test_a_post_that_is_cancelled_ends_at_once_and_gives_its_place_back(answer):
    async def scenario(server):
        async with opened(max_connections=1) as client:
            one = outside(client.post(post_to(server)))
            await until(lambda: server.requests)
            await reactor_thread.sleep(0.05)
            one.cancel()
            with pytest.raises(CancelledError):
                await one
            assert client._places.tokens == 1

    with Server() as server:

        def begin(sock):
            sock.sendall(answer)
            server.ending.wait(30)

        server._answer = begin
        reactor_thread.run(scenario(server))


# -- who is given it ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Registry, Notifier])
def test_a_client_that_follows_redirects_by_itself_is_refused(kind):
    with pytest.raises(TypeError, match="redirects"):
        kind("memory://", client=HTTPClient(RedirectAgent(Agent(reactor))))


def test_a_registry_and_a_notifier_go_by_the_client_they_are_given_and_leave_it_open():
    sent = []

    class Counting(Agent):
        def request(self, method, uri, headers=None, bodyProducer=None):
            sent.append(uri)
            return super().request(method, uri, headers, bodyProducer)

    async def scenario():
        client = HTTPClient(Counting(reactor, pool=HTTPConnectionPool(reactor, persistent=False)))
        async with Registry("memory://treq", client=client) as registry:
            pings = len(sent)
            await registry.register({"account": 42}, print)
            async with Notifier("memory://treq", client=client) as notifier:
                receipt = await notifier.notify({"account": 42}, 1)
        return pings, len(sent), receipt.reached

    assert reactor_thread.run(scenario()) == (8, 9, 1)
