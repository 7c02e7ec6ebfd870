"""The client of threads: what every client does (RELIABILITY section 1, SND), and threads, signals and forks."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from client_conformance import ClientConformance, post
from peers import OK, SECONDS, Peer, Served, answering, is_closed, read_request
from skyhooks._urls import UrlPolicy
from skyhooks._values import Fault
from skyhooks.blocking._sockets import SocketClient, ready


def finish(exchanges):
    """Bring exchanges to their answers, as a loop of one's own does."""
    while waiting := [exchange for exchange in exchanges if exchange.answer is None]:
        for exchange in ready(waiting):
            exchange.advance(time.monotonic())
    return [exchange.answer for exchange in exchanges]


def started(client, posts):
    exchanges = [client.exchange(post) for post in posts]
    for exchange in exchanges:
        exchange.start()
    return exchanges


class TestSocketClient(ClientConformance):
    def open(self, policy, **options):
        return SocketClient(policy, **options)

    def post_at_once(self, client, posts):
        return finish(started(client, posts))

    def test_all_requests_are_written_before_an_answer_is_waited_for(self, client):
        everyone = threading.Barrier(10)

        def script(sock, number):
            read_request(sock)
            everyone.wait(SECONDS)
            sock.sendall(OK)

        with Peer(script) as peer:
            answers = client.post_all([post(peer.url)] * 10)
        assert [answer.status for answer in answers] == [200] * 10

    def test_answers_come_in_the_order_of_the_posts(self, client):
        with Served() as served:
            answers = client.post_all([post("http://8.8.8.8/"), post(served.url), post("http://8.8.8.8/")])
        assert [answer.status for answer in answers] == [None, 200, None]
        assert client.post_all([]) == []

    def test_exchange_says_what_it_waits_for(self, client):
        with Peer(answering(OK)) as peer:
            exchange = client.exchange(post(peer.url))
            assert exchange.fileno() == -1
            exchange.start()
            assert exchange.fileno() >= 0
            assert exchange.wants_write or exchange.wants_read
            assert exchange.deadline <= time.monotonic() + 1.0
            finish([exchange])
            assert (exchange.fileno(), exchange.wants_read, exchange.wants_write) == (-1, False, False)
            assert exchange.advance(time.monotonic()) is exchange.answer
            exchange.abort()
            client.close()

    def test_waiting_ends_at_its_own_time_and_at_once_where_there_is_an_answer(self, client):
        with Peer(lambda sock, number: peer.hold()) as peer:
            [hung] = started(client, [post(peer.url)])
            hung.advance(time.monotonic())
            begun = time.monotonic()
            while time.monotonic() < begun + 0.05:
                assert [one for one in ready([hung], until=begun + 0.05) if one.advance(time.monotonic())] == []
            [blocked] = started(client, [post("http://8.8.8.8/")])
            assert ready([hung, blocked]) == [blocked]
            hung.abort()
        assert ready([]) == []

    def test_aborted_exchange_closes_its_connection_and_gives_up_its_turn(self):
        gone = threading.Event()

        def script(sock, number):
            if number == 0:
                assert is_closed(sock)
                gone.set()
            else:
                answering(OK)(sock, number)

        client = SocketClient(UrlPolicy(), max_connections=1)
        with Peer(script) as peer:
            first, given_up, last = started(client, [post(peer.url)] * 3)
            given_up.abort()
            first.abort()
            assert gone.wait(SECONDS)
            assert finish([last])[0].status == 200
            client.close()

    def test_turn_that_was_granted_to_an_aborted_exchange_goes_to_the_next(self):
        client = SocketClient(UrlPolicy(), max_connections=1)
        with Peer(answering(OK)) as peer:
            first, second, third = started(client, [post(peer.url)] * 3)
            finish([first])
            second.abort()
            assert finish([third])[0].status == 200
            client.close()
        assert peer.accepted == 1

    def test_threads_share_connections_and_turns(self):
        client = SocketClient(UrlPolicy(), max_connections=3)
        with Peer(answering(OK)) as peer, ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: client.post(post(peer.url)), range(200)))
            client.close()
        assert {answer.status for answer in answers} == {200}
        assert peer.accepted <= 3

    def test_interrupt_closes_what_is_under_way(self, client):
        class Interrupted(Exception):
            pass

        def interrupt(*_):
            raise Interrupted

        gone = threading.Barrier(3)

        def script(sock, number):
            read_request(sock)
            if number == 1:
                os.kill(os.getpid(), signal.SIGUSR1)
            assert is_closed(sock)
            gone.wait(SECONDS)

        before = signal.signal(signal.SIGUSR1, interrupt)
        try:
            with Peer(script) as peer:
                with pytest.raises(Interrupted):
                    client.post_all([post(peer.url)] * 2)
                gone.wait(SECONDS)
        finally:
            signal.signal(signal.SIGUSR1, before)

    def test_child_begins_anew_and_leaves_the_parents_connection_open(self, client):
        with Peer(answering(OK)) as peer:
            client.post(post(peer.url))
            child = os.fork()
            if child == 0:
                answer = client.post(post(peer.url))
                client.close()
                os._exit(0 if answer.status == 200 else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            assert client.post(post(peer.url)).status == 200
            client.close()
        assert peer.accepted == 2

    def test_child_is_not_held_up_by_a_lock_that_a_thread_held(self, client):
        client.exchange(post("http://127.0.0.1/"))
        with client._world.turns._lock, Peer(answering(OK)) as peer:
            child = os.fork()
            if child == 0:
                signal.alarm(5)
                os._exit(0 if client.post(post(peer.url)).status == 200 else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    def test_name_server_that_does_not_answer_is_waited_for_no_longer_than_the_attempt(self, client, monkeypatch):
        over = threading.Event()

        def never(*_, **__):
            over.wait(SECONDS)
            raise socket.gaierror(socket.EAI_AGAIN, "late")

        monkeypatch.setattr(socket, "getaddrinfo", never)
        try:
            begun = time.monotonic()
            answers = finish(started(client, [post("http://name.invalid/", timeout_seconds=0.2)] * 2))
            assert time.monotonic() - begun < 1.0
        finally:
            over.set()
        assert [answer.fault for answer in answers] == [Fault.TIMEOUT] * 2
