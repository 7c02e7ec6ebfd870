"""Posts by a `requests.Session`, to peers that answer as they like."""

from __future__ import annotations

import gzip
import os
import socket
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from requests.adapters import BaseAdapter, HTTPAdapter

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
from skyhooks import Notifier, UrlPolicy
from skyhooks._requests import MAX_HANGING, RequestsClient
from skyhooks._values import Answer, Fault, Post

MIB = 1 << 20


@pytest.fixture
def session():
    with requests.Session() as session:
        yield session


@pytest.fixture
def client(session):
    client = RequestsClient(session, UrlPolicy())
    yield client
    client.close()


def wait_until(condition, seconds=5.0):
    over = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < over, "it did not come about in time"
        threading.Event().wait(0.01)


def no_attempt_runs():
    return not [thread for thread in threading.enumerate() if thread.name == "skyhooks-requests"]


# -- what is sent and what comes back -------------------------------------------------------------


def test_a_post_brings_status_body_and_the_headers_that_matter(client):
    answer = b"HTTP/1.1 503 Busy\r\ndate: then\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\nbusy"
    with Server(says(answer)) as server:
        assert client.post(post_to(server)) == Answer(503, b"busy", "then", "7")


def test_a_post_arrives_as_it_was_made(client):
    with Server() as server:
        client.post(post_to(server, path="/hook?a=b"))
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert lines[0] == b"post /hook?a=b http/1.1"
    assert {b"content-type: application/json", b"webhook-id: a-1", b"accept-encoding: identity"} <= set(lines)
    assert body == b'{"v":1}'


def test_a_connection_is_kept_and_one_that_the_peer_closed_is_replaced_silently_snd(client):
    with Server(often=True) as server:
        for _ in range(3):
            client.post(post_to(server))
        assert server.connections == 1
    with Server(says(OK)) as server:
        assert [client.post(post_to(server)).status for _ in range(3)] == [200, 200, 200]
        assert server.connections == 3


def test_a_fresh_post_has_a_connection_of_its_own(client):
    with Server(often=True) as server:
        for fresh in (False, True, True, False):
            assert client.post(post_to(server, fresh=fresh)).status == 200
    first, second, third, fourth = server.peers
    assert first == fourth
    assert len({first, second, third}) == 3
    assert [b"connection: close" in request.lower() for request in server.requests] == [False, True, True, False]


def test_a_session_gives_its_headers_auth_and_adapters(session, client):
    class Signing(HTTPAdapter):
        def __init__(self, mark):
            self.mark = mark
            super().__init__()

        def init_poolmanager(self, *args, **options):
            assert self.mark
            super().init_poolmanager(*args, **options)

        def add_headers(self, request, **_):
            request.headers["x-mark"] = self.mark

    session.headers["x-team"] = "a"
    session.auth = ("me", "word")
    with Server() as server:
        session.mount(f"http://127.0.0.1:{server.port}/", Signing("signed"))
        assert client.post(post_to(server)).status == 200
    sent = server.requests[0].lower()
    assert b"x-team: a" in sent
    assert b"authorization: basic" in sent
    assert b"x-mark: signed" in sent


def test_an_adapter_of_any_kind_is_used_as_it_is(session, client):
    class Refusing(BaseAdapter):
        def send(self, *_, **__):
            raise ConnectionRefusedError(111, "no")

        def close(self):
            raise AssertionError("it is its owner's to close")

    with Server() as server:
        session.mount(f"http://127.0.0.1:{server.port}/", Refusing())
        assert client.post(post_to(server, fresh=True)).fault is Fault.REFUSED
        session.adapters.popitem(last=False)


def test_no_cookie_is_kept_and_none_is_sent(session, client):
    with Server(says(b"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n")) as server:
        for _ in range(2):
            client.post(post_to(server))
    assert not session.cookies
    assert b"cookie" not in server.requests[1].lower()


def test_threads_share_a_client(client):
    with Server(often=True) as server, ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: client.post(post_to(server)), range(64)))
    assert {answer.status for answer in answers} == {200}
    assert len(server.requests) == 64


# -- where it leads -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_the_second_host_sees_nothing_snd(client, status):
    with Server() as second, Server(redirect(status, second.port)) as first:
        assert client.post(post_to(first)).status == status
    assert second.connections == 0


