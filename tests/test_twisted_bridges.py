"""Twisted's bridges, put to the suite that all bridges are put to, and what is Twisted's alone."""

from __future__ import annotations

import socket
import struct

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.web.error import Error

from skyhooks.testing import BridgeConformance
from skyhooks.testing.bridge.base import KEY, BridgeTests, Distant, data_of, each_transport
from skyhooks.testing.bridge.clients import connect, get
from skyhooks.testing.bridge.crowds import Crowd
from skyhooks.twisted import _socket
from twisted_bridges import BRIDGES, TwistedBridges

NAME = "account=42"


class TestBridges(BridgeConformance):
    @pytest.fixture
    def adapter(self, store_url):
        return TwistedBridges(store_url)


class TestInTwisted(BridgeTests):
    @pytest.fixture
    def adapter(self, store_url):
        return TwistedBridges(store_url)

    @each_transport
    async def test_keys_may_be_awaited_and_know_the_request(self, adapter, transport):
        async def keys(request):
            if request.getCookie(b"who") != b"me":
                raise Error(401)
            return await succeed(KEY)

        registry, notifier = await adapter.started(), adapter.notifier()
        url = await adapter.serve(registry, transport, keys=keys)
        assert (await self.refused(adapter, url, transport)).status == 401
        async with self.tab(adapter, url, transport, headers=[("cookie", "who=me")]) as tab:
            await notifier.notify(KEY, 1)
            assert data_of([await tab.next()]) == [1]

    @each_transport
    async def test_a_deferred_may_bring_the_keys_or_refuse(self, adapter, transport):
        registry = await adapter.started()
        for answer, status in ((lambda _: fail(Error(403)), 403), (lambda _: fail(PermissionError()), 403)):
            url = await adapter.serve(registry, transport, keys=answer)
            assert (await self.refused(adapter, url, transport)).status == status
        url = await adapter.serve(registry, transport, keys=lambda _: succeed(KEY))
        async with self.tab(adapter, url, transport):
            pass

    @each_transport
    async def test_a_refusal_s_own_words_and_headers_are_kept(self, adapter, transport):
        def keys(request):
            request.setHeader("www-authenticate", "Basic")
            raise Error(401, b"Who?", b"sorry")

        url = await adapter.serve(await adapter.started(), transport, keys=keys)
        answer = await self.refused(adapter, url, transport)
        assert (answer.status, answer.headers["www-authenticate"], answer.body) == (401, "Basic", b"sorry")

    @each_transport
    async def test_keys_that_fail_or_give_up_are_the_application_s_fault(self, adapter, transport):
        registry = await adapter.started()
        for error in (ZeroDivisionError("hunter2"), CancelledError()):
            url = await adapter.serve(registry, transport, keys=lambda _, error=error: fail(error))
            answer = await self.refused(adapter, url, transport)
            assert answer.status == 500
            assert b"hunter2" not in answer.body

    @each_transport
    async def test_who_goes_while_the_application_thinks_cancels_it(self, adapter, store, transport):
        asked, cancelled = Deferred(), Deferred()

        def keys(request):
            asked.callback(None)
            return Deferred(cancelled.callback)

        distant = Distant(store)
        url = await adapter.serve(await adapter.started(distant), transport, keys=keys)
        crowd = await adapter.in_thread(Crowd, url, 1, transport)
        await asked
        await adapter.in_thread(crowd.close)
        await cancelled
        assert distant.calls["add_hooks"] == 0

    async def test_who_goes_while_the_store_is_slow_leaves_nothing_behind(self, adapter, store):
        distant = Distant(store)
        _, _, url = await self.mounted(adapter, "events", store=distant)
        distant.seconds = 0.3
        crowd = await adapter.in_thread(Crowd, url, 1, "events")
        await adapter.until_store(lambda: distant.calls["add_hooks"])
        await adapter.in_thread(crowd.close)
        await adapter.until_store(lambda: distant.calls["remove_hooks"] and not store.targets([NAME])[NAME])

    async def test_a_first_message_is_not_waited_for_for_ever(self, adapter, monkeypatch):
        monkeypatch.setattr(_socket, "FIRST_MESSAGE_SECONDS", 0.1)
        _, _, url = await self.mounted(adapter, "socket")
        async with self.tab(adapter, url, "socket", "", hello=False) as tab:
            assert await adapter.in_thread(tab.browser.ended) == 1008

    async def test_a_bridge_that_fails_ends_its_socket(self, adapter, monkeypatch):
        async def broken(feed, options):
            yield b'{"type": "hello", "cursor": "c"}'
            raise ZeroDivisionError

        monkeypatch.setattr(_socket, "message_stream", broken)
        _, _, url = await self.mounted(adapter, "socket")
        async with self.tab(adapter, url, "socket") as tab:
            assert await adapter.in_thread(tab.browser.ended) == 1011

    async def test_who_speaks_much_before_the_handshake_is_still_heard_to_go(self, adapter, store):
        asked, keys = Deferred(), Deferred()
        url = await adapter.serve(await adapter.started(), "socket", keys=lambda _: (asked.callback(None), keys)[1])
        crowd = await adapter.in_thread(Crowd, url, 1, "socket")
        await asked
        (sock,) = crowd._got
        await adapter.in_thread(sock.sendall, b"x" * 40_000)  # more than twisted.web takes before a request is answered
        await adapter.sleep(0.1)
        keys.callback(KEY)
        await adapter.until_store(lambda: store.targets([NAME])[NAME])
        await adapter.in_thread(crowd.close)
        await adapter.until_store(lambda: not store.targets([NAME])[NAME])

    @pytest.mark.parametrize("version", ["12", ""])
    async def test_a_socket_of_another_version_is_told_which(self, adapter, version):
        _, _, url = await self.mounted(adapter, "socket")
        asked = [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-version", version)]
        answer = await adapter.in_thread(get, url, asked)
        assert (answer.status, answer.headers["sec-websocket-version"]) == (426, "13")

    async def test_the_script_is_not_sent_twice(self, adapter):
        url = await adapter.serve(await adapter.started(), "script", keys=None)
        first = await adapter.in_thread(get, url)
        again = await adapter.in_thread(get, url, [("if-none-match", first.headers["etag"])])
        assert (again.status, again.body) == (304, b"")
        head = await adapter.in_thread(get, url, (), "HEAD")
        assert (head.status, head.body) == (200, b"")

    @pytest.mark.parametrize("transport", ["events", "socket"])
    async def test_connections_that_are_reset_leave_nothing_behind(self, adapter, store, transport):
        _, _, url = await self.mounted(adapter, transport)
        async with self.tab(adapter, url, transport) as tab:
            sock = tab.browser._sock
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await adapter.in_thread(tab.browser.close)
            await adapter.until_store(lambda: not store.targets([NAME])[NAME])

    async def test_requests_behind_an_endless_one_wait(self, adapter):
        _, _, url = await self.mounted(adapter, "poll")
        sock = await adapter.in_thread(connect, url)
        with sock:
            request = b"GET /bridge?timeout=0 HTTP/1.1\r\nhost: x\r\n\r\n"
            await adapter.in_thread(sock.sendall, request * 3)
            got = b""
            while got.count(b"HTTP/1.1 204") < 3:
                got += await adapter.in_thread(sock.recv, 65_536)


def test_each_bridge_is_a_leaf():
    assert all(bridge.isLeaf for bridge in BRIDGES.values())
