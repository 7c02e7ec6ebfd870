"""What every own listener of ours must do over real sockets (RELIABILITY section 2, HTP): run by each world's own tests."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from peers import SECONDS, is_closed, read_answer, within
from skyhooks._http import Response

PLAIN = b"POST /hook HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"

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


class ListenerConformance:
    """Subclass it with `serve`, which makes what `peers.Served` is: a listener that runs while it is entered."""

    def serve(self, receive=None, dispatch=None, **options):
        raise NotImplementedError

    @pytest.fixture
    def served(self):
        with self.serve(max_body_bytes=1000) as served:
            yield served

    def test_post_is_answered_and_only_then_dispatched(self):
        answered, waited = threading.Event(), []

        def dispatch():
            waited.append(answered.wait(SECONDS))

        with self.serve(dispatch=dispatch) as served, served.connect() as sock:
            sock.sendall(PLAIN)
            status, headers, body = read_answer(sock)
            answered.set()
        assert (status, body, waited) == (200, b'{"status":"ok"}', [True])
        assert headers["date"].endswith(" GMT")
        assert served.dispatched == 1

    def test_pipelined_posts_are_answered_in_order(self):
        with self.serve(lambda headers, body: Response(200, body)) as served, served.connect() as sock:
            sock.sendall(PLAIN + PLAIN.replace(b"{}", b"[]") + PLAIN)
            data = b""
            while data.count(b"HTTP/1.1") < 3 or not data.endswith(b"{}"):
                data += sock.recv(65_536)
        assert [part.partition(b"\r\n\r\n")[2] for part in data.split(b"HTTP/1.1")[1:]] == [b"{}", b"[]", b"{}"]

    @pytest.mark.parametrize(("data", "status", "code"), REFUSED.values(), ids=REFUSED.keys())
    def test_htp_refusals_are_problems_and_close_the_connection(self, served, data, status, code):
        with served.connect() as sock:
            sock.sendall(data)
            found, headers, body = read_answer(sock)
            assert (found, headers["content-type"], headers["connection"]) == (
                status,
                "application/problem+json",
                "close",
            )
            assert f'"code":"{code}"'.encode() in body
            assert is_closed(sock)
        assert served.requests == []

    def test_htp_refusal_reaches_a_peer_that_is_still_sending(self, served):
        with served.connect() as sock:
            sock.sendall(PLAIN.replace(b": 2", b": 200000000") + b"x" * 20_000_000)
            assert read_answer(sock)[0] == 413

    def test_htp_chunked_body_is_refused_as_soon_as_it_is_too_large(self, served):
        with served.connect() as sock:
            sock.sendall(
                PLAIN.replace(b"content-length: 2", b"transfer-encoding: chunked")[:-2] + b"ffffff\r\n" + b"x" * 2000
            )
            assert read_answer(sock)[0] == 413

    def test_htp_head_is_answered_without_body(self, served):
        with served.connect() as sock:
            sock.sendall(b"HEAD / HTTP/1.1\r\nhost: here\r\n\r\n")
            data = b""
            while chunk := sock.recv(65_536):
                data += chunk
        assert b"allow: POST" in data
        assert data.endswith(b"\r\n\r\n")

    def test_continue_is_told(self, served):
        with served.connect() as sock:
            sock.sendall(PLAIN.replace(b"host: here", b"expect: 100-continue")[:-2])
            assert sock.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
            sock.sendall(b"{}")
            assert read_answer(sock)[0] == 200

    def test_last_request_is_answered_and_the_connection_closed(self, served):
        with served.connect() as sock:
            sock.sendall(PLAIN.replace(b"host: here", b"connection: close"))
            assert read_answer(sock)[1]["connection"] == "close"
            assert is_closed(sock)

    def test_peer_may_end_sending_before_it_reads(self, served):
        with served.connect() as sock:
            sock.sendall(PLAIN)
            sock.shutdown(socket.SHUT_WR)
            assert read_answer(sock)[0] == 200
            assert is_closed(sock)

    def test_htp_body_cut_short_is_not_dispatched(self, served):
        with served.connect() as sock:
            sock.sendall(PLAIN[:-1])
            sock.shutdown(socket.SHUT_WR)
            assert is_closed(sock)
        assert served.requests == []
        assert served.dispatched == 0

    @pytest.mark.parametrize("part", [PLAIN[:30], PLAIN[:-1]], ids=["head", "body"])
    def test_htp_what_stalls_is_closed_after_ten_seconds_and_holds_up_nobody(self, served, part):
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

    def test_refused_peer_that_does_not_end_is_closed(self, served):
        with served.connect() as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            read_answer(sock)
            served.skip(3)
            for _ in within(SECONDS):
                if not served.listener._connections:
                    break
            assert not served.listener._connections

    def test_htp_five_hundred_at_once_are_all_answered(self, served):
        socks = [served.connect() for _ in range(500)]
        for sock in socks:
            sock.sendall(PLAIN)
        statuses = [read_answer(sock)[0] for sock in socks]
        for sock in socks:
            sock.close()
        served.skip(0)
        assert statuses == [200] * 500
        assert served.dispatched == 500

    def test_longest_idle_connection_makes_room(self):
        with self.serve(max_connections=2) as served:
            first, second, third = (served.connect() for _ in range(3))
            with first, second, third:
                assert is_closed(first)
                third.sendall(PLAIN)
                assert read_answer(third)[0] == 200
                second.sendall(PLAIN)
                assert read_answer(second)[0] == 200

    def test_newcomer_is_closed_where_nobody_is_idle(self):
        with self.serve(max_connections=1) as served, served.connect() as busy:
            busy.sendall(PLAIN[:-1])
            for _ in within(SECONDS):
                if served.listener._connections and not any(one.http.idle for one in served.listener._connections):
                    break
            with served.connect() as late:
                assert is_closed(late)
            busy.sendall(PLAIN[-1:])
            assert read_answer(busy)[0] == 200

    def test_htp_receiving_that_fails_is_answered_500_and_logged_without_payload(self, caplog):
        def receive(headers, body):
            raise KeyError(body)

        with self.serve(receive) as served, served.connect() as sock:
            sock.sendall(PLAIN.replace(b"{}", b"42"))
            status, _, body = read_answer(sock)
            assert (status, b"internal" in body) == (500, True)
            assert is_closed(sock)
        assert "KeyError" in caplog.text
        assert "receive" in caplog.text
        assert "42" not in caplog.text.replace("line 42", "")

    def test_htp_dispatching_that_fails_is_logged_and_the_connection_lives(self, caplog):
        def dispatch():
            raise RuntimeError(secret)

        secret = "hunter2"
        with self.serve(dispatch=dispatch) as served, served.connect() as sock:
            for _ in range(2):
                sock.sendall(PLAIN)
                assert read_answer(sock)[0] == 200
        assert "RuntimeError" in caplog.text
        assert secret not in caplog.text

    def test_peer_that_does_not_read_its_answers_is_not_read_either(self):
        with self.serve(lambda headers, body: Response(200, b"x" * 100_000)) as served, served.connect() as sock:
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

    def test_close_ends_idle_connections_and_lets_answers_flow(self, served):
        with served.connect() as idle, served.connect() as half:
            half.sendall(PLAIN[:-1])
            idle.sendall(PLAIN)
            for _ in within(SECONDS):
                if served.requests:
                    break
            served.close()
            assert read_answer(idle)[0] == 200
            assert is_closed(idle)
            assert is_closed(half)
        with pytest.raises(ConnectionRefusedError):
            served.connect()
