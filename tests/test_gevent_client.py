"""gevent's own client, put to what every client must do; and what only greenlets can do to it."""

from __future__ import annotations

import socket
import struct

import gevent
import pytest
from gevent.event import Event

from client_conformance import ClientConformance, post
from peers import OK, SECONDS, Peer, answering, is_closed, read_request
from skyhooks._urls import UrlPolicy
from skyhooks._values import Fault
from skyhooks.gevent._client import Client


class Spawning:
    """Makes posts at once, each in a greenlet."""

    def __init__(self, client):
        self.client = client

    def post_all(self, posts):
        greenlets = [gevent.spawn(self.client.post, one) for one in posts]
        gevent.joinall(greenlets, raise_error=True)
        return [greenlet.value for greenlet in greenlets]

    def close(self):
        self.client.close()


class TestClient(ClientConformance):
    def open(self, policy, **options):
        return Spawning(Client(policy, **options))

    def post_at_once(self, client, posts):
        return client.post_all(posts)

    def test_killed_post_closes_its_connection_and_gives_up_its_turn(self):
        connected, gone = Event(), Event()

        def script(sock, number):
            if number == 0:
                connected.set()
                assert is_closed(sock)
                gone.set()
            else:
                answering(OK)(sock, number)

        client = self.open(UrlPolicy(), max_connections=1)
        with Peer(script) as peer:
            greenlets = [gevent.spawn(client.client.post, post(peer.url)) for _ in range(4)]
            assert connected.wait(SECONDS)
            gevent.killall([greenlets[0], greenlets[1], greenlets[3]])
            gevent.joinall(greenlets)
            client.close()
            assert gone.wait(SECONDS)
        assert [isinstance(one.value, gevent.GreenletExit) for one in greenlets] == [True, True, False, True]
        assert greenlets[2].value.status == 200

    def test_turn_that_comes_to_a_killed_post_goes_to_the_next(self):
        def first_post():
            client.client.post(post(peer.url))
            second.kill(block=False)

        client = self.open(UrlPolicy(), max_connections=1)
        with Peer(answering(OK)) as peer:
            gevent.spawn(first_post)
            second = gevent.spawn(client.client.post, post(peer.url))
            third = gevent.spawn(client.client.post, post(peer.url))
            assert third.get(timeout=SECONDS).status == 200
            client.close()

    def test_callers_own_timeout_is_the_callers(self, client):
        with Peer(lambda sock, number: peer.hold()) as peer:
            with pytest.raises(gevent.Timeout) as raised, gevent.Timeout(0.1) as mine:
                client.client.post(post(peer.url))
            assert raised.value is mine

    def test_attempts_own_time_is_a_fault_within_the_callers(self, client):
        with Peer(lambda sock, number: peer.hold()) as peer, gevent.Timeout(SECONDS):
            answer = client.client.post(post(peer.url, timeout_seconds=0.1))
        assert answer.fault is Fault.TIMEOUT

    def test_closing_ends_attempts_under_way_with_a_fault(self, client):
        asked = Event()

        def script(sock, number):
            read_request(sock)
            asked.set()
            peer.hold()

        with Peer(script) as peer:
            attempt = gevent.spawn(client.client.post, post(peer.url))
            assert asked.wait(SECONDS)
            client.close()
            assert attempt.get(timeout=SECONDS).fault is Fault.RESET
        assert client.post_all([post(peer.url)])[0].fault is Fault.RESET

    def test_answer_that_is_reset_is_a_reset(self, client):
        def script(sock, number):
            read_request(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        with Peer(script) as peer:
            [answer] = client.post_all([post(peer.url)])
        assert answer.fault is Fault.RESET

    def test_request_that_is_cut_off_while_it_is_sent_is_a_reset(self, client):
        def script(sock, number):
            sock.recv(1000)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        with Peer(script) as peer:
            [answer] = client.post_all([post(peer.url, b"x" * 20_000_000)])
        assert answer.fault is Fault.RESET
