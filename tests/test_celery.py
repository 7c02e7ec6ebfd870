"""What `install` takes, and what is told of a task: run eagerly, in this process, with a real store."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from contextvars import copy_context
from importlib.util import find_spec
from uuid import uuid4

import apsw
import pytest
from celery import Celery
from celery.exceptions import Ignore

from instances import Heard, Instances
from skyhooks import InvalidKey, Notifier, StoreUnavailable, UnknownStore
from skyhooks.celery import encode, install, progress

ACCOUNT = {"account": 42}


@pytest.fixture
def app():
    with Celery("tests", set_as_current=False, task_always_eager=True) as app:
        yield app


@pytest.fixture
def path(tmp_path):
    return tmp_path / "skyhooks.db"


@pytest.fixture
def heard(path):
    """Somebody who waits for account 42."""
    with Instances(f"sqlite:///{path}") as instances:
        heard = Heard()
        instances.start(heard)
        yield heard


@pytest.fixture
def told(app, path, heard):
    """Installs, and returns what the account hears."""
    made = []

    def told(**options):
        made.append(install(app, f"sqlite:///{path}", **{"keys": ACCOUNT, "progress_seconds": 0, **options}))
        return made[-1]

    yield told
    for installation in made:
        installation.close()


def make(app, run, name=None, **options):
    """Make a task of a lambda, which Celery takes under another name alone."""
    run.__name__ = "run"
    return app.task(run, name=name or uuid4().hex, shared=False, **options)


@contextmanager
def away(path):
    """Take the store away for a while."""
    there = path.with_suffix(".away")
    path.rename(there)
    try:
        yield
    finally:
        there.rename(path)


def test_a_result_is_told_with_the_name_and_the_id_of_its_task(app, told, heard):
    told()
    done = make(app, lambda x, y: x + y, "add").delay(2, 3)
    assert heard.wait_for(1) == [{"task": "add", "id": done.id, "state": "SUCCESS", "result": 5}]


def test_a_result_is_in_the_log_when_its_task_has_ended(app, told, path):
    installation = told()
    make(app, lambda: 1).delay()
    assert installation.counts == {"sent": 1}


def test_a_failure_is_told_by_type_and_message_and_without_a_traceback(app, told, heard):
    told()
    done = make(app, lambda: 1 / 0, "divide").delay()
    error = {"type": "ZeroDivisionError", "message": "division by zero"}
    assert heard.wait_for(1) == [{"task": "divide", "id": done.id, "state": "FAILURE", "error": error}]


@pytest.mark.parametrize("message", ["x" * 100_000, "half a \ud800 pair", object()])
def test_whatever_a_failure_says_can_be_told(app, told, heard, message):
    class Odd(Exception):
        def __str__(self):
            return message

    @app.task(shared=False)
    def fail():
        raise Odd

    told()
    fail.delay()
    (data,) = heard.wait_for(1)
    assert data["error"]["type"] == "Odd"
    assert 0 < len(data["error"]["message"]) <= 2000


def test_the_task_says_whom_its_result_concerns(app, told, heard):
    told(keys=None)
    make(app, lambda account: 1, "mine", skyhooks=lambda task: {"account": task.request.args[0]}).delay(42)
    make(app, lambda: 2, "fixed", skyhooks=ACCOUNT).delay()
    assert [data["result"] for data in heard.wait_for(2)] == [1, 2]


def test_the_application_says_it_for_those_that_do_not(app, told, heard):
    installation = told(keys=lambda task: {"account": task.request.kwargs["account"]})
    make(app, lambda account: 1, "own", skyhooks=None).delay(account=42)
    make(app, lambda account: 2, "other").delay(account=41)
    make(app, lambda account: 3, "common").delay(account=42)
    assert [data["result"] for data in heard.wait_for(1)] == [3]
    assert installation.counts == {"sent": 2}


def test_who_is_asked_for_keys_sees_the_request(app, told, heard):
    seen = []

    def keys(task):
        seen.append((task.name, task.request.id, list(task.request.args), task.request.kwargs))

    told(keys=keys)
    done = make(app, lambda x, y: x + y, "add").delay(2, y=3)
    assert seen == [("add", done.id, [2], {"y": 3})]


def test_a_task_for_whom_nobody_is_named_tells_nobody(app, told, heard):
    installation = told(keys=lambda task: None)
    make(app, lambda: progress(1, 1)).delay()
    assert installation.counts == {}


def test_a_task_of_celerys_own_is_nobodys(app, told, heard):
    installation = told(keys=lambda task: {"account": task.request.kwargs["account"]})
    app.tasks["celery.accumulate"].delay(1, 2)
    assert installation.counts == {}


def test_a_task_that_is_run_twice_tells_its_result_once(app, told, heard):
    installation = told()
    task = make(app, lambda: 1)
    task.apply(task_id="same")
    task.apply(task_id="same")
    task.apply(task_id="other")
    assert [data["id"] for data in heard.wait_for(2)] == ["same", "other"]
    assert installation.counts == {"sent": 3}


def test_a_task_id_of_any_length_is_taken(app, told, heard):
    told()
    task = make(app, lambda: 1)
    for name in ("x" * 300, "x" * 300, "y" * 300, "tab\there"):
        task.apply(task_id=name)
    assert [data["id"][0] for data in heard.wait_for(3)] == ["x", "y", "t"]


def test_each_retry_is_told_with_its_number(app, told, heard):
    @app.task(shared=False, bind=True, max_retries=2)
    def fail(self):
        raise self.retry(exc=OSError("no"))

    told()
    fail.delay()
    data = heard.wait_for(3)
    assert [(one["state"], one.get("retries")) for one in data] == [("RETRY", 1), ("RETRY", 2), ("FAILURE", None)]
    assert {one["error"]["type"] for one in data} == {"OSError"}


def test_a_result_that_is_no_json_is_told_as_such_and_fails_no_task(app, told, heard, caplog):
    installation = told()
    task = make(app, lambda: {"rows": [{1, 2}]}, "odd")
    done = [task.delay(), task.delay()]
    assert [one.state for one in done] == ["SUCCESS"] * 2
    data = heard.wait_for(2)[0]
    assert (data["task"], data["id"], data["state"]) == ("odd", done[0].id, "SUCCESS")
    assert data["omitted"].startswith("$.result.rows[0]: set cannot travel")
    assert installation.counts == {"sent": 2, "omitted": 2}
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1


def test_a_result_can_be_shaped(app, told, heard):
    told(encode=lambda event: {**encode(event), "result": sorted(event.result)})
    make(app, lambda: {2, 1}).delay()
    assert heard.wait_for(1)[0]["result"] == [1, 2]


def test_a_shape_that_fails_is_told_as_such(app, told, heard):
    told(encode=lambda event: {}[event.task])
    assert make(app, lambda: 1).delay().state == "SUCCESS"
    assert heard.wait_for(1)[0]["omitted"] == "KeyError"


def test_progress_is_told_in_order(app, told, heard):
    @app.task(shared=False)
    def step():
        for done in range(1, 11):
            progress(done, 10, name=f"step {done}")

    told()
    step.delay()
    data = heard.wait_for(11)
    assert [one.get("done") for one in data] == [*range(1, 11), None]
    assert (data[0]["state"], data[0]["total"], data[0]["info"]) == ("PROGRESS", 10, {"name": "step 1"})


def test_progress_in_a_tight_loop_is_told_now_and_then_and_at_the_end(app, told, heard):
    @app.task(shared=False)
    def step():
        for done in range(1, 1001):
            progress(done, 1000)

    told(progress_seconds=60)
    step.delay()
    assert [one.get("done") for one in heard.wait_for(3)] == [1, 1000, None]


def test_progress_outside_of_a_task_is_nothing(app, told):
    told()
    progress(1, 2)


def test_progress_in_a_thread_that_a_task_has_started_is_nothing(app, told, heard):
    @app.task(shared=False)
    def step():
        thread = threading.Thread(target=copy_context().run, args=(progress, 1, 2))
        thread.start()
        thread.join()

    installation = told()
    step.delay()
    assert [data["state"] for data in heard.wait_for(1)] == ["SUCCESS"]
    assert installation.counts == {"sent": 1}


def test_keys_that_cannot_be_told_fail_no_task(app, told, heard, caplog):
    installation = told(keys=lambda task: {"account": task.request.args[0]})
    task = make(app, lambda *args: progress(1) or len(args), "count")
    assert task.delay().state == "SUCCESS"
    assert task.delay(4.2).state == "SUCCESS"
    assert installation.counts == {"failed": 4}
    assert len(caplog.records) == 1
    assert "count" in caplog.text


def test_a_store_that_is_away_fails_no_task_and_is_logged_once(app, told, heard, path, caplog):
    installation = told()
    task = make(app, lambda x: x)
    task.delay(1)
    with away(path):
        assert [task.delay(x).state for x in (2, 3)] == ["SUCCESS"] * 2
        assert len(caplog.records) == 1
    task.delay(4)
    assert [data["result"] for data in heard.wait_for(2)] == [1, 4]
    assert installation.counts == {"sent": 2, "failed": 2}
    assert "is over" in caplog.text


def test_what_progress_could_not_tell_is_counted(app, told, heard, path):
    installation = told(keys=None)
    make(app, lambda: None, name="first", skyhooks=ACCOUNT).delay()
    with away(path):
        make(app, lambda: progress(1), name="second", skyhooks=ACCOUNT).delay()
        installation.close()
    assert installation.counts == {}
    make(app, lambda: None, name="third", skyhooks=ACCOUNT).delay()
    assert installation.counts == {"sent": 1}


def test_a_task_can_be_made_to_fail_where_it_cannot_be_told(app, told, heard, path):
    @app.task(shared=False)
    def one():
        return 1

    installation = told(required=True)
    app.finalize()
    one.delay()
    with away(path):
        done = one.delay()
    assert (done.state, type(done.result)) == ("FAILURE", StoreUnavailable)
    assert [data["state"] for data in heard.wait_for(1)] == ["SUCCESS"]
    assert installation.counts == {"sent": 1, "failed": 2}


def test_a_task_that_could_not_be_told_can_be_tried_again(app, told, heard, path):
    @app.task(shared=False, bind=True, autoretry_for=[StoreUnavailable], default_retry_delay=0)
    def one(self):
        if self.request.retries == 1:
            back.rename(path)
        return self.request.retries

    back = path.with_suffix(".away")
    told(required=True)
    app.finalize()
    path.rename(back)
    assert one.delay().result == 1
    assert [data["state"] for data in heard.wait_for(1)] == ["SUCCESS"]


def test_calling_a_task_as_a_function_tells_nothing(app, told, heard):
    installation = told(required=True)
    task = make(app, lambda x: x)
    app.finalize()
    assert task(1) == 1
    task.delay(2)
    assert [data["result"] for data in heard.wait_for(1)] == [2]
    assert installation.counts == {"sent": 1}


def test_installing_twice_is_installing_the_latter(app, told, heard):
    task = make(app, lambda: 1)
    first = told(required=True)
    task.delay()
    second = told(encode=lambda event: event.state)
    task.delay()
    assert heard.wait_for(2)[1] == "SUCCESS"
    assert (first.counts, second.counts) == ({}, {"sent": 1})


def test_two_applications_do_not_hear_of_each_other(app, told, heard, path):
    told()
    with Celery("others", set_as_current=False, task_always_eager=True) as others:
        make(others, lambda: "theirs").delay()
        make(app, lambda: "ours").delay()
    assert [data["result"] for data in heard.wait_for(1)] == ["ours"]


def test_what_celery_does_not_tell_is_not_told(app, told, heard):
    @app.task(shared=False)
    def ignore():
        raise Ignore

    installation = told()
    ignore.delay()
    assert installation.counts == {}


def test_tasks_of_many_threads_share_a_notifier(app, told, heard):
    installation = told()
    task = make(app, lambda x: x)
    threads = [threading.Thread(target=task.delay, args=(x,)) for x in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(data["result"] for data in heard.wait_for(20)) == list(range(20))
    assert installation.counts == {"sent": 20}


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of 3.12 on: there are threads when it forks
def test_a_child_has_a_notifier_of_its_own(app, told, heard):
    installation = told()
    task = make(app, lambda x: x)
    task.delay("parent")
    child = os.fork()
    if child == 0:
        try:
            task.delay("child")
        finally:
            os._exit(installation.counts.get("sent", 0))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    task.delay("parent again")
    assert [data["result"] for data in heard.wait_for(3)] == ["parent", "child", "parent again"]


def test_the_notifier_is_made_of_options_or_by_a_function(app, heard, path):
    url = f"sqlite:///{path}"
    for given in ({"store": url, "timeout_seconds": 5}, lambda: Notifier(url)):
        installation = install(app, given, keys=ACCOUNT)
        make(app, lambda: 1).delay()
        assert installation.counts == {"sent": 1}
        installation.close()
    assert len(heard.wait_for(2)) == 2


def test_a_notifier_that_was_made_already_is_refused_with_what_to_give(app):
    with Notifier("memory://") as notifier, pytest.raises(TypeError, match="each worker process needs its own"):
        install(app, notifier)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("nonsense://", UnknownStore),
        ({"stoer": "memory://"}, TypeError),
        ({"timeout_seconds": 0}, ValueError),
        (42, TypeError),
    ],
)
def test_what_makes_no_notifier_is_refused_at_once(app, given, error):
    with pytest.raises(error):
        install(app, given)


@pytest.mark.parametrize(("keys", "error"), [({}, InvalidKey), (42, TypeError), ({"account": 4.2}, InvalidKey)])
def test_what_makes_no_keys_is_refused_at_once(app, keys, error):
    with pytest.raises(error):
        install(app, "memory://", keys=keys)


def test_a_function_that_makes_another_kind_of_notifier_is_told(app, caplog):
    installation = install(app, object, keys=ACCOUNT)
    assert make(app, lambda: 1).delay().state == "SUCCESS"
    assert installation.counts == {"failed": 1}
    assert "is to make a skyhooks.Notifier" in caplog.text


def test_without_celery_it_says_what_to_install():
    code = "import sys; sys.modules['celery'] = None; import skyhooks.celery"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert 'pip install "skyhooks[celery]"' in done.stderr


UNDER_GEVENT = """
from gevent import monkey
monkey.patch_all()
import sys
import gevent
from celery import Celery
from skyhooks.celery import install

app = Celery("tests", task_always_eager=True)
installation = install(app, sys.argv[1], keys={"account": 42})

@app.task
def one():
    return 1

one.delay()
print("locked?", flush=True)
sys.stdin.readline()
telling = gevent.spawn(one.delay)
turns = 0
while not telling.dead:
    gevent.sleep(0.01)
    turns += 1
print(installation.counts, turns > 50, flush=True)
"""


@pytest.mark.skipif(find_spec("gevent") is None, reason="no gevent here")
def test_under_gevent_others_go_on_while_a_store_is_waited_for(path):
    command = [sys.executable, "-W", "error", "-c", UNDER_GEVENT, f"sqlite:///{path}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked?\n"
        database = apsw.Connection(str(path))
        database.execute("BEGIN IMMEDIATE")
        told, _ = process.communicate("yes\n", timeout=60)
        database.close()
    assert told == "{'sent': 1, 'failed': 1} True\n"
