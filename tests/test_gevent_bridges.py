"""gevent's bridges, put to the suite that all bridges are put to, and in the servers that they are for."""

from __future__ import annotations

import os
import subprocess
import sys
from io import BytesIO

import gevent
import pytest
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import abort

from gevent_bridges import GeventBridges
from processes import HERE, SECONDS, free_port
from skyhooks.gevent import EventSource, Notifier, WebSocket, _socket
from skyhooks.testing import BridgeConformance
from skyhooks.testing.bridge.base import KEY, BridgeTests, each_transport
from skyhooks.testing.bridge.clients import Ended, get, open_browser

HANDSHAKE = {
    "REQUEST_METHOD": "GET",
    "HTTP_CONNECTION": "keep-alive, Upgrade",
    "HTTP_UPGRADE": "websocket",
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
    "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
}


class TestBridges(BridgeConformance):
    @pytest.fixture
    def adapter(self, store_url):
        return GeventBridges(store_url)


class NotYou(Exception):
    code = 401


class TestInGevent(BridgeTests):
    @pytest.fixture
    def adapter(self, store_url):
        return GeventBridges(store_url)

    @each_transport
    async def test_an_error_that_has_no_more_than_a_code_refuses(self, adapter, transport):
        def keys(environ):
            raise NotYou

        url = await adapter.serve(await adapter.started(), transport, keys=keys)
        answer = await self.refused(adapter, url, transport)
        assert (answer.status, answer.code) == (401, "unauthorized")

    async def test_an_error_of_werkzeug_s_has_the_last_word_which_pages_may_read(self, adapter):
        def keys(environ):
            abort(401, "who?", www_authenticate=WWWAuthenticate("basic"))

        url = await adapter.serve(await adapter.started(), "poll", keys=keys, origins=["https://app.example"])
        answer = await adapter.in_thread(get, url, [("origin", "https://app.example")])
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Basic")
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert b"who?" in answer.body

    async def test_a_socket_says_which_servers_it_is_for(self, adapter):
        registry = await adapter.started()
        app = WebSocket(registry.blocking, keys=adapter.allows(KEY))
        with pytest.raises(RuntimeError, match="gunicorn -k gevent"):
            app({**HANDSHAKE, "wsgi.input": BytesIO()}, None)

    async def test_events_come_where_a_server_hides_the_connection(self, adapter, store):
        registry, notifier = await adapter.started(), adapter.notifier()
        app = EventSource(registry.blocking, keys=adapter.allows(KEY), comment_seconds=0.1)
        answer = app({"REQUEST_METHOD": "GET", "wsgi.input": BytesIO()}, lambda status, headers: None)
        assert b"event: hello" in next(answer)
        assert next(answer) == b":\n\n"
        await notifier.notify(KEY, "result")
        assert b'data: "result"' in next(answer)
        answer.close()
        assert not store.targets(["account=42"])["account=42"]

    @pytest.mark.parametrize(
        "wrong",
        [{"HTTP_SEC_WEBSOCKET_VERSION": "8"}, {"HTTP_SEC_WEBSOCKET_KEY": "short"}, {"HTTP_CONNECTION": "keep-alive"}],
    )
    async def test_a_handshake_that_is_none_opens_no_socket(self, adapter, wrong):
        registry = await adapter.started()
        app = WebSocket(registry.blocking, keys=adapter.allows(KEY))
        started = []
        app({**HANDSHAKE, **wrong}, lambda *head: started.append(head))
        ((status, headers),) = started
        assert status == "426 Upgrade Required"
        assert dict(headers)["upgrade"] == "websocket"

    async def test_a_socket_whose_bridge_fails_is_closed_and_says_so(self, adapter, store, monkeypatch, caplog):
        async def fail(feed, options):
            yield b"{}"
            raise LookupError

        monkeypatch.setattr(_socket, "message_stream", fail)
        url = await adapter.serve(await adapter.started(), "socket", keys=adapter.allows(KEY))
        async with self.tab(adapter, url, "socket", hello=False) as tab:
            tab.browser.receive()
            assert await adapter.in_thread(tab.browser.ended) == 1011
            await adapter.until_store(lambda: not store.targets(["account=42"])["account=42"])
        assert "LookupError" in caplog.text

    async def test_a_first_message_is_not_waited_for_for_ever(self, adapter, monkeypatch):
        monkeypatch.setattr(_socket, "FIRST_MESSAGE_SECONDS", 0.1)
        _, _, url = await self.mounted(adapter, "socket")
        async with self.tab(adapter, url, "socket", "", hello=False) as tab:
            assert await adapter.in_thread(tab.browser.ended) == 1008

    async def test_the_script_is_not_sent_again(self, adapter):
        url = await adapter.serve(None, "script", keys=None)
        tag = (await adapter.in_thread(get, url)).headers["etag"]
        again = await adapter.in_thread(get, url, [("if-none-match", tag)])
        assert (again.status, again.body) == (304, b"")
        assert (await adapter.in_thread(get, url, [], "POST")).status == 405


class Gunicorn:
    """Flask's views, under gunicorn's gevent worker."""

    def __init__(self, store):
        self.url = f"http://127.0.0.1:{free_port()}"
        self.said = ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "web_flask:app", "-c", "web_flask_gunicorn.py", "-b", self.url[7:]],
            cwd=HERE,
            env={**os.environ, "SKYHOOKS_STORE": store},
            stderr=subprocess.PIPE,
            text=True,
        )
        self._listening = gevent.spawn(self._listen)

    def has_said(self, words):
        with gevent.Timeout(SECONDS):
            while words not in self.said:
                gevent.sleep(0.01)

    def stop(self):
        """Stop it gently, and return what it has said."""
        self._process.terminate()
        assert self._process.wait(SECONDS) == 0
        self._listening.join(SECONDS)
        return self.said

    def end(self):
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(SECONDS)
        self._listening.join(SECONDS)
        self._process.stderr.close()

    def _listen(self):
        for line in self._process.stderr:
            self.said += line


@pytest.fixture
def gunicorn(tmp_path):
    served = Gunicorn(f"sqlite:///{tmp_path}/skyhooks.db")
    yield served
    served.end()


@pytest.fixture
def notifier(tmp_path):
    with Notifier(f"sqlite:///{tmp_path}/skyhooks.db") as notifier:
        yield notifier


def until(condition):
    with gevent.Timeout(SECONDS):
        while not condition():
            gevent.sleep(0.01)


class TestFlaskUnderGunicorn:
    @pytest.fixture
    def browse(self, gunicorn, notifier):
        until(lambda: "Listening at" in gunicorn.said)

        def browse(transport):
            return open_browser(transport, f"{gunicorn.url}/{transport}", headers=[("cookie", "account=42")])

        return browse

    @pytest.mark.parametrize("transport", ["events", "socket"])
    def test_tells_what_comes_and_when_to_go_elsewhere(self, gunicorn, notifier, browse, transport):
        tab = browse(transport)
        assert notifier.notify(KEY, "result").reached == 1
        assert tab.next().data == "result"
        stopping = gevent.spawn(gunicorn.stop)
        assert tab.next().kind == "reconnect"
        with pytest.raises(Ended):
            tab.next()
        if transport == "socket":
            with pytest.raises(Ended):  # rather than hear what the server has to say of it
                tab.receive_frame()
        tab.close()
        assert "rror" not in stopping.get()

    @pytest.mark.parametrize("transport", ["events", "socket"])
    def test_notices_at_once_that_a_client_has_gone(self, gunicorn, notifier, browse, transport):
        browse(transport).close()
        until(lambda: not notifier.interest(KEY))
        assert "rror" not in gunicorn.stop()