def test_the_body_of_a_redirect_is_not_read_either_snd(client):
    head = b"HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 400000000\r\n\r\n"
    with Server(flood(head, b"x" * 65536, 4600)) as server:
        answer = client.post(post_to(server))
    assert (answer.status, len(answer.body)) == (307, 65536)


def test_proxies_and_passwords_of_the_environment_are_ignored_snd(client, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password word\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    with Server() as proxy, Server() as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert client.post(post_to(server)).status == 200
    assert proxy.connections == 0
    assert b"authorization" not in server.requests[0].lower()


def test_a_proxy_that_the_session_names_is_used(session, client):
    with Server() as proxy:
        session.proxies = {"http": f"http://127.0.0.1:{proxy.port}"}
        assert client.post(Post("http://127.0.0.1:1/x", (), b"{}", 3.0)).status == 200
    assert proxy.requests[0].startswith(b"POST http://127.0.0.1:1/x ")


@pytest.mark.parametrize("host", ["169.254.169.254", "[::ffff:169.254.169.254]", "8.8.8.8", "0"])
def test_what_the_policy_forbids_is_blocked_before_anything_is_sent(client, host):
    answer = client.post(Post(f"http://{host}/", (), b"{}", 1.0))
    assert answer.fault is Fault.BLOCKED


def test_a_name_of_which_one_address_is_forbidden_is_blocked(client, monkeypatch):
    def resolve(host, port, *_, **__):
        return [(socket.AF_INET, 1, 6, "", (address, port or 0)) for address in ("127.0.0.1", "93.184.216.34")]

    with Server() as server:
        monkeypatch.setattr(socket, "getaddrinfo", resolve)  # the one thing here that a test cannot make real
        answer = client.post(post_to(server, host="two.example"))
    assert answer.fault is Fault.BLOCKED
    assert "93.184.216.34" in answer.error
    assert server.connections == 0


def test_the_own_url_is_not_asked_about(session):
    with Server() as server:
        client = RequestsClient(session, NoPolicy())
        assert client.post(post_to(server)).fault is Fault.BLOCKED
        assert client.post(post_to(server, own=True)).status == 200
        client.close()


def test_no_url_is_blocked(client):
    assert client.post(Post("ftp://127.0.0.1/", (), b"{}", 1.0)).fault is Fault.BLOCKED


# -- faults ---------------------------------------------------------------------------------------


def test_refused_reset_and_nonsense_are_faults_snd(client):
    assert client.post(Post(f"http://127.0.0.1:{free_port()}/", (), b"{}", 3.0)).fault is Fault.REFUSED
    for answer, fault in (
        (b"", Fault.RESET),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfour", Fault.RESET),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab", Fault.RESET),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", Fault.PROTOCOL),
    ):
        with Server(says(answer)) as server:
            assert client.post(post_to(server)).fault is fault, answer


def test_a_name_that_is_none_is_a_dns_fault_snd(client):
    assert client.post(Post("http://nowhere.invalid/", (), b"{}", 3.0)).fault is Fault.DNS


def test_a_certificate_that_nobody_signed_is_a_tls_fault_snd(session, client, tmp_path):
    certificate = Certificate(tmp_path / "pem")
    with Server(context=certificate.server) as server:
        assert client.post(post_to(server, scheme="https")).fault is Fault.TLS
        session.verify = certificate.path
        assert client.post(post_to(server, scheme="https")).status == 200
    assert len(server.requests) == 1


def test_an_auth_that_raises_is_a_fault_and_not_a_thread_that_died(session, client):
    def auth(_):
        raise KeyError("no token")

    session.auth = auth
    with Server() as server:
        answer = client.post(post_to(server))
    assert answer.fault is Fault.PROTOCOL
    assert "no token" not in answer.error


# -- time and memory ------------------------------------------------------------------------------


def test_a_hung_target_gets_its_verdict_at_the_attempt_s_end_snd(client):
    with hanging() as server:
        began = time.monotonic()
        answer = client.post(post_to(server, seconds=0.4))
        assert 0.35 < time.monotonic() - began < 1.0
    assert answer.fault is Fault.TIMEOUT


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 100 C\r\n\r\nHTTP"],
    ids=["body", "header", "interim"],
)
def test_a_drip_fed_answer_is_cut_at_the_attempt_s_end_snd(client, answer):
    with dripping(answer) as server:
        began = time.monotonic()
        verdict = client.post(post_to(server, seconds=0.5))
        assert 0.45 < time.monotonic() - began < 1.0
    assert verdict.fault is Fault.TIMEOUT
    wait_until(no_attempt_runs)


