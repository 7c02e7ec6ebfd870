"""gevent's bridges, put to the suite that all bridges are put to, and in the servers that they are for."""

from __future__ import annotations

import os
import subprocess
import sys

import gevent
import pytest

from gevent_bridges import GeventBridges
from processes import HERE, SECONDS, free_port
from skyhooks.gevent import Notifier
from skyhooks.testing import BridgeConformance
from skyhooks.testing.bridge.clients import Ended, open_browser

KEY = {"account": "42"}
COOKIE = [("cookie", "account=42")]


class TestBridges(BridgeConformance):
    @pytest.fixture
    def adapter(self, store_url):
        return GeventBridges(store_url)


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
        tab.close()
        assert "rror" not in stopping.get()

    @pytest.mark.parametrize("transport", ["events", "socket"])
    def test_notices_at_once_that_a_client_has_gone(self, gunicorn, notifier, browse, transport):
        browse(transport).close()
        until(lambda: not notifier.interest(KEY))
        assert "rror" not in gunicorn.stop()
