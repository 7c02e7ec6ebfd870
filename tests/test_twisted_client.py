"""Twisted's own client, put to what every client must do; and what a cancelled Deferred leaves behind."""

from __future__ import annotations

import socket
import ssl
import threading

import pytest
from twisted.internet.defer import CancelledError

import reactor_thread
from certificates import Certificate
from client_conformance import ClientConformance, post, silent
from peers import OK, SECONDS, Peer, Served, answering, is_closed
from reactor_thread import reactor
from skyhooks._urls import UrlPolicy
from skyhooks._values import Fault
from skyhooks.twisted._client import Client
from skyhooks.twisted._deferred import outside
from skyhooks.twisted._reactor import Turns
from skyhooks.twisted._tls import ClientTls


class OnReactor:
    """A client on the reactor's thread."""

    def __init__(self, client):
        self.client = client

    def post(self, post):
        return outside(self.client.post(post))

    def post_all(self, posts):
        return reactor_thread.call(lambda: outside(reactor_thread.gather(*map(self.client.post, posts))))

    def close(self):
        reactor_thread.call(lambda: outside(self.client.close()))


class TestClient(ClientConformance):
    @pytest.fixture(autouse=True)
    def cafile(self, tmp_path):
        self.path = tmp_path / "trusted.pem"

    def open(self, policy, *, ssl_context=None, **options):
        cafile = None
        if ssl_context is not None:
            trusted = ssl_context.get_ca_certs(binary_form=True)
            self.path.write_text("".join(map(ssl.DER_cert_to_PEM_cert, trusted)))
            cafile = str(self.path)
        return OnReactor(Client(reactor, Turns(reactor), policy, ClientTls(cafile), **options))

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
            posts = [client.post(post(peer.url)) for _ in range(4)]
            await reactor_thread.in_thread(connected.wait, SECONDS)
            for cancelled in (0, 1, 3):
                posts[cancelled].cancel()
                with pytest.raises(CancelledError):
                    await posts[cancelled]
            status = (await posts[2]).status
            await client.client.close()
            return status

        client = self.open(UrlPolicy(), max_connections=1)
        with Peer(script) as peer:
            assert reactor_thread.run(cancel_some()) == 200
            assert gone.wait(SECONDS)

    def test_turn_that_comes_to_a_cancelled_post_goes_to_the_next(self):
        async def cancel_as_the_turn_comes():
            first = client.post(post(peer.url))
            second = client.post(post(peer.url))
            third = client.post(post(peer.url))
            first.addCallback(lambda answer: (second.cancel(), answer)[1])
            with pytest.raises(CancelledError):
                await second
            statuses = (await first).status, (await third).status
            await client.client.close()
            return statuses

        client = self.open(UrlPolicy(), max_connections=1)
        with Peer(answering(OK)) as peer:
            assert reactor_thread.run(cancel_as_the_turn_comes()) == (200, 200)

    def test_close_ends_what_is_under_way_and_what_comes_later(self):
        async def close_meanwhile():
            connected, connecting = client.post(post(peer.url)), client.post(post("http://127.0.0.1:1/"))
            await reactor_thread.sleep(0.05)
            late = client.post(post(peer.url.replace("127.0.0.1", "127.0.0.3")))
            await client.client.close()
            answers = [await connected, await late, await client.post(post(peer.url))]
            await connecting
            return answers

        client = self.open(UrlPolicy())
        with Peer(lambda sock, number: peer.hold(), host="0.0.0.0") as peer:
            answers = reactor_thread.run(close_meanwhile())
        assert [answer.fault for answer in answers] == [Fault.RESET] * 3

    def test_connection_that_is_lost_as_its_turn_comes_is_replaced(self):
        async def lose_it_as_the_turn_comes():
            def lose(answer):
                for connection in client.client._open:
                    connection.abort()
                return answer

            first, second = client.post(post(peer.url)).addCallback(lose), client.post(post(peer.url))
            statuses = (await first).status, (await second).status
            await client.client.close()
            return statuses

        client = self.open(UrlPolicy(), max_connections=1)
        with Peer(answering(OK)) as peer:
            assert reactor_thread.run(lose_it_as_the_turn_comes()) == (200, 200)
        assert peer.accepted == 2

    @pytest.mark.parametrize("when", ["connecting", "shaking hands", "waiting"])
    def test_cancelled_amid_anything_it_leaves_nothing(self, when):
        scheme = "https" if when == "shaking hands" else "http"

        async def cancel():
            one = client.post(post(peer.url.replace("http", scheme)))
            if when != "connecting":
                await reactor_thread.until(lambda: peer.accepted)
                await reactor_thread.sleep(0.02)
            one.cancel()
            with pytest.raises(CancelledError):
                await one
            await client.client.close()

        client = self.open(UrlPolicy())
        with Peer(lambda sock, number: is_closed(sock)) as peer:
            reactor_thread.run(cancel())

    def test_connection_with_half_a_request_in_it_is_not_used_again(self, client):
        def script(sock, number):
            if number == 0:
                sock.recv(1000)
                sock.sendall(OK)
                peer.hold()
            else:
                answering(OK)(sock, number)

        with Peer(script) as peer:
            answers = [client.post_all([post(peer.url, b"x" * 8_000_000)])[0], client.post_all([post(peer.url)])[0]]
            client.close()
        assert [answer.status for answer in answers] == [200, 200]
        assert peer.accepted == 2

    def test_close_gives_up_what_is_being_connected(self, client):
        async def close_meanwhile():
            connecting = client.post(post(f"http://127.0.0.1:{address[1]}/"))
            await reactor_thread.sleep(0.05)
            began = reactor.seconds()
            await client.client.close()
            answer = await connecting
            return answer.fault, reactor.seconds() - began

        with socket.create_server(("127.0.0.1", 0), backlog=0) as listening:
            address = listening.getsockname()
            with socket.create_connection(address), silent(address), silent(address):
                fault, seconds = reactor_thread.run(close_meanwhile())
        assert fault is Fault.RESET
        assert seconds < 0.5

    def test_names_for_addresses_are_verified_too(self, certificate):
        client = self.open(UrlPolicy(), ssl_context=ssl.create_default_context(cafile=certificate.path))
        with Served(ssl=certificate.server) as served:
            [answer] = client.post_all([post(served.url)])
            client.close()
        assert served.url.startswith("https://127.0.0.1:")
        assert answer.status == 200

    def test_host_that_can_be_no_name_in_a_certificate_is_told(self, client, monkeypatch):
        with Served() as served:
            address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [address])
            [answer] = client.post_all([post(f"https://my_host:{served.listener.port}/")])
        assert answer.fault is Fault.DNS

    def test_ipv6_addresses_are_called(self):
        client = self.open(UrlPolicy())
        with Served(host="::1") as served:
            [answer] = client.post_all([post(f"http://[::1]:{served.listener.port}/")])
            client.close()
        assert answer.status == 200


@pytest.mark.parametrize("text", ["", "nothing\n", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"])
def test_cafile_that_cannot_be_loaded_is_named(tmp_path, text):
    path = tmp_path / "trusted.pem"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"trusted\.pem"):
        ClientTls(str(path))


def test_several_certificates_of_a_cafile_are_trusted(tmp_path):
    shown, other = Certificate(tmp_path / "shown.pem"), Certificate(tmp_path / "other.pem")
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join(tmp_path.joinpath(name).read_bytes() for name in ("other.pem", "shown.pem")))
    client = OnReactor(Client(reactor, Turns(reactor), UrlPolicy(), ClientTls(str(both))))
    with Served(ssl=shown.server) as one, Served(ssl=other.server) as two:
        answers = client.post_all([post(one.url), post(two.url)])
        client.close()
    assert [answer.status for answer in answers] == [200, 200]
