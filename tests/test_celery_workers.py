"""Results of real tasks, in real workers of each pool, over real brokers; some are killed."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.util import find_spec

import apsw
import pytest

from brokers import rabbitmq, redis  # noqa: F401  # fixtures
from celery_workers import office
from processes import until

POOLS = ("prefork", "threads", "solo", "gevent", "eventlet")
KILLS = [("redis", "child"), ("rabbitmq", "worker")]
"""Which process is killed on which broker: RabbitMQ gives at once to others what a worker had, Redis after some time."""


def pool_case(pool):
    package = pool if pool in ("gevent", "eventlet") else "celery"
    return pytest.param(pool, marks=pytest.mark.skipif(find_spec(package) is None, reason=f"no {package} here"))


@pytest.fixture(scope="module", params=[pool_case(pool) for pool in POOLS])
def pooled(request, redis, tmp_path_factory):  # noqa: F811
    """An office with one worker of each pool in turn."""
    with office(redis.url, tmp_path_factory.mktemp(request.param)) as one:
        one.only = one.worker(pool=request.param)
        one.pool = request.param
        yield one


@pytest.fixture
def own(request, tmp_path):
    """An office for one test, which does to its workers and its store what it likes."""
    broker = request.getfixturevalue(getattr(request, "param", "redis"))
    with office(broker.url, tmp_path) as one:
        yield one


@contextmanager
def locked(path):
    """Keep all others from writing to a store."""
    database = apsw.Connection(str(path))
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        database.close()


def states(told):
    return [data["state"] for data in told]


def test_each_ending_is_told_to_who_waits_and_to_nobody_else(pooled):
    heard, other = pooled.wait_for(1), pooled.wait_for(2)
    added = pooled.run("add", 1, 2, 3)
    heard.wait_for(1)
    failed = pooled.run("fail", 1)
    assert pooled.end(1, heard, 2) == [
        {"task": "celery_tasks.add", "id": added, "state": "SUCCESS", "result": 5},
        {
            "task": "celery_tasks.fail",
            "id": failed,
            "state": "FAILURE",
            "error": {"type": "ValueError", "message": "too bad"},
        },
    ]
    assert not other.data


def test_retries_are_counted_and_come_before_the_result(pooled):
    heard = pooled.wait_for(3)
    pooled.run("fail_twice", 3)
    told = pooled.end(3, heard, 3)
    assert states(told) == ["RETRY", "RETRY", "SUCCESS"]
    assert [data["retries"] for data in told[:2]] == [1, 2]
    assert told[0]["error"] == {"type": "OSError", "message": "not yet"}


def test_a_retry_is_told_before_it_is_sent(pooled):
    heard = pooled.wait_for(9)
    pooled.run("retry_in_vain", 9)
    retry, failure = pooled.end(9, heard, 2)
    assert (retry["state"], retry["retries"], failure["state"]) == ("RETRY", 1, "FAILURE")


def test_progress_comes_in_order_and_before_the_result(pooled):
    heard = pooled.wait_for(4)
    pooled.run("step", 4, 20)
    told = pooled.end(4, heard, 21)
    assert [data.get("done", "end") for data in told] == [*range(1, 21), "end"]
    assert told[0]["info"] == {"at": "step 1"}


def test_a_task_revoked_while_it_runs_is_told_once(pooled):
    if pooled.pool in ("threads", "solo"):
        pytest.skip("Celery cannot end a task that a thread runs")
    heard, flag = pooled.wait_for(5), pooled.flag()
    task = pooled.run("wait", 5, flag)
    until(lambda: (pooled.folder / flag).exists())
    pooled.app.control.revoke(task, terminate=True)
    (told,) = pooled.end(5, heard, 1)
    assert told == {"task": "celery_tasks.wait", "id": task, "state": "REVOKED", "terminated": True, "expired": False}


def test_a_task_that_expires_before_it_is_begun_is_told(pooled):
    heard = pooled.wait_for(6)
    pooled.run("add", 6, 1, 1, expires=-1)
    (told,) = pooled.end(6, heard, 1)
    assert (told["state"], told["terminated"], told["expired"]) == ("REVOKED", False, True)


def test_a_task_with_no_keys_tells_nobody(pooled):
    heard = pooled.wait_for(7)
    pooled.run("tell_nobody", 7)
    pooled.run("add", 7, 1, 1)
    assert states(pooled.end(7, heard, 1)) == ["SUCCESS"]


def test_a_worker_that_is_stopped_has_told_everything(pooled):
    """The last of this pool's tests: it ends the worker."""
    if pooled.pool == "eventlet":
        pytest.skip("it takes Celery five seconds, as with gevent, which stands for both")
    heard = pooled.wait_for(8)
    pooled.run("step", 8, 5)
    heard.wait_for(1)
    assert pooled.only.stop() == 0
    assert len(pooled.end(8, heard, 6)) == 6


