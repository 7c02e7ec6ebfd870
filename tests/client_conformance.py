"""What every client of ours must do (RELIABILITY section 1, SND): one body, run by each client's own tests."""

from __future__ import annotations

import gzip
import os
import socket
import ssl
import threading
import time
import tracemalloc

import pytest

from certificates import Certificate
from peers import OK, SECONDS, Peer, Served, answering, read_request
from skyhooks._http import Response
from skyhooks._urls import UrlPolicy
from skyhooks._values import Fault, Post

HEADERS = (("content-type", "application/json"),)
MIB = 1_048_576


def post(url, body=b"{}", timeout_seconds=3.0, **options):
    return Post(url, HEADERS, body, timeout_seconds, **options)


def endless(head, chunk):
    """Script: answer with a head and then the same chunk for ever."""

    def script(sock, number):
        read_request(sock)
        sock.sendall(head)
        while True:
            sock.sendall(chunk)

    return script


def silent(address):
    """Ask for a connection that is not waited for: it fills the queue of who does not accept."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.connect_ex(address)
    return sock


class ClientConformance:
    """Subclass it with `open(policy, **options)`, which returns what has `post_all(posts)` and `close()`."""

    def open(self, policy, **options):
        raise NotImplementedError

    def post_at_once(self, client, posts):
        """Start all posts before any of them ends."""
        raise NotImplementedError

    @pytest.fixture
    def certificate(self, tmp_path):
        return Certificate(tmp_path / "localhost.pem")

    @pytest.fixture
    def client(self):
        client = self.open(UrlPolicy())
        yield client
        client.close()

    def test_post_is_made_and_answered(self, client):
        with Served() as served:
            [answer] = client.post_all([post(served.url, b"[1]")])
        assert answer.status == 200
        assert answer.body == b'{"status":"ok"}'
        assert answer.date is not None
        [(headers, body)] = served.requests
        assert ("host", f"127.0.0.1:{served.listener.port}") in headers
        assert body == b"[1]"

    def test_connection_is_kept_and_used_again(self, client):
        with Peer(answering(OK)) as peer:
            assert [client.post_all([post(peer.url)])[0].status for _ in range(5)] == [200] * 5
            client.close()
        assert peer.accepted == 1

    def test_fresh_posts_have_connections_of_their_own(self, client):
        with Peer(answering(OK)) as peer:
            client.post_all([post(peer.url)])
            client.post_all([post(peer.url, fresh=True)])
            client.post_all([post(peer.url, fresh=True)])
            client.post_all([post(peer.url)])
            client.close()
        assert peer.accepted == 3

    def test_large_body_is_sent_whole(self, client):
        with Served(max_body_bytes=8 * MIB) as served:
            [answer] = client.post_all([post(served.url, b"x" * 8 * MIB)])
        assert answer.status == 200
        assert len(served.requests[0][1]) == 8 * MIB

    def test_answer_that_comes_before_the_whole_request_is_taken(self, client):
        with Served(max_body_bytes=10) as served:
            answers = [client.post_all([post(served.url, b"x" * 4 * MIB)])[0] for _ in range(3)]
        assert [answer.status for answer in answers] == [413] * 3

    def test_snd_connection_that_the_peer_closed_is_replaced_silently(self, client):
        def script(sock, number):
            read_request(sock)
            sock.sendall(OK)

        with Peer(script) as peer:
            assert [client.post_all([post(peer.url)])[0].status for _ in range(5)] == [200] * 5
        assert peer.accepted == 5

    def test_snd_connection_that_dies_under_a_request_is_replaced_once(self, client):
        def script(sock, number):
            read_request(sock)
            sock.sendall(OK)
            read_request(sock)

        with Peer(script) as peer:
            answers = [client.post_all([post(peer.url)])[0] for _ in range(3)]
            client.close()
        assert [answer.status for answer in answers] == [200] * 3
        assert peer.accepted == 3

    def test_snd_fresh_connection_that_dies_is_a_reset(self, client):
        with Peer(lambda sock, number: read_request(sock)) as peer:
            [answer] = client.post_all([post(peer.url)])
        assert answer.fault is Fault.RESET
        assert peer.accepted == 1

    def test_snd_answer_that_breaks_off_is_a_reset_and_not_sent_again(self, client):
        with Peer(answering(OK, OK[:-1])) as peer:
            client.post_all([post(peer.url)])
            [answer] = client.post_all([post(peer.url, timeout_seconds=0.2)])
        assert answer.fault is Fault.TIMEOUT
        assert peer.accepted == 1

    def test_unasked_bytes_cost_the_connection(self, client):
        answered, told = threading.Event(), threading.Event()

        def script(sock, number):
            read_request(sock)
            sock.sendall(OK)
            if number == 0:
                assert answered.wait(SECONDS)
                sock.sendall(OK.replace(b"200", b"599"))
                told.set()
            while read_request(sock):
                sock.sendall(OK)

        with Peer(script) as peer:
            client.post_all([post(peer.url)])
            answered.set()
            assert told.wait(SECONDS)
            [answer] = client.post_all([post(peer.url)])
            client.close()
        assert answer.status == 200
        assert peer.accepted == 2

    def test_snd_redirects_are_not_followed(self, client):
        with Peer(answering(OK)) as second:
            location = f"HTTP/1.1 307 Moved\r\nlocation: {second.url}\r\ncontent-length: 0\r\n\r\n".encode()
            with Peer(answering(location)) as first:
                [answer] = client.post_all([post(first.url)])
                client.close()
        assert answer.status == 307
        assert second.accepted == 0

    def test_snd_retry_after_is_handed_on(self, client):
        busy = b"HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n"
        with Peer(answering(busy)) as peer:
            [answer] = client.post_all([post(peer.url)])
            client.close()
        assert (answer.status, answer.retry_after) == (503, "7")

    # -- time and memory --------------------------------------------------------------------------

    def test_snd_drip_fed_answer_is_cut_at_the_attempts_total_time(self, client):
        def script(sock, number):
            read_request(sock)
            for byte in b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1000:
                sock.sendall(bytes([byte]))
                if peer._over.wait(0.02):
                    return

        with Peer(script) as peer:
            started = time.monotonic()
            [answer] = client.post_all([post(peer.url, timeout_seconds=0.3)])
            elapsed = time.monotonic() - started
        assert answer.fault is Fault.TIMEOUT
        assert "no answer within 0.3 s" in answer.error
        assert 0.25 < elapsed < 1.0

    @pytest.mark.parametrize(
        ("head", "chunk", "status", "fault"),
        [
            (b"HTTP/1.1 200 OK\r\n", b"x: " + b"y" * 60_000 + b"\r\n", None, Fault.PROTOCOL),
            (b"HTTP/1.1 200 OK\r\nx: ", b"y" * 60_000, None, Fault.PROTOCOL),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 300000000\r\n\r\n", b"y" * 60_000, 200, None),
            (b"HTTP/1.1 200 OK\r\n\r\n", b"y" * 60_000, 200, None),
            (
                b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 300000000\r\n\r\n",
                gzip.compress(b"\0" * 20_000_000),
                200,
                None,
            ),
        ],
        ids=["headers", "header", "300 MB", "no length", "gzip bomb"],
    )
    def test_snd_endless_answers_cost_little_memory(self, client, head, chunk, status, fault):
        with Peer(endless(head, chunk)) as peer:
            tracemalloc.start()
            [answer] = client.post_all([post(peer.url)])
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert (answer.status, answer.fault) == (status, fault)
        assert len(answer.body) <= 65_536
        assert most < 16 * MIB

    def test_snd_hung_targets_do_not_delay_a_healthy_one(self, client):
        with Peer(lambda sock, number: hung.hold(), host="0.0.0.0") as hung, Served() as healthy:
            urls = [f"http://127.0.1.{number}:{hung.port}/" for number in range(20)]
            posts = [post(url, timeout_seconds=0.5) for url in urls]
            answers = client.post_all([*posts, post(healthy.url, timeout_seconds=0.4)])
        assert answers[-1].status == 200
        assert {answer.fault for answer in answers[:-1]} == {Fault.TIMEOUT}

    def test_posts_wait_for_their_turn_where_all_sockets_are_taken(self):
        def script(sock, number):
            while request := read_request(sock):
                right = f"host: {sock.getsockname()[0]}:{peer.port}\r\n".encode() in request
                sock.sendall(OK if right else OK.replace(b"200", b"421"))

        client = self.open(UrlPolicy(), max_connections=2)
        with Peer(script, host="0.0.0.0") as peer:
            urls = [f"http://127.0.2.{number % 5}:{peer.port}/" for number in range(40)]
            answers = self.post_at_once(client, [post(url) for url in urls])
            client.close()
        assert {answer.status for answer in answers} == {200}

    def test_post_that_waits_for_its_turn_is_over_in_time(self):
        client = self.open(UrlPolicy(), max_connections=1)
        with Peer(lambda sock, number: peer.hold()) as peer:
            started = time.monotonic()
            answers = self.post_at_once(client, [post(peer.url, timeout_seconds=0.3)] * 3)
            elapsed = time.monotonic() - started
            client.close()
        assert [answer.fault for answer in answers] == [Fault.TIMEOUT] * 3
        assert elapsed < 1.0

    def test_idle_connections_make_room_for_those_to_others(self):
        client = self.open(UrlPolicy(), max_connections=3)
        ended = threading.Semaphore(0)

        def script(sock, number):
            answering(OK)(sock, number)
            ended.release()

        with Peer(script, host="0.0.0.0") as peer:
            urls = [f"http://127.0.3.{number}:{peer.port}/" for number in range(10)]
            assert {client.post_all([post(url)])[0].status for url in urls} == {200}
            client.post_all([])
            for _ in range(7):
                assert ended.acquire(timeout=SECONDS)
            assert {client.post_all([post(url)])[0].status for url in urls[-3:]} == {200}
            client.close()
        assert peer.accepted == 10

    def test_snd_ten_thousand_targets_use_at_most_32_sockets(self, client):
        most = 0

        def receive(headers, body):
            nonlocal most
            most = max(most, len(served.listener._connections))
            return Response(200, b"{}")

        with Served(receive, host="0.0.0.0") as served:
            urls = [f"http://127.{n >> 16}.{n >> 8 & 255}.{n & 255}:{served.listener.port}/" for n in range(1, 2001)]
            answers = client.post_all([post(url, timeout_seconds=90.0) for url in urls])
            client.close()
        assert {answer.status for answer in answers} == {200}
        assert most <= 40  # the listener learns of an end a moment later

    # -- who is called ----------------------------------------------------------------------------

    def test_refused_connection_is_told(self, client):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
        [answer] = client.post_all([post(f"http://127.0.0.1:{port}/")])
        assert answer.fault is Fault.REFUSED
        assert "refused" in answer.error

    def test_connection_has_a_second_to_come_about(self, client):
        with socket.create_server(("127.0.0.1", 0), backlog=0) as listening:
            address = listening.getsockname()
            with socket.create_connection(address), silent(address), silent(address):
                started = time.monotonic()
                [answer] = client.post_all([post(f"http://127.0.0.1:{address[1]}/")])
                elapsed = time.monotonic() - started
        assert answer.fault is Fault.TIMEOUT
        assert "no connection within 1 s" in answer.error
        assert 0.9 < elapsed < 2.0

    def test_next_address_of_a_name_is_tried(self, client, monkeypatch):
        def several(*_, **__):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]

        addresses = ["8.8.8.8", "127.0.0.9", "127.0.0.1"]
        with Served() as served:
            monkeypatch.setattr(socket, "getaddrinfo", several)
            [answer] = client.post_all([post(f"http://name.invalid:{served.listener.port}/")])
        assert answer.status == 200

    def test_unknown_name_is_told(self, client):
        answers = client.post_all([post("http://name.invalid/"), post(f"http://{'x' * 70}.invalid/")])
        assert [answer.fault for answer in answers] == [Fault.DNS] * 2

    @pytest.mark.parametrize("host", ["169.254.169.254", "8.8.8.8", "[::ffff:169.254.1.1]", "0", "0x0.0"])
    def test_forbidden_address_is_never_connected_to(self, client, host):
        [answer] = client.post_all([post(f"http://{host}/")])
        assert answer.fault is Fault.BLOCKED
        assert "forbidden by the URL policy" in answer.error

    @pytest.mark.parametrize("host", ["localhost", "127.1", "0x7f000001", "2130706433"])
    def test_name_is_resolved_and_its_address_judged(self, client, host):
        with Served() as served:
            [answer] = client.post_all([post(f"http://{host}:{served.listener.port}/")])
        assert answer.status == 200
        assert ("host", f"{host}:{served.listener.port}") in served.requests[0][0]

    def test_own_url_is_called_whatever_the_policy(self):
        class Nothing(UrlPolicy):
            def permits(self, host, address):
                return False

        client = self.open(Nothing())
        with Served() as served:
            own, other = client.post_all([post(served.url, own=True)]) + client.post_all([post(served.url)])
            client.close()
        assert own.status == 200
        assert other.fault is Fault.BLOCKED

    def test_url_that_is_none_is_blocked_and_shows_no_secret(self, client):
        [answer] = client.post_all([post("http://user:secret@127.0.0.1/")])
        assert answer.fault is Fault.BLOCKED
        assert "secret" not in answer.error

    def test_header_that_would_smuggle_is_blocked(self, client):
        with Served() as served:
            [answer] = client.post_all([Post(served.url, (("skyhooks-instance", "a\r\nb: c"),), b"", 3.0)])
        assert answer.fault is Fault.BLOCKED
        assert served.requests == []

    def test_proxies_of_the_environment_are_ignored(self, client, monkeypatch):
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        with Served() as served:
            [answer] = client.post_all([post(served.url)])
        assert answer.status == 200

    # -- TLS --------------------------------------------------------------------------------------

    def test_certificate_that_is_trusted_is_taken_and_the_connection_kept(self, certificate):
        client = self.open(UrlPolicy(), ssl_context=ssl.create_default_context(cafile=certificate.path))
        with Served(ssl=certificate.server) as served:
            url = served.url.replace("127.0.0.1", "localhost")
            answers = [client.post_all([post(url, b"x" * MIB)])[0] for _ in range(3)]
            client.close()
        assert [answer.status for answer in answers] == [200] * 3

    def test_snd_certificate_of_a_stranger_is_a_tls_fault(self, client, certificate):
        with Served(ssl=certificate.server) as served:
            [answer] = client.post_all([post(served.url)])
        assert answer.fault is Fault.TLS
        assert "certificate" in answer.error

    def test_snd_certificate_for_another_name_is_a_tls_fault(self, certificate):
        client = self.open(UrlPolicy(), ssl_context=ssl.create_default_context(cafile=certificate.path))
        with Served(ssl=certificate.server, host="0.0.0.0") as served:
            [answer] = client.post_all([post(served.url.replace("127.0.0.1", "127.0.0.2"))])
            client.close()
        assert answer.fault is Fault.TLS
        assert "127.0.0.2" in answer.error

    def test_peer_that_speaks_no_tls_is_a_fault(self, client):
        with Served() as served:
            [answer] = client.post_all([post(served.url.replace("http", "https"))])
        assert answer.fault is Fault.TLS

    def test_handshake_that_stalls_is_over_in_time(self, client):
        with Peer(lambda sock, number: peer.hold()) as peer:
            [answer] = client.post_all([post(peer.url.replace("http", "https"), timeout_seconds=0.3)])
        assert answer.fault is Fault.TIMEOUT

    # -- end --------------------------------------------------------------------------------------

    def test_nothing_stays_open(self, client):
        before = len(os.listdir("/proc/self/fd"))
        with Peer(answering(OK)) as peer:
            client.post_all([post(peer.url)] * 10)
            client.close()
            client.close()
        assert len(os.listdir("/proc/self/fd")) <= before + 1
