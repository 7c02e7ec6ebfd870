"""gevent, put to the suite that every adapter is put to: both ways to be rung, with both clients."""

from __future__ import annotations

import socket

import pytest
import requests
from gevent.pywsgi import WSGIServer

from gevent_adapter import GeventAdapter
from skyhooks.gevent import StrictWSGIHandler, WebhookApp
from skyhooks.testing import AdapterConformance


class WithSession(GeventAdapter):
    own_client = False

    def client_options(self):
        return {"client": requests.Session()}


class Mounted(GeventAdapter):
    """Serves `WebhookApp` by a pywsgi server of its own for each registry that is not to listen for itself."""

    mounted = True

    def __init__(self, store_url):
        super().__init__(store_url)
        self.servers = []

    def registry(self, store=None, **options):
        if {"url", "listen", "advertise"} & set(options):
            return super().registry(store, **options)
        listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        try:
            registry = super().registry(store, url=f"http://127.0.0.1:{listening.getsockname()[1]}/webhook", **options)
        except ValueError:
            listening.close()
            raise
        app = WebhookApp(registry.blocking)
        server = WSGIServer(listening, app, handler_class=StrictWSGIHandler, log=None, error_log=None)
        server.start()
        self.servers.append(server)
        return registry

    def close(self):
        super().close()
        for server in self.servers:
            server.stop()


class MountedWithSession(Mounted, WithSession):
    pass


class TestOwnListenerOwnClient(AdapterConformance):
    @pytest.fixture
    def store_url(self, tmp_path):
        return f"sqlite:///{tmp_path}/skyhooks.db"

    @pytest.fixture
    def adapter(self, store_url):
        return GeventAdapter(store_url)


@pytest.mark.long
class TestOwnListenerSession(AdapterConformance):
    @pytest.fixture
    def adapter(self, store_url):
        return WithSession(store_url)


@pytest.mark.long
class TestMountedAppOwnClient(AdapterConformance):
    @pytest.fixture
    def adapter(self, store_url):
        return Mounted(store_url)


class TestMountedAppSession(AdapterConformance):
    @pytest.fixture
    def adapter(self, store_url):
        return MountedWithSession(store_url)
