"""The demo's page without a browser, and what each of its web processes must do, whatever its framework."""

from __future__ import annotations

import http.client
import json
import os
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from commands import LIMIT_SECONDS, begin
from skyhooks import Notifier
from skyhooks._stores import open_store


@pytest.fixture
def room(tmp_path):
    """Where the demo puts what is temporary: empty again when it has ended."""
    place = tmp_path / "room"
    place.mkdir()
    return place


def processes_of(room):
    """Find the processes that were started for a demo in that room."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if os.fsencode(room) in command:
            found.append(int(entry.name))
    return found


def wait_until(condition, seconds=LIMIT_SECONDS):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.02)


def assert_nothing_is_left(room):
    assert processes_of(room) == []
    assert list(room.iterdir()) == []


class Page:
    """The demo's page without a browser."""

    def __init__(self, url):
        self.port = int(url.rsplit(":", 1)[1].rstrip("/"))

    def ask(self, method, path, port=None, **headers):
        with self.opened(path, method, port=port, **headers) as answer:
            return answer.status, answer.read()

    @contextmanager
    def opened(self, path, method="GET", port=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=LIMIT_SECONDS)
        connection.request(method, path, headers=headers)
        with connection.getresponse() as answer:
            yield answer
        connection.close()

    @property
    def state(self):
        return json.loads(self.ask("GET", "/state")[1])

    def process(self, name):
        return next(one for one in self.state["processes"] if one["name"] == name)


@contextmanager
def serving(room, *words):
    process = begin("demo", *words, TMPDIR=str(room))
    try:
        first = process.stdout.readline()
        assert first.startswith("http://127.0.0.1:"), process.stderr.read()
        yield Page(first.split()[0])
    finally:
        process.terminate()
        assert process.wait(LIMIT_SECONDS) == 143
        process.communicate()
        assert_nothing_is_left(room)


class WebTests:
    """What a web process does; the fixture `name` says which one."""

    def test_it_is_for_the_demos_own_page(self, name, room):
        with serving(room) as page:
            port = page.process(name)["port"]
            own = f"http://localhost:{page.port}"
            for path in ("/events", "/poll?timeout=0"):
                assert page.ask("GET", path, port=port, Origin="http://evil.example")[0] == 403
                assert page.ask("GET", path, port=port, Host=f"evil.example:{port}")[0] == 403
                assert page.ask("POST", path, port=port)[0] == 405
                assert page.ask("HEAD", path, port=port)[0] == 405
                assert page.ask("GET", "/nope", port=port, Origin=own)[0] == 404
            for path in ("/events?since=junk", "/poll?since=junk"):
                status, reason = page.ask("GET", path, port=port)
                assert (status, json.loads(reason)["code"]) == (400, "cursor")

    def test_the_page_may_read_events_and_polls_though_it_comes_from_another_port(self, name, room):
        with serving(room) as page:
            port = page.process(name)["port"]
            own = f"http://localhost:{page.port}"
            with page.opened("/events", port=port, Origin=own) as answer:
                assert answer.status == 200
                assert answer.getheader("content-type") == "text/event-stream"
                assert answer.getheader("cache-control") == "no-store"
                assert answer.getheader("access-control-allow-origin") == own
                assert answer.readline().startswith(b"retry: ")
            with page.opened("/poll?timeout=0", port=port, Origin=own) as answer:
                assert answer.status == 204
                assert answer.getheader("access-control-allow-origin") == own
                assert answer.getheader("skyhooks-cursor")
            assert page.ask("GET", "/poll?timeout=soon", port=port)[0] == 400

    def test_a_browser_that_goes_is_noticed(self, name, room, tmp_path):
        url = f"sqlite:///{tmp_path}/given.db"
        with serving(room, "--store", url) as page:
            store = open_store(url)
            with page.opened("/events", port=page.process(name)["port"]) as answer:
                answer.readline()
                assert len(list(store.hooks())) == 1
            wait_until(lambda: not list(store.hooks()))
            store.close()

    def test_a_slow_browser_gets_all_in_order(self, name, room, tmp_path):
        url = f"sqlite:///{tmp_path}/given.db?keep_bytes={1 << 30}"
        with serving(room, "--store", url) as page, page.opened("/events", port=page.process(name)["port"]) as answer:
            key, _, value = page.state["key"].partition("=")
            with Notifier(url) as notifier:
                for number in range(100):
                    notifier.notify({key: value}, {"number": number, "ballast": "x" * 100_000})
            told = [json.loads(line.removeprefix(b"data: ")) for line in data_lines(answer, 101)]
        assert [one["number"] for one in told[1:]] == list(range(100))

    def test_a_store_that_is_away_is_told(self, name, room, tmp_path):
        with serving(room, "--store", f"sqlite:///{tmp_path}/given.db") as page:
            for file in tmp_path.glob("given.db*"):
                file.unlink()
            status, reason = page.ask("GET", "/events", port=page.process(name)["port"])
        assert (status, json.loads(reason)["code"]) == (503, "unavailable")

    def test_a_process_that_stops_ends_its_streams(self, name, room):
        with ExitStack() as stack:
            with serving(room) as page:
                answer = stack.enter_context(page.opened("/events", port=page.process(name)["port"]))
            assert b"event: hello" in answer.read()


def data_lines(answer, count):
    found = []
    while len(found) < count and (line := answer.readline()):
        found += [line] * line.startswith(b"data: ")
    return found
