"""The examples, run as they stand."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from processes import SECONDS, free_port, until
from skyhooks import Notifier

EXAMPLES = Path(__file__).parents[1] / "examples"
SERVICES = ("tornado_service.py", "flask_gevent.py", "klein_service.py")


@pytest.fixture
def run(tmp_path):
    """Starts an example in a directory of its own, and ends it with the test; returns its address."""
    with contextlib.ExitStack() as stack:
        yield lambda script: stack.enter_context(Service(script, tmp_path)).address


class Service:
    """An example that runs."""

    def __init__(self, script, folder):
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [sys.executable, EXAMPLES / script, str(port)],
            cwd=folder,
            env={name: value for name, value in os.environ.items() if not name.startswith("SKYHOOKS_")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        assert self._process.stdout.readline() == f"{self.address}/42\n"
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.communicate()

    def end(self, number):
        """End it by a signal; return what it complains of."""
        self._process.send_signal(number)
        return self._process.communicate(timeout=SECONDS)[1]


@pytest.fixture
def job(tmp_path):
    """Runs the job, and returns what it says."""

    def job(account=42):
        done = subprocess.run(
            [sys.executable, EXAMPLES / "job.py", str(account)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=SECONDS,
        )
        return done.stdout

    return job


class Page:
    """What a browser does with an example's page: it asks for it, then for its events."""

    def __init__(self, address):
        self.address = address
        with urllib.request.urlopen(f"{address}/42", timeout=SECONDS) as page:
            self.path = re.search(r'EventSource\("([^"]+)"\)', page.read().decode())[1]
        self.cursor = None
        self.events = None

    def connect(self, address=None):
        headers = {"last-event-id": self.cursor} if self.cursor else {}
        request = urllib.request.Request((address or self.address) + self.path, headers=headers)
        self.events = urllib.request.urlopen(request, timeout=SECONDS)

    def leave(self):
        if self.events is not None:
            self.events.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.leave()

    def read(self):
        """Read one message."""
        for line in map(bytes.decode, self.events):
            name, _, value = line.rstrip("\n").partition(": ")
            if name == "id":
                self.cursor = value
            elif name == "data":
                return json.loads(value)
        raise EOFError


@pytest.mark.parametrize("service", SERVICES)
def test_a_page_shows_a_result_that_comes_before_or_after_it_connects(run, job, service):
    address = run(service)
    with Page(address) as connected, Page(address) as late:
        connected.connect()
        assert job() == "1 callbacks have it\n"
        assert connected.read() == {"report": "ready"}
        late.connect()
        assert late.read() == {"report": "ready"}


def test_a_browser_goes_from_one_service_to_another_and_misses_nothing(run, job, tmp_path):
    addresses = [run(service) for service in SERVICES]
    with contextlib.ExitStack() as stack, Notifier(f"sqlite:///{tmp_path}/skyhooks.db") as notifier:
        pages = [stack.enter_context(Page(address)) for address in addresses]
        for page in pages:
            page.connect()
        job()
        assert [page.read() for page in pages] == [{"report": "ready"}] * len(pages)
        for page in pages:
            page.leave()
        notifier.notify({"account": 42}, "while nobody was connected")
        for page, address in zip(pages, addresses[1:] + addresses[:1], strict=True):
            page.connect(address)
        assert [page.read() for page in pages] == ["while nobody was connected"] * len(pages)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("script", SERVICES)
def test_a_service_that_is_ended_leaves_and_complains_of_nothing(script, number, tmp_path):
    with Service(script, tmp_path) as service, Notifier(f"sqlite:///{tmp_path}/skyhooks.db") as notifier:
        with Page(service.address) as page:
            page.connect()
            until(lambda: notifier.interest({"account": 42}))
            complaints = service.end(number)
        assert "Traceback" not in complaints
        assert "Error" not in complaints
        assert notifier.interest({"account": 42}) == []


@pytest.mark.parametrize("service", SERVICES)
def test_a_cursor_that_is_none_is_refused_and_none_at_all_means_from_now(run, service):
    address = run(service)
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(f"{address}/events/42?since=nonsense", timeout=SECONDS)
    with urllib.request.urlopen(f"{address}/events/42?since=", timeout=SECONDS) as answer:
        assert answer.status == 200


def test_a_job_that_is_run_twice_is_one_result(run, job, tmp_path):
    with Page(run("tornado_service.py")) as page, Notifier(f"sqlite:///{tmp_path}/skyhooks.db") as notifier:
        page.connect()
        assert [job(), job()] == ["1 callbacks have it\n"] * 2
        notifier.notify({"account": 42}, "end")
        assert [page.read(), page.read()] == [{"report": "ready"}, "end"]