def test_a_body_that_drips_ends_its_thread_soon_after_the_verdict(client):
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"
    with Server() as server:
        server._answer = lambda sock: (
            sock.sendall(head),
            [sock.sendall(b"x") for _ in iter(lambda: server.ending.wait(0.05), True)],
        )
        assert client.post(post_to(server, seconds=0.3)).fault is Fault.TIMEOUT
        wait_until(no_attempt_runs, 1.0)


def test_a_target_keeps_few_threads_and_none_of_the_others_time(client):
    with dripping(b"HTTP/1.1 200 OK\r\nx: ") as hostile, Server() as healthy:
        for _ in range(MAX_HANGING):
            assert client.post(post_to(hostile, seconds=0.1)).fault is Fault.TIMEOUT
        began = time.monotonic()
        answer = client.post(post_to(hostile, seconds=3.0))
        assert answer.fault is Fault.TIMEOUT
        assert "still hang" in answer.error
        assert client.post(post_to(healthy)).status == 200
        assert time.monotonic() - began < 1.0
        assert hostile.connections == MAX_HANGING
    wait_until(lambda: not client._hanging)


def test_twenty_hung_targets_do_not_delay_a_healthy_one_snd(client):
    with hanging() as hung, Server() as healthy, ThreadPoolExecutor(21) as threads:
        posts = [threads.submit(client.post, post_to(hung, seconds=1.0)) for _ in range(20)]
        hung.wait_for_requests(20)
        began = time.monotonic()
        assert client.post(post_to(healthy)).status == 200
        assert time.monotonic() - began < 0.5
        assert {post.result().fault for post in posts} == {Fault.TIMEOUT}


def test_a_long_body_is_cut_and_judged_by_its_status_snd(client):
    for head in (b"HTTP/1.1 413 No\r\ncontent-length: 300000000\r\n\r\n", b"HTTP/1.1 413 No\r\n\r\n"):
        with Server(flood(head, b"x" * 65536, 4600)) as server:
            answer = client.post(post_to(server))
        assert (answer.status, len(answer.body)) == (413, 65536)


def test_a_gzip_bomb_is_not_unpacked_snd(client):
    bomb = gzip.compress(bytes(64 * MIB))
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb)
    with Server(says(head + bomb)) as server:
        tracemalloc.start()
        answer = client.post(post_to(server))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert answer.status == 200
    assert answer.body == bomb[:65536]
    assert peak < 4 * MIB


def test_endless_headers_take_no_memory_to_speak_of_snd(client):
    with Server(flood(b"HTTP/1.1 200 OK\r\n", b"x-more: " + b"y" * 60_000 + b"\r\n", 4000)) as server:
        tracemalloc.start()
        answer = client.post(post_to(server))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert answer.fault is Fault.PROTOCOL
    assert peak < 16 * MIB


# -- life -----------------------------------------------------------------------------------------


def test_a_closed_client_sends_nothing_and_leaves_the_session_open(session, client):
    with Server(often=True) as server:
        client.post(post_to(server))
        client.close()
        client.close()
        assert client.post(post_to(server)).fault is Fault.RESET
        assert session.post(f"http://127.0.0.1:{server.port}/", data=b"{}").status_code == 200


def test_a_child_process_uses_no_socket_of_its_parent(client):
    with Server(often=True) as server:
        client.post(post_to(server))
        child = os.fork()
        if child == 0:
            os._exit(0 if client.post(post_to(server)).status == 200 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert client.post(post_to(server)).status == 200
    assert server.connections == 2


def test_a_child_process_is_not_held_up_by_a_lock_that_a_thread_of_its_parent_held(client):
    with Server(often=True) as server:
        client.post(post_to(server))
        with client._lock:
            child = os.fork()
            if child == 0:
                os._exit(0 if client.post(post_to(server)).status == 200 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_is_no_session_is_refused_when_it_is_given():
    with pytest.raises(TypeError, match=r"takes a requests\.Session here, not str"):
        Notifier("memory://", client="session")
    Notifier("memory://", client=requests.Session()).close()
