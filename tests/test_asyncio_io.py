"""The listener over real sockets (RELIABILITY section 2, HTP), and the asyncio client (section 1, SND)."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from client_conformance import ClientConformance, post
from listener_conformance import ListenerConformance
from peers import OK, SECONDS, Peer, Served, answering, is_closed
from skyhooks._asyncio.io import Client
from skyhooks._urls import UrlPolicy
from skyhooks._values import Fault


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


class TestListener(ListenerConformance):
    serve = Served

    def test_close_before_start_is_fine(self):
        served = Served()
        served.loop.run_until_complete(served.listener.close())
        served.loop.close()

    def test_address_that_is_taken_is_told(self, served):
        other = Served()
        with pytest.raises(OSError, match="in use"):
            other.loop.run_until_complete(other.listener.start("127.0.0.1", served.listener.port))
        other.loop.close()
