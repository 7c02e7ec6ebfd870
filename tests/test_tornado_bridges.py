"""Tornado's bridges, put to the suite that all bridges are put to, and what is Tornado's alone."""

from __future__ import annotations

import asyncio

import pytest
from tornado.web import HTTPError

from skyhooks.testing import BridgeConformance
from skyhooks.testing.bridge.base import KEY, BridgeTests, Distant, data_of
from skyhooks.testing.bridge.clients import NotOpened, get
from skyhooks.testing.bridge.crowds import Crowd
from skyhooks.tornado import EventSource, LongPoll, WebSocket, _socket
from tornado_bridges import TornadoBridges


class TestBridges(BridgeConformance):
    @pytest.fixture
    def adapter(self, store_url):
        return TornadoBridges(store_url)


class TestInTornado(BridgeTests):
    @pytest.fixture
    def adapter(self, store_url):
        return TornadoBridges(store_url)

    @pytest.mark.parametrize("bridge", [EventSource, WebSocket, LongPoll])
    async def test_keys_may_be_awaited_and_know_the_handler(self, adapter, bridge):
        async def keys(handler):
            await asyncio.sleep(0)
            if handler.get_cookie("who") != "me":
                raise HTTPError(401)
            return KEY

        registry, notifier = await adapter.started(), adapter.notifier()
        url = adapter.listen([("/bridge", bridge, {"registry": registry, "keys": keys})])
        transport = {EventSource: "events", WebSocket: "socket", LongPoll: "poll"}[bridge]
        assert (await self.refused(adapter, url, transport)).status == 401
        async with self.tab(adapter, url, transport, headers=[("cookie", "who=me")]) as tab:
            await notifier.notify(KEY, 1)
            assert data_of([await tab.next()]) == [1]

    @pytest.mark.parametrize("bridge", [EventSource, LongPoll])
    async def test_who_goes_while_the_application_thinks_costs_the_store_nothing(self, adapter, store, bridge):
        asked, left, thought = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def keys(handler):
            asked.set()
            await left.wait()
            thought.set()
            return KEY

        class Own(bridge):
            def on_connection_close(self):
                super().on_connection_close()
                left.set()

        distant = Distant(store)
        registry = await adapter.started(distant)
        url = adapter.listen([("/bridge", Own, {"registry": registry, "keys": keys})])
        crowd = await adapter.in_thread(Crowd, url, 1)
        await asked.wait()
        await adapter.in_thread(crowd.close)
        await thought.wait()
        await registry.stop()
        assert distant.calls["add_hooks"] == 0

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

    @pytest.mark.parametrize(("transport", "bridge"), [("socket", WebSocket), ("events", EventSource)])
    async def test_the_application_s_settings_change_nothing(self, adapter, transport, bridge):
        registry, notifier = await adapter.started(), adapter.notifier()
        settings = {
            "websocket_ping_interval": 0.05,
            "websocket_max_message_size": 10,
            "compress_response": True,
            "xsrf_cookies": True,
        }
        options = {"registry": registry, "keys": adapter.allows(KEY)}
        url = adapter.listen([("/bridge", bridge, options)], **settings)
        answer = await adapter.in_thread(get, url, [("content-length", "0")], "POST")
        assert answer.status == 405
        async with self.tab(adapter, url, transport, headers=[("accept-encoding", "gzip")]) as tab:
            await adapter.sleep(0.2)
            await notifier.notify(KEY, "x" * 1000)
            assert data_of([await tab.next()]) == ["x" * 1000]
            assert getattr(tab.browser, "pings", 0) == 0

    async def test_a_handshake_that_is_none_leaves_nothing(self, adapter, store):
        _, _, url = await self.mounted(adapter, "socket")
        answer = await adapter.in_thread(get, url, [("upgrade", "websocket")])
        assert answer.status == 400
        assert not store.targets(["account=42"])["account=42"]

    async def test_a_refusal_of_the_application_looks_as_its_own_do(self, adapter):
        class Own(EventSource):
            def write_error(self, status_code, **kwargs):
                self.finish(f"sorry, {status_code}")

        registry = await adapter.started()
        url = adapter.listen([("/bridge", Own, {"registry": registry, "keys": adapter.refuses(401)})])
        with pytest.raises(NotOpened, match="sorry, 401"):
            async with self.tab(adapter, url, "events"):
                pass
