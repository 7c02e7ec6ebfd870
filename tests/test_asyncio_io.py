"""The listener over real sockets (RELIABILITY section 2, HTP), and the asyncio client (section 1, SND)."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest

from client_conformance import ClientConformance, post
from peers import OK, SECONDS, Peer, Served, answering, is_closed, read_answer, within
from skyhooks._asyncio_io import Client
from skyhooks._http import Response
from skyhooks._urls import UrlPolicy
from skyhooks._values import Fault

PLAIN = b"POST /hook HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class OnLoop:
    """A client on a loop that runs while something is asked of it."""

    def __init__(self, client):
        self.client = client
        self.loop = asyncio.SelectorEventLoop()

    def run(self, awaitable):
        return self.loop.run_until_complete(awaitable)

    def post_all(self, posts):
        async def gathered():
            for _ in range(2):  # an application's loop runs between posts, and sees what has arrived
                await asyncio.sleep(0)
            return await asyncio.gather(*map(self.client.post, posts))

        return self.run(gathered())

    def close(self):
        if not self.loop.is_closed():
            self.run(self.client.close())
            self.loop.close()


class TestClient(ClientConformance):
    def open(self, policy, **options):
        return OnLoop(Client(policy, **options))

    def post_at_once(self, client, posts):
        return client.post_all(posts)

    def test_cancelled_post_closes_its_connection_and_gives_up_its_turn(self):
        connected, gone = threading.Event(), threading.Event()

        def script(sock, number):
            if number == 0:
                connected.set()
                assert is_closed(sock)
                gone.set()
            else:
                answering(OK)(sock, number)

        async def cancel_some():
            tasks = [asyncio.create_task(client.client.post(post(peer.url))) for _ in range(4)]
            await asyncio.to_thread(connected.wait, SECONDS)
            for cancelled in (0, 1, 3):
                tasks[cancelled].cancel()
            await asyncio.wait(tasks)
            return [task.cancelled() or task.result().status for task in tasks]

        client = self.open(UrlPolicy(), max_connections=1)
        with Peer(script) as peer:
            assert client.run(cancel_some()) == [True, True, 200, True]
            assert gone.wait(SECONDS)
            client.close()

    def test_turn_that_comes_to_a_cancelled_post_goes_to_the_next(self):
        async def cancel_as_the_turn_comes():
            async def first_post():
                answer = await client.client.post(post(peer.url))
                second.cancel()
                return answer

            first = asyncio.create_task(first_post())
            second = asyncio.create_task(client.client.post(post(peer.url)))
            third = asyncio.create_task(client.client.post(post(peer.url)))
            return (await first).status, (await third).status

        client = self.open(UrlPolicy(), max_connections=1)
        with Peer(answering(OK)) as peer:
            assert client.run(cancel_as_the_turn_comes()) == (200, 200)
            client.close()

    def test_close_ends_what_is_under_way_and_what_comes_later(self):
        async def close_meanwhile():
            under_way = asyncio.create_task(client.client.post(post(peer.url)))
            await asyncio.sleep(0.05)
            await client.client.close()
            return await under_way, await client.client.post(post(peer.url))

        client = self.open(UrlPolicy())
        with Peer(lambda sock, number: peer.hold()) as peer:
            answers = client.run(close_meanwhile())
            client.close()
        assert [answer.fault for answer in answers] == [Fault.RESET] * 2

    def test_connection_that_is_lost_as_its_turn_comes_is_replaced(self):
        async def lose_it_as_the_turn_comes():
            async def first_post():
                answer = await client.client.post(post(peer.url))
                for connection in client.client._open:
                    connection.abort()
                return answer

            first = asyncio.create_task(first_post())
            second = asyncio.create_task(client.client.post(post(peer.url)))
            return (await first).status, (await second).status

        client = self.open(UrlPolicy(), max_connections=1)
        with Peer(answering(OK)) as peer:
            assert client.run(lose_it_as_the_turn_comes()) == (200, 200)
            client.close()
        assert peer.accepted == 2

    def test_answer_of_a_name_server_may_come_after_the_loop_has_ended(self, monkeypatch):
        asked, over = threading.Event(), threading.Event()

        def late(*_, **__):
            asked.set()
            over.wait(SECONDS)
            raise socket.gaierror(socket.EAI_AGAIN, "late")

        monkeypatch.setattr(socket, "getaddrinfo", late)
        client = self.open(UrlPolicy())
        [answer] = client.post_all([post("http://name.invalid/", timeout_seconds=0.1)])
        client.close()
        assert asked.is_set()
        over.set()
        for thread in threading.enumerate():
            if thread.name == "skyhooks-resolver":
                thread.join(SECONDS)
        assert answer.fault is Fault.TIMEOUT


# -- the listener -----------------------------------------------------------------------------------


@pytest.fixture
def served():
    with Served(max_body_bytes=1000) as served:
        yield served


def test_post_is_answered_and_only_then_dispatched():
    answered = threading.Event()

    def dispatch():
        assert answered.wait(SECONDS)

    with Served(dispatch=dispatch) as served, served.connect() as sock:
        sock.sendall(PLAIN)
        status, headers, body = read_answer(sock)
        answered.set()
    assert (status, body) == (200, b'{"status":"ok"}')
    assert headers["date"].endswith(" GMT")
    assert served.dispatched == 1


def test_pipelined_posts_are_answered_in_order():
    with Served(lambda headers, body: Response(200, body)) as served, served.connect() as sock:
        sock.sendall(PLAIN + PLAIN.replace(b"{}", b"[]") + PLAIN)
        data = b""
        while data.count(b"HTTP/1.1") < 3 or not data.endswith(b"{}"):
            data += sock.recv(65_536)
    assert [part.partition(b"\r\n\r\n")[2] for part in data.split(b"HTTP/1.1")[1:]] == [b"{}", b"[]", b"{}"]


REFUSED = {
    "method": (b"GET / HTTP/1.1\r\nhost: here\r\n\r\n", 405, "method"),
    "length": (b"POST / HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\n\r\n", 411, "length_required"),
    "declared": (PLAIN.replace(b": 2", b": 200000000"), 413, "too_large"),
    "type": (PLAIN.replace(b"/json", b"/xml"), 415, "media_type"),
    "coding": (PLAIN.replace(b"host: here", b"content-encoding: gzip"), 415, "media_type"),
    "headers": (PLAIN.replace(b"host: here", b"x: " + b"y" * 100_000), 431, "headers_too_large"),
    "2000 headers": (PLAIN.replace(b"host: here", b"\r\n".join([b"x: y"] * 2000)), 431, "headers_too_large"),
    "fold": (PLAIN.replace(b"host: here", b"x: y\r\n z"), 400, "malformed"),
    "smuggling": (PLAIN.replace(b"host: here", b"transfer-encoding: chunked"), 400, "malformed"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00", 405, "method"),
}


@pytest.mark.parametrize(("data", "status", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_htp_refusals_are_problems_and_close_the_connection(served, data, status, code):
    with served.connect() as sock:
        sock.sendall(data)
        found, headers, body = read_answer(sock)
        assert (found, headers["content-type"], headers["connection"]) == (status, "application/problem+json", "close")
        assert f'"code":"{code}"'.encode() in body
        assert is_closed(sock)
    assert served.requests == []


def test_htp_refusal_reaches_a_peer_that_is_still_sending(served):
    with served.connect() as sock:
        sock.sendall(PLAIN.replace(b": 2", b": 200000000") + b"x" * 20_000_000)
        assert read_answer(sock)[0] == 413


def test_htp_chunked_body_is_refused_as_soon_as_it_is_too_large(served):
    with served.connect() as sock:
        sock.sendall(
            PLAIN.replace(b"content-length: 2", b"transfer-encoding: chunked")[:-2] + b"ffffff\r\n" + b"x" * 2000
        )
        assert read_answer(sock)[0] == 413


def test_htp_head_is_answered_without_body(served):
    with served.connect() as sock:
        sock.sendall(b"HEAD / HTTP/1.1\r\nhost: here\r\n\r\n")
        data = b""
        while chunk := sock.recv(65_536):
            data += chunk
    assert b"allow: POST" in data
    assert data.endswith(b"\r\n\r\n")


def test_continue_is_told(served):
    with served.connect() as sock:
        sock.sendall(PLAIN.replace(b"host: here", b"expect: 100-continue")[:-2])
        assert sock.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"{}")
        assert read_answer(sock)[0] == 200


def test_last_request_is_answered_and_the_connection_closed(served):
    with served.connect() as sock:
        sock.sendall(PLAIN.replace(b"host: here", b"connection: close"))
        assert read_answer(sock)[1]["connection"] == "close"
        assert is_closed(sock)


def test_peer_may_end_sending_before_it_reads(served):
    with served.connect() as sock:
        sock.sendall(PLAIN)
        sock.shutdown(socket.SHUT_WR)
        assert read_answer(sock)[0] == 200
        assert is_closed(sock)


def test_htp_body_cut_short_is_not_dispatched(served):
    with served.connect() as sock:
        sock.sendall(PLAIN[:-1])
        sock.shutdown(socket.SHUT_WR)
        assert is_closed(sock)
    assert served.requests == []
    assert served.dispatched == 0


@pytest.mark.parametrize("part", [PLAIN[:30], PLAIN[:-1]], ids=["head", "body"])
def test_htp_what_stalls_is_closed_after_ten_seconds_and_holds_up_nobody(served, part):
    with served.connect() as stalled, served.connect() as idle:
        stalled.sendall(part)
        started = time.monotonic()
        with served.connect() as good:
            good.sendall(PLAIN)
            assert read_answer(good)[0] == 200
        assert time.monotonic() - started < 1
        served.skip(10.5)
        assert is_closed(stalled)
        idle.sendall(PLAIN)
        assert read_answer(idle)[0] == 200


def test_refused_peer_that_does_not_end_is_closed(served):
    with served.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        read_answer(sock)
        served.skip(3)
        for _ in within(SECONDS):
            if not served.listener._connections:
                break
        assert not served.listener._connections


def test_htp_five_hundred_at_once_are_all_answered(served):
    socks = [served.connect() for _ in range(500)]
    for sock in socks:
        sock.sendall(PLAIN)
    statuses = [read_answer(sock)[0] for sock in socks]
    for sock in socks:
        sock.close()
    served.skip(0)
    assert statuses == [200] * 500
    assert served.dispatched == 500


def test_longest_idle_connection_makes_room():
    with Served(max_connections=2) as served:
        first, second, third = (served.connect() for _ in range(3))
        with first, second, third:
            assert is_closed(first)
            third.sendall(PLAIN)
            assert read_answer(third)[0] == 200
            second.sendall(PLAIN)
            assert read_answer(second)[0] == 200


def test_newcomer_is_closed_where_nobody_is_idle():
    with Served(max_connections=1) as served, served.connect() as busy:
        busy.sendall(PLAIN[:-1])
        for _ in within(SECONDS):
            if served.listener._connections and not any(one.http.idle for one in served.listener._connections):
                break
        with served.connect() as late:
            assert is_closed(late)
        busy.sendall(PLAIN[-1:])
        assert read_answer(busy)[0] == 200


def test_htp_receiving_that_fails_is_answered_500_and_logged_without_payload(caplog):
    def receive(headers, body):
        raise KeyError(body)

    with Served(receive) as served, served.connect() as sock:
        sock.sendall(PLAIN.replace(b"{}", b"42"))
        status, _, body = read_answer(sock)
        assert (status, b"internal" in body) == (500, True)
        assert is_closed(sock)
    assert "KeyError" in caplog.text
    assert "receive" in caplog.text
    assert "42" not in caplog.text.replace("line 42", "")


def test_htp_dispatching_that_fails_is_logged_and_the_connection_lives(caplog):
    def dispatch():
        raise RuntimeError(secret)

    secret = "hunter2"
    with Served(dispatch=dispatch) as served, served.connect() as sock:
        for _ in range(2):
            sock.sendall(PLAIN)
            assert read_answer(sock)[0] == 200
    assert "RuntimeError" in caplog.text
    assert secret not in caplog.text


def test_peer_that_does_not_read_its_answers_is_not_read_either():
    with Served(lambda headers, body: Response(200, b"x" * 100_000)) as served, served.connect() as sock:
        sock.setblocking(False)
        sent = 0
        quiet = time.monotonic() + 0.5
        while time.monotonic() < quiet:
            try:
                sent += sock.send(PLAIN * 100)
                quiet = time.monotonic() + 0.5
            except BlockingIOError:
                time.sleep(0.01)
        received = len(served.requests)
        assert sent < 50_000_000
        sock.settimeout(SECONDS)
        left = received
        while left > 0 and (data := sock.recv(1 << 20)):
            left -= data.count(b"HTTP/1.1 200")
        for _ in within(SECONDS):
            if len(served.requests) > received:
                break
        assert len(served.requests) > received


def test_close_ends_idle_connections_and_lets_answers_flow(served):
    with served.connect() as idle, served.connect() as half:
        half.sendall(PLAIN[:-1])
        idle.sendall(PLAIN)
        for _ in within(SECONDS):
            if served.requests:
                break
        served.call(served.listener.close())
        assert read_answer(idle)[0] == 200
        assert is_closed(idle)
        assert is_closed(half)
    with pytest.raises(ConnectionRefusedError):
        served.connect()


def test_close_before_start_is_fine():
    served = Served()
    served.loop.run_until_complete(served.listener.close())
    served.loop.close()


def test_address_that_is_taken_is_told(served):
    other = Served()
    with pytest.raises(OSError, match="in use"):
        other.loop.run_until_complete(other.listener.start("127.0.0.1", served.listener.port))
    other.loop.close()
