"""Tornado, put to the suite that every adapter is put to: both ways to be rung, with both clients."""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from adapters import AsyncioAdapter
from skyhooks.testing import AdapterConformance
from skyhooks.testing.adapter.base import SECONDS
from skyhooks.tornado import Notifier, Registry, WebhookHandler


class TornadoAdapter(AsyncioAdapter):
    registry_class = Registry
    notifier_class = Notifier

    def __init__(self, store_url):
        super().__init__(store_url)
        self.clients = []

    async def close(self):
        await super().close()
        for client in self.clients:
            await asyncio.wait_for(_idle(client), SECONDS)
            client.close()


async def _idle(client):
    """Wait until it has ended what was cancelled as well: Tornado leaves that request to its own timeout."""
    while client.active:  # noqa: ASYNC110  # Tornado tells nobody
        await asyncio.sleep(0.01)


class WithAsyncHTTPClient(TornadoAdapter):
    keeps_connections = False
    own_client = False

    def client_options(self):
        client = AsyncHTTPClient(force_instance=True, max_clients=100)
        self.clients.append(client)
        return {"client": client}


class Mounted(TornadoAdapter):
    """Serves `WebhookHandler` in an application of its own for each registry that is not to listen for itself."""

    mounted = True
    refuses_first = frozenset(
        ("a folded header", "a NUL", "a bare CR", "another version", "nonsense", "100 KB of headers")
    )

    def __init__(self, store_url):
        super().__init__(store_url)
        self.servers = []

    def registry(self, store=None, **options):
        if {"url", "listen", "advertise"} & set(options):
            return super().registry(store, **options)
        sockets = bind_sockets(0, "127.0.0.1")
        url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/webhook"
        try:
            registry = super().registry(store, url=url, **options)
        except ValueError:
            sockets[0].close()
            raise
        server = HTTPServer(Application([("/webhook", WebhookHandler, {"registry": registry})]))
        server.add_sockets(sockets)
        self.servers.append(server)
        return registry

    async def close(self):
        await super().close()
        for server in self.servers:
            server.stop()
            await server.close_all_connections()


class MountedWithAsyncHTTPClient(Mounted, WithAsyncHTTPClient):
    pass


class TestOwnListenerOwnClient(AdapterConformance):
    @pytest.fixture
    def store_url(self, tmp_path):
        return f"sqlite:///{tmp_path}/skyhooks.db"

    @pytest.fixture
    def adapter(self, store_url):
        return TornadoAdapter(store_url)


@pytest.mark.long
class TestOwnListenerTornadosClient(AdapterConformance):
    @pytest.fixture
    def adapter(self, store_url):
        return WithAsyncHTTPClient(store_url)


@pytest.mark.long
class TestMountedHandlerOwnClient(AdapterConformance):
    @pytest.fixture
    def adapter(self, store_url):
        return Mounted(store_url)


class TestMountedHandlerTornadosClient(AdapterConformance):
    @pytest.fixture
    def adapter(self, store_url):
        return MountedWithAsyncHTTPClient(store_url)


def test_a_tornado_that_is_not_installed_is_an_error_that_names_the_extra(monkeypatch):
    monkeypatch.delitem(sys.modules, "skyhooks.tornado")
    monkeypatch.setitem(sys.modules, "tornado.httpclient", None)
    with pytest.raises(ImportError, match=r"skyhooks\[tornado\]"):
        import_module("skyhooks.tornado")
