"""Posts by Tornado's `AsyncHTTPClient`, to peers that answer as they like."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import socket
import threading
import tracemalloc

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.simple_httpclient import SimpleAsyncHTTPClient

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
from skyhooks import UrlPolicy
from skyhooks._values import Answer, Fault, Post
from skyhooks.tornado import Notifier, Registry
from skyhooks.tornado._client import TornadoClient

MIB = 1 << 20


@contextlib.asynccontextmanager
async def opened(policy=None, **options):
    theirs = AsyncHTTPClient(force_instance=True, **options)
    client = TornadoClient(theirs, policy or UrlPolicy())
    try:
        yield client
    finally:
        await client.close()
        for _ in range(500):  # Tornado goes on with what was cancelled until its time is over
            if not theirs.active:
                break
            await asyncio.sleep(0.01)
        theirs.close()


def post_once(post, **options):
    async def scenario():
        async with opened(**options) as client:
            return await client.post(post)

    return asyncio.run(scenario())


def timed(post, **options):
    async def scenario():
        async with opened(**options) as client:
            loop = asyncio.get_running_loop()
            began = loop.time()
            return await client.post(post), loop.time() - began

    return asyncio.run(scenario())


# -- what is sent and what comes back -------------------------------------------------------------


def test_a_post_brings_status_body_and_the_headers_that_matter():
    answer = b"HTTP/1.1 503 Busy: wait\r\nDATE: then\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\nbusy"
    with Server(says(answer)) as server:
        assert post_once(post_to(server)) == Answer(503, b"busy", "then", "7")


def test_what_comes_before_an_answer_is_not_the_answer():
    before = b"HTTP/1.1 103 Early: hints\r\nretry-after: 9\r\n\r\n"
    with Server(says(before + b"HTTP/1.1 200 Fine: really\r\ncontent-length: 2\r\n\r\nok")) as server:
        assert post_once(post_to(server)) == Answer(200, b"ok")


def test_a_post_arrives_as_it_was_made():
    with Server() as server:
        post_once(post_to(server, path="/hook?a=b"), defaults={"user_agent": "mine"})
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert lines[0] == b"post /hook?a=b http/1.1"
    assert {b"content-type: application/json", b"webhook-id: a-1", b"user-agent: mine"} <= set(lines)
    assert not any(line.startswith(b"accept-encoding") for line in lines)
    assert body == b'{"v":1}'


def test_every_post_has_a_connection_of_its_own():
    async def scenario(server):
        async with opened() as client:
            for fresh in (False, True, False):
                assert (await client.post(post_to(server, fresh=fresh))).status == 200

    with Server(says(OK), often=True) as server:
        asyncio.run(scenario(server))
    assert server.connections == 3


def test_an_answer_that_ends_with_the_connection_is_taken():
    with Server(says(b"HTTP/1.1 200 OK\r\n\r\nwell")) as server:
        assert post_once(post_to(server)) == Answer(200, b"well")


def test_what_follows_204_is_nothing():
    with Server(says(b"HTTP/1.1 204 No Content\r\n\r\n")) as server:
        assert post_once(post_to(server)) == Answer(204)


# -- where it leads -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_the_second_host_sees_nothing_snd(status):
    with Server() as second, Server(redirect(status, second.port)) as first:
        assert post_once(post_to(first)).status == status
    assert second.connections == 0


def test_proxies_of_the_environment_are_ignored_snd(monkeypatch):
    with Server() as proxy, Server() as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert post_once(post_to(server)).status == 200
    assert proxy.connections == 0


@pytest.mark.parametrize("host", ["169.254.169.254", "[::ffff:169.254.169.254]", "8.8.8.8", "0"])
def test_what_the_policy_forbids_is_blocked_before_anything_is_sent(host):
    assert post_once(Post(f"http://{host}/", (), b"{}", 1.0)).fault is Fault.BLOCKED


def test_a_name_of_which_one_address_is_forbidden_is_blocked(monkeypatch):
    def resolve(host, port, *_, **__):
        return [(socket.AF_INET, 1, 6, "", (address, port or 0)) for address in ("127.0.0.1", "93.184.216.34")]

    with Server() as server:
        monkeypatch.setattr(socket, "getaddrinfo", resolve)  # the one thing here that a test cannot make real
        answer = post_once(post_to(server, host="two.example"))
    assert answer.fault is Fault.BLOCKED
    assert "93.184.216.34" in answer.error
    assert server.connections == 0


def test_the_own_url_is_not_asked_about():
    with Server() as server:
        assert post_once(post_to(server), policy=NoPolicy()).fault is Fault.BLOCKED
        assert post_once(post_to(server, own=True), policy=NoPolicy()).status == 200


def test_a_name_is_resolved_by_the_client_s_own_resolver_in_the_end():
    with Server() as server:
        post = post_to(server, host="localhost")
        assert post_once(post, hostname_mapping={"localhost": "127.0.0.1"}).status == 200


def test_no_url_is_blocked():
    assert post_once(Post("ftp://127.0.0.1/", (), b"{}", 1.0)).fault is Fault.BLOCKED


# -- faults ---------------------------------------------------------------------------------------


def test_refused_is_a_fault_snd():
    assert post_once(Post(f"http://127.0.0.1:{free_port()}/", (), b"{}", 3.0)).fault is Fault.REFUSED


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfour",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    ],
)
def test_an_answer_that_is_none_or_cut_short_is_a_reset_snd(answer):
    # Tornado ends its request in the same way for both.
    with Server(says(answer)) as server:
        assert post_once(post_to(server)).fault is Fault.RESET


def test_a_name_that_is_none_is_a_dns_fault_snd():
    assert post_once(Post("http://nowhere.invalid/", (), b"{}", 3.0)).fault is Fault.DNS


def test_a_certificate_that_nobody_signed_is_a_tls_fault_snd(tmp_path):
    certificate = Certificate(tmp_path / "pem")
    with Server(context=certificate.server) as server:
        assert post_once(post_to(server, scheme="https")).fault is Fault.TLS
        assert post_once(post_to(server, scheme="https"), defaults={"ca_certs": certificate.path}).status == 200
    assert len(server.requests) == 1


def test_a_client_that_its_owner_closed_is_a_fault():
    async def scenario(server):
        async with opened() as client:
            client._client.close()
            return await client.post(post_to(server))

    with Server() as server:
        answer = asyncio.run(scenario(server))
    assert (answer.fault, answer.error) == (Fault.RESET, "the AsyncHTTPClient has been closed")


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


def test_a_long_body_is_cut_and_judged_by_its_status_snd(caplog):
    heads = {
        b"HTTP/1.1 413 No\r\n\r\n": 65536,
        b"HTTP/1.1 413 No\r\ncontent-length: 65537\r\n\r\n": 0,
        b"HTTP/1.1 413 No\r\ncontent-length: 300000000\r\n\r\n": 0,
        b"HTTP/1.1 413 No\r\ncontent-length: %s\r\n\r\n" % (b"9" * 5000): 0,
    }
    for head, size in heads.items():
        with Server(flood(head, b"x" * 65536, 4600)) as server, caplog.at_level(logging.WARNING):
            answer, seconds = timed(post_to(server))
        assert (answer.status, len(answer.body)) == (413, size)
        assert seconds < 1.0
    assert not caplog.records


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
        answer = post_once(post_to(server), defaults={"decompress_response": True})
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert answer == Answer(200, bomb)
    assert peak < 4 * MIB


@pytest.mark.parametrize("line", [b"x-more: " + b"y" * 1000 + b"\r\n", b"x" * 1000], ids=["many", "one"])
def test_endless_headers_take_no_memory_to_speak_of_snd(line):
    with Server(flood(b"HTTP/1.1 200 OK\r\n", line, 200_000)) as server:
        tracemalloc.start()
        answer, seconds = timed(post_to(server))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert answer.fault is Fault.PROTOCOL
    assert seconds < 1.0
    assert peak < 4 * MIB


def test_a_head_above_16_kib_is_refused_as_by_the_own_client():
    with Server(says(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 20_000 + b"\r\ncontent-length: 0\r\n\r\n")) as server:
        assert post_once(post_to(server)).fault is Fault.PROTOCOL


# -- the client's places --------------------------------------------------------------------------


async def gather_posts(client, posts):
    return await asyncio.gather(*(client.post(post) for post in posts))


def test_twenty_hung_targets_do_not_delay_a_healthy_one_where_there_are_places_snd():
    async def scenario(hung, healthy):
        loop = asyncio.get_running_loop()
        async with opened(max_clients=32) as client:
            posts = asyncio.ensure_future(gather_posts(client, [post_to(hung, seconds=1.0)] * 20))
            await loop.run_in_executor(None, hung.wait_for_requests, 20)
            began = loop.time()
            assert (await client.post(post_to(healthy))).status == 200
            assert loop.time() - began < 0.5
            assert {answer.fault for answer in await posts} == {Fault.TIMEOUT}

    with hanging() as hung, Server() as healthy:
        asyncio.run(scenario(hung, healthy))


def test_a_post_that_waits_for_a_place_longer_than_for_a_connection_is_sent_all_the_same():
    async def scenario(slow, healthy):
        async with opened(max_clients=1) as client:
            first = asyncio.ensure_future(client.post(post_to(slow)))
            await asyncio.get_running_loop().run_in_executor(None, slow.wait_for_requests, 1)
            second = await client.post(post_to(healthy))
            return await first, second

    released = threading.Event()
    threading.Timer(1.3, released.set).start()
    with Server(lambda sock: (released.wait(5), sock.sendall(OK))) as slow, Server() as healthy:
        assert asyncio.run(scenario(slow, healthy)) == (Answer(200, b"ok"), Answer(200, b"ok"))


def test_so_is_one_that_waits_behind_the_application_s_own_requests():
    async def scenario(slow, healthy):
        async with opened(max_clients=1) as client:
            theirs = client._client.fetch(f"http://127.0.0.1:{slow.port}/", method="POST", body=b"{}")
            await asyncio.get_running_loop().run_in_executor(None, slow.wait_for_requests, 1)
            ours = await client.post(post_to(healthy))
            await theirs
            return ours

    released = threading.Event()
    threading.Timer(1.3, released.set).start()
    with Server(lambda sock: (released.wait(5), sock.sendall(OK))) as slow, Server() as healthy:
        assert asyncio.run(scenario(slow, healthy)).status == 200


def test_a_post_that_never_got_a_place_says_so_and_does_not_blame_its_target():
    async def scenario(hung, healthy):
        async with opened(max_clients=1) as client:
            first = asyncio.ensure_future(client.post(post_to(hung, seconds=2.0)))
            await asyncio.get_running_loop().run_in_executor(None, hung.wait_for_requests, 1)
            answer = await client.post(post_to(healthy, seconds=0.2))
            assert not client._suspects
            first.cancel()
            return answer

    with hanging() as hung, Server() as healthy:
        answer = asyncio.run(scenario(hung, healthy))
    assert answer.fault is Fault.TIMEOUT
    assert "max_clients=1" in answer.error
    assert healthy.connections == 0


def test_targets_that_hung_leave_half_of_the_places_to_the_others():
    async def scenario(hung, healthy):
        loop = asyncio.get_running_loop()
        async with opened(max_clients=2) as client:
            assert (await client.post(post_to(hung, seconds=0.2))).fault is Fault.TIMEOUT
            posts = asyncio.ensure_future(gather_posts(client, [post_to(hung, seconds=1.0)] * 5))
            await loop.run_in_executor(None, hung.wait_for_requests, 2)
            began = loop.time()
            assert (await client.post(post_to(healthy))).status == 200
            assert loop.time() - began < 0.5
            await posts

    with hanging() as hung, Server() as healthy:
        asyncio.run(scenario(hung, healthy))


def test_a_target_that_answers_again_is_no_suspect_any_more(monkeypatch):
    async def scenario(server):
        async with opened() as client:
            await client.post(post_to(server, seconds=0.2))
            assert len(client._suspects) == 1
            server._answer = says(OK)
            await client.post(post_to(server))
            assert not client._suspects
            monkeypatch.setattr("skyhooks.tornado._client.MAX_SUSPECTS", 1)
            for port in (1, 2):
                client._remember(("http", "a", port, False), hung=True)
            assert client._suspects == {("http", "a", 2, False)}

    with hanging() as server:
        asyncio.run(scenario(server))


def test_a_post_that_is_cancelled_gives_its_place_back():
    async def scenario(hung, healthy):
        async with opened(max_clients=2) as client:
            posts = asyncio.ensure_future(gather_posts(client, [post_to(hung, seconds=0.5)] * 2))
            await asyncio.get_running_loop().run_in_executor(None, hung.wait_for_requests, 2)
            posts.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await posts
            return await client.post(post_to(healthy))

    with hanging() as hung, Server() as healthy:
        assert asyncio.run(scenario(hung, healthy)).status == 200


# -- what is given --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Registry, Notifier])
def test_what_is_no_client_is_refused_when_it_is_given(kind):
    with pytest.raises(
        TypeError, match=r"takes a tornado\.httpclient\.AsyncHTTPClient of Tornado's own kind.* not str"
    ):
        kind("memory://", client="client")


def test_a_client_of_another_kind_is_refused():
    class Curl(AsyncHTTPClient):
        pass

    async def scenario():
        theirs = Curl(force_instance=True)
        with pytest.raises(TypeError, match="not Curl"):
            Notifier("memory://", client=theirs)
        theirs.close()

    asyncio.run(scenario())


def test_a_registry_and_a_notifier_go_by_the_client_they_are_given_and_leave_it_open():
    class Counting(SimpleAsyncHTTPClient):
        def fetch_impl(self, *args):
            self.fetched = getattr(self, "fetched", 0) + 1
            super().fetch_impl(*args)

    async def scenario():
        theirs = Counting(force_instance=True)
        arrived = asyncio.Queue()
        registry = Registry("memory://client", client=theirs)
        async with asyncio.timeout(10), registry, Notifier("memory://client", client=theirs) as notifier:
            pings = theirs.fetched
            await registry.register({"account": 42}, arrived.put_nowait)
            assert (await notifier.notify({"account": 42}, "done")).reached == 1
            assert (await arrived.get()).data == "done"
            assert (pings, theirs.fetched) == (8, 9)
        assert not theirs._closed
        theirs.close()

    asyncio.run(scenario())
