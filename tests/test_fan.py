"""Many deliveries in one thread: requests written before answers are read, pauses that hold up nobody, a bounded window."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from skyhooks._urls import UrlPolicy
from skyhooks._values import Post
from skyhooks.blocking._fan import WINDOW, Fan
from skyhooks.blocking._sockets import SocketClient

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
LIMIT_SECONDS = 10.0


class Peers:
    """Accepts connections, and answers on all of them only once `together` have sent a request."""

    def __init__(self, together):
        self.server = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}/"
        self.together = together
        self.most = 0
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        waiting = []
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.server.accept()
                peer.settimeout(LIMIT_SECONDS)
                peer.recv(65_536)
                waiting.append(peer)
                self.most = max(self.most, len(waiting))
                if len(waiting) >= self.together:
                    for one in waiting:
                        one.sendall(ANSWER)
                        one.close()
                    waiting = []
        for one in waiting:
            one.close()

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.thread.join(LIMIT_SECONDS)


@pytest.fixture
def client():
    client = SocketClient(UrlPolicy())
    yield client
    client.close()


@pytest.fixture
def peers(request):
    peers = Peers(request.param)
    yield peers
    peers.close()


def a_post(url, timeout_seconds=3.0):
    return Post(url, (("content-type", "application/json"),), b"{}", timeout_seconds, fresh=True)


@pytest.mark.parametrize("peers", [5], indirect=True)
def test_all_requests_are_written_before_an_answer_is_waited_for(client, peers):
    fan = Fan(client)
    statuses = []

    async def deliver(number):
        statuses.append((await fan.post(a_post(peers.url))).status)

    fan.run(deliver, range(5))
    assert statuses == [200] * 5


@pytest.mark.parametrize("peers", [1], indirect=True)
def test_a_pause_holds_up_nobody(client, peers):
    fan = Fan(client)
    ended = []

    async def deliver(number):
        if number == 0:
            await fan.pause(0.3)
        else:
            await fan.post(a_post(peers.url))
        ended.append(number)

    begin = time.monotonic()
    fan.run(deliver, range(4))
    assert ended[-1] == 0
    assert time.monotonic() - begin < 2


def test_pauses_alone_come_to_an_end(client):
    fan = Fan(client)
    ended = []

    async def pause(seconds):
        await fan.pause(seconds)
        ended.append(seconds)

    fan.run(pause, [0.02, 0.01])
    assert ended == [0.01, 0.02]


def test_what_never_waits_runs_through(client):
    ended = []

    async def work(number):
        ended.append(number)

    Fan(client).run(work, range(3 * WINDOW))
    assert ended == list(range(3 * WINDOW))


def test_a_window_bounds_what_is_under_way(client):
    fan = Fan(client)
    under_way = most = 0

    async def pause(number):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await fan.pause(0.001)
        under_way -= 1

    fan.run(pause, range(2 * WINDOW))
    assert most == WINDOW


@pytest.mark.parametrize("peers", [99], indirect=True)
def test_an_exception_ends_all_and_leaves_the_client_usable(client, peers):
    fan = Fan(client)
    closed = []

    async def deliver(number):
        if number == 2:
            raise KeyboardInterrupt
        try:
            await fan.post(a_post(peers.url))
        finally:
            closed.append(number)

    with pytest.raises(KeyboardInterrupt):
        fan.run(deliver, range(4))
    assert closed == [0, 1]
    assert client.post(a_post("http://127.0.0.1:1/")).status is None