@pytest.mark.parametrize(
    ("pool", "more"), [("prefork", ""), ("prefork", "--max-tasks-per-child 1"), ("threads", ""), ("solo", "")]
)
def test_a_process_that_ends_has_told_what_nobody_waited_for(own, pool, more):
    """It is killed when it has: what it did not tell by then, it never does."""
    heard = own.wait_for(1)
    own.settings["dies_at_end"] = True
    worker = own.worker(pool=pool, concurrency=1, more=more)
    with locked(own.folder / "skyhooks.db"):
        task = own.run("step_and_ignore", 1, 10)
        until(lambda: worker.said(f"celery_tasks.step_and_ignore[{task}] ignored"))
        if not more:
            worker.terminate()
        until(lambda: worker.said("this process ends"))
    if more:
        heard.wait_for(10)
        worker.terminate()
    worker.wait_for_end()
    assert [data["done"] for data in own.end(1, heard, 10)] == [*range(1, 11)]


def test_a_hard_time_limit_is_told_by_the_worker_itself(own):
    heard = own.wait_for(1)
    own.worker()
    own.run("take_too_long", 1)
    (told,) = own.end(1, heard, 1)
    assert told["error"]["type"] == "TimeLimitExceeded"


def test_a_task_whose_process_is_killed_and_that_is_not_to_be_run_again_is_told_as_failed(own):
    heard = own.wait_for(1)
    own.worker()
    own.run("die_alone", 1)
    (told,) = own.end(1, heard, 1)
    assert (told["state"], told["error"]["type"]) == ("FAILURE", "WorkerLostError")


@pytest.mark.parametrize(("own", "process"), KILLS, indirect=["own"])
def test_crs_a_task_killed_in_the_middle_tells_its_result_once_when_it_is_run_again(own, process):
    heard, flag = own.wait_for(1), own.flag()
    first = own.worker()
    own.run("die_first", 1, flag, process)
    if process == "worker":
        first.wait_for_end()
        own.worker()
    (told,) = own.end(1, heard, 1)
    assert told["result"] == "survived"


@pytest.mark.parametrize(("own", "process"), KILLS, indirect=["own"])
def test_crs_a_task_killed_when_it_had_told_its_result_tells_it_once(own, process):
    heard, flag = own.wait_for(1), own.flag()
    first = own.worker()
    task = own.run("die_afterwards", 1, flag, process)
    heard.wait_for(1)
    if process == "worker":
        first.wait_for_end()
    again = own.worker() if process == "worker" else first
    until(lambda: again.said(f"celery_tasks.die_afterwards[{task}] succeeded"))
    assert states(own.end(1, heard, 1)) == ["SUCCESS"]


def test_a_store_that_is_away_fails_no_task_and_is_heard_of_again_later(own):
    heard = own.wait_for(1)
    worker = own.worker(concurrency=1)
    own.run("add", 1, 1, 1)
    heard.wait_for(1)
    store, away = own.folder / "skyhooks.db", own.folder / "away.db"
    store.rename(away)
    lost = own.run("add", 1, 2, 2)
    until(lambda: worker.said(f"celery_tasks.add[{lost}] succeeded"))
    assert worker.said("StoreUnavailable")
    away.rename(store)
    own.run("add", 1, 3, 3)
    assert [data["result"] for data in own.end(1, heard, 2)] == [2, 6]


def test_a_result_that_is_required_to_be_told_fails_its_task_where_it_cannot_be(own):
    heard = own.wait_for(1)
    own.settings["required"] = True
    worker = own.worker(concurrency=1)
    own.run("add", 1, 1, 1)
    heard.wait_for(1)
    store, away = own.folder / "skyhooks.db", own.folder / "away.db"
    store.rename(away)
    lost = own.run("add", 1, 2, 2)
    until(lambda: worker.said(f"celery_tasks.add[{lost}] raised unexpected: StoreUnavailable"))
    away.rename(store)
    own.run("add", 1, 3, 3)
    assert [data["result"] for data in own.end(1, heard, 2)] == [2, 6]
