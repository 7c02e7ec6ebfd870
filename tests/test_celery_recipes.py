"""The documents' programs, run as they stand: no result is missed, and other queues tell theirs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from contextlib import ExitStack, contextmanager

import pytest

from brokers import redis  # noqa: F401  # a fixture
from documents import DOCS, REDIS, WORK, running, write_programs
from instances import Heard, Instances
from processes import FRAMEWORKS, SECONDS, free_port

WORKER_SECONDS = 60.0


def run(folder, *arguments):
    """Run a program to its end."""
    env = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=WORKER_SECONDS,
    )
    assert done.returncode == 0, done.stderr


class Page:
    """What the document's page does: it starts a task, and listens to what it was handed."""

    def __init__(self, port):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/reports", method="POST")
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            handed = json.load(answer)
        self.task, self.cursor = handed["task"], handed["cursor"]

    def listen(self, port, cursor=None):
        """Yield what is told of the task, each with its cursor."""
        address = f"http://127.0.0.1:{port}/events?since={cursor or self.cursor}"
        with urllib.request.urlopen(address, timeout=SECONDS) as events:
            for line in map(bytes.decode, events):
                name, _, value = line.rstrip("\n").partition(": ")
                if name == "id":
                    cursor = value
                elif name == "data" and (told := json.loads(value)).get("id") == self.task:
                    yield told, cursor

    def states(self, port):
        """Listen until the task has ended, and return its states."""
        states = []
        for told, _ in self.listen(port):
            states.append(told["state"])
            if states[-1] == "SUCCESS":
                return states
        raise EOFError


@pytest.fixture(scope="module")
def shop(redis, tmp_path_factory):  # noqa: F811
    """A folder with the programs of docs/celery.md, where a worker runs."""
    folder = tmp_path_factory.mktemp("shop")
    write_programs(DOCS / "celery.md", folder, {REDIS: redis.url, WORK: "..."})
    arguments = "-m celery -A tasks worker -c 1 --without-gossip --without-mingle -l INFO"
    with running(folder, *arguments.split(), ready=" ready."):
        yield folder


@contextmanager
def web(folder, framework):
    port = free_port()
    with running(folder, f"web_{framework}.py", str(port), ready="ready") as process:
        yield process, port


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_page_hears_of_its_task_whichever_of_them_is_faster(shop, framework):
    with web(shop, framework) as (_, port):
        page = Page(port)
        first = page.states(port)
        late = page.states(port)
        assert first == late
        assert first.count("SUCCESS") == 1
        assert {*first[:-1]} == {"PROGRESS"}


@pytest.mark.tornado
@pytest.mark.gevent
@pytest.mark.twisted
def test_a_page_hears_of_its_task_once_while_the_processes_that_it_listens_to_are_killed(shop):
    heard, cursor = [], None
    with ExitStack() as stack:
        processes = [stack.enter_context(web(shop, framework)) for framework in ("tornado", "gevent", "twisted")]
        page = Page(processes[0][1])
        for process, port in processes:
            told, cursor = next(page.listen(port, cursor))
            heard.append(told)
            process.kill()
    done = [told.get("done") for told in heard]
    assert done == sorted(set(done), key=done.index)
    assert heard[-1]["state"] == "SUCCESS"


@pytest.fixture
def waiting(tmp_path):
    """Somebody who waits for account 42, whose store is where the programs look for it."""
    with Instances(f"sqlite:///{tmp_path}/skyhooks.db") as instances:
        heard = Heard()
        instances.start(heard)
        yield heard


def test_a_task_tells_what_its_threads_have_done(tmp_path, waiting):
    write_programs(DOCS / "celery.md", tmp_path)
    run(tmp_path, "-c", "from pages import render_pages; render_pages.apply((42, 2))")
    told = waiting.wait_for(3)
    assert [data.get("done") for data in told[:2]] == [1, 2]
    assert told[2]["result"] == {"rows": 24}


def outcomes(told):
    return [(data["state"], data.get("result", data.get("error"))) for data in told]


BOTH = [("SUCCESS", {"rows": 4}), ("FAILURE", "ZeroDivisionError")]


def test_rq_jobs_tell_what_becomes_of_them(redis, tmp_path, waiting):  # noqa: F811
    pytest.importorskip("rq")
    write_programs(DOCS / "recipes.md", tmp_path, {REDIS: redis.url})
    run(tmp_path, "-c", "import rq_start; rq_start.start(42, 3); rq_start.start(42, 0)")
    run(tmp_path, "-m", "rq.cli", "worker", "--burst", "--url", redis.url)
    assert outcomes(waiting.wait_for(2)) == BOTH


def test_dramatiq_messages_tell_what_becomes_of_them(redis, tmp_path, waiting):  # noqa: F811
    pytest.importorskip("dramatiq")
    write_programs(DOCS / "recipes.md", tmp_path, {REDIS: redis.url})
    run(tmp_path, "-c", "from actors import make_report; make_report.send(42, 3)")
    arguments = ("-m", "dramatiq", "actors", "--processes", "1", "--threads", "1")
    with running(tmp_path, *arguments, ready="ready for action"):
        waiting.wait_for(1)
        run(tmp_path, "-c", "from actors import make_report; make_report.send(42, 0)")
        assert outcomes(waiting.wait_for(2)) == BOTH


def test_calls_in_an_executor_tell_what_becomes_of_them(tmp_path, waiting):
    write_programs(DOCS / "recipes.md", tmp_path)
    run(tmp_path, "futures.py")
    told = outcomes(waiting.wait_for(2))
    assert sorted(told, key=str) == [("FAILURE", "ZeroDivisionError"), ("SUCCESS", [2, 2])]
