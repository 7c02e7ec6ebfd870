"""Real gunicorn, `-k gevent -w 3`: each worker is an instance with a listener of its own, started after the fork."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest

from listener_conformance import PLAIN, REFUSED
from peers import is_closed, read_answer
from skyhooks._stores import open_store
from skyhooks.gevent import Notifier
from skyhooks.testing.adapter.base import closed_port

KEY = {"account": 42}
SECONDS = 30.0


def until(condition):
    """Wait until it is so, and return what it was."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not so within {SECONDS:g} s")


class Service:
    """gunicorn with three workers, and what they heard."""

    def __init__(self, path, *arguments, module="gevent_gunicorn_web", port=0, **environment):
        self.url = f"sqlite:///{path}/gunicorn.db"
        self.store = open_store(self.url)
        self._heard = path / "heard"
        self._heard.touch()
        self._log = (path / "log").open("w")
        where = ["-c", f"python:{module}", "-b", f"127.0.0.1:{port}"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *where, *arguments],
            cwd=Path(__file__).parent,
            env={**os.environ, "SKYHOOKS_STORE": self.url, "HEARD": str(self._heard), **environment},
            stdout=self._log,
            stderr=self._log,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(SECONDS)
        self._log.close()
        self.store.close()

    def instances(self, count):
        """Wait until so many are there that have a hook."""
        return until(lambda: len(found := self.store.targets(["account=42"])["account=42"]) == count and found)

    def heard(self):
        """Return what each worker heard, by its process."""
        lines = defaultdict(list)
        for line in self._heard.read_text().splitlines():
            one = json.loads(line)
            lines[one["pid"]].append(one["data"])
        return lines


@pytest.mark.parametrize("arguments", [(), ("--preload",)], ids=["app in each worker", "preloaded"])
def test_each_worker_gets_every_notification_once(tmp_path, arguments):
    with Service(tmp_path, *arguments) as service, Notifier(service.url) as notifier:
        instances = service.instances(3)
        assert len({instance.url for instance in instances}) == 3
        for number in range(20):
            receipt = notifier.notify(KEY, number)
            assert (receipt.ok, receipt.reached) == (True, 3)
        until(lambda: sum(map(len, service.heard().values())) >= 60)
        assert list(service.heard().values()) == [list(range(20))] * 3
        service.process.terminate()
        assert service.process.wait(SECONDS) == 0
        assert service.store.instances() == []


def test_crs_worker_that_is_killed_is_replaced_by_one_that_joins(tmp_path):
    with Service(tmp_path) as service, Notifier(service.url) as notifier:
        before = {instance.instance_id for instance in service.instances(3)}
        notifier.notify(KEY, "before")
        until(lambda: len(service.heard()) == 3)
        victim = next(iter(service.heard()))
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(before & {one.instance_id for one in service.store.instances()}) == 2)
        service.instances(3)
        assert notifier.notify(KEY, "after").reached == 3
        until(lambda: sum(map(len, service.heard().values())) == 6)
        heard = service.heard()
        assert heard.pop(victim) == ["before"]
        assert sorted(heard.values()) == [["after"], ["before", "after"], ["before", "after"]]


@pytest.fixture(scope="module", params=["gevent", "gevent_pywsgi"])
def mounted(request, tmp_path_factory):
    port = closed_port()
    path = tmp_path_factory.mktemp("mounted")
    url = f"http://127.0.0.1:{port}/webhook"
    arguments = ("-k", request.param)
    with Service(path, *arguments, module="gevent_gunicorn_mounted", port=port, WEBHOOK_URL=url) as service:
        service.port = port
        service.instances(1)
        yield service


def test_mounted_application_is_rung(mounted):
    with Notifier(mounted.url) as notifier:
        assert notifier.notify(KEY, 1).reached == 1
    until(lambda: [1] in mounted.heard().values())


@pytest.mark.parametrize("name", ["method", "length", "declared", "type", "coding"])
def test_htp_what_a_mounted_application_refuses_ends_the_connection(mounted, name):
    data, expected, code = REFUSED[name]
    with socket.create_connection(("127.0.0.1", mounted.port), SECONDS) as sock:
        sock.sendall(data)
        status, _, body = read_answer(sock)
        assert (status, f'"code":"{code}"'.encode() in body) == (expected, True)
        assert is_closed(sock)


def test_htp_body_that_is_cut_short_under_gunicorn_is_malformed(mounted):
    with socket.create_connection(("127.0.0.1", mounted.port), SECONDS) as sock:
        sock.sendall(PLAIN[:-1])
        sock.shutdown(socket.SHUT_WR)
        assert read_answer(sock)[0] == 400


def test_htp_peer_that_sends_a_broken_chunk_under_gunicorn_is_refused(mounted):
    with socket.create_connection(("127.0.0.1", mounted.port), SECONDS) as sock:
        sock.sendall(PLAIN.replace(b"content-length: 2", b"transfer-encoding: chunked")[:-2] + b"zz\r\n")
        assert read_answer(sock)[0] == 400
        assert is_closed(sock)
