"""Servers on real loopback sockets that answer as no instance would: the peers that the clients' tests post to."""

from __future__ import annotations

import contextlib
import socket
import threading

from skyhooks import UrlPolicy
from skyhooks._values import Post

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def post_to(server, *, body=b'{"v":1}', seconds=3.0, path="/", host="127.0.0.1", scheme="http", **options):
    headers = (("content-type", "application/json"), ("webhook-id", "a-1"))
    return Post(f"{scheme}://{host}:{server.port}{path}", headers, body, seconds, **options)


class Server:
    """Runs `answer(sock)` in a thread for each connection, once a request has been read; `requests` has their bytes, `peers` whence."""

    def __init__(self, answer=None, *, context=None, often=False):
        self._answer = answer or (lambda sock: sock.sendall(OK))
        self._context = context
        self._often = often
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listening.getsockname()[1]
        self.requests = []
        self.peers = []
        self.connections = 0
        self.ending = threading.Event()
        self._arrived = threading.Condition()
        self._socks = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ending.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for sock in self._socks:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    def wait_for_requests(self, count):
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.requests) >= count, 5)

    def _accept(self):
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(sock)
            if self._context:
                sock = stack.enter_context(self._context.wrap_socket(sock, server_side=True))
            self._socks.append(sock)
            while request := read_request(sock):
                with self._arrived:
                    self.requests.append(request)
                    self.peers.append(sock.getpeername())
                    self._arrived.notify_all()
                self._answer(sock)
                if not self._often:
                    return


def read_request(sock):
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += sock.recv(65536)
    return head + b"\r\n\r\n" + body


def says(data):
    """Answer with these bytes, and close."""
    return lambda sock: sock.sendall(data)


def hang(server_ending):
    """Say nothing until the server ends."""
    return lambda _: server_ending.wait(30)


def drip(data, ending, seconds=0.05):
    """Send byte after byte, over and over from the last one."""

    def answer(sock):
        for index in range(10_000):
            sock.sendall(data[index : index + 1] or b"x")
            if ending.wait(seconds):
                return

    return answer


def flood(head, piece, count):
    """Send a head, then a piece so many times."""

    def answer(sock):
        sock.sendall(head)
        for _ in range(count):
            sock.sendall(piece)

    return answer


def redirect(status, port):
    return says(b"HTTP/1.1 %d Moved\r\nlocation: http://127.0.0.1:%d/\r\ncontent-length: 0\r\n\r\n" % (status, port))


@contextlib.contextmanager
def hanging(**options):
    with Server(**options) as server:
        server._answer = hang(server.ending)
        yield server


@contextlib.contextmanager
def dripping(data, **options):
    with Server(**options) as server:
        server._answer = drip(data, server.ending)
        yield server


class NoPolicy(UrlPolicy):
    """Permits nothing at all."""

    def permits(self, host, address):
        return False


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]
