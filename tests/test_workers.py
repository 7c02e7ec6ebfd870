"""The threads of the blocking world and its futures: grown, bounded, used again, ended; and the driver."""

from __future__ import annotations

import asyncio
import threading

import pytest

from skyhooks import Notifier
from skyhooks._driver import run
from skyhooks._stores import open_store
from skyhooks.blocking._runtime import BlockingFuture
from skyhooks.blocking._workers import Workers
from skyhooks.testing import Receiver, Reply
from skyhooks.testing.adapter.answers import OK
from skyhooks.testing.adapter.base import KEY, SECONDS, plant


@pytest.fixture
def workers():
    workers = Workers()
    yield workers
    workers.close()


@pytest.fixture
def no_more_threads():
    """From `yield` on the system refuses every new thread: none has room for such a stack."""
    before = threading.stack_size()
    yield lambda: threading.stack_size(2**46)
    threading.stack_size(before)


def thread_of(workers):
    """Let a job tell in which thread it runs."""
    told, done = [], threading.Event()
    workers.start(lambda: (told.append(threading.current_thread()), done.set()))
    assert done.wait(SECONDS)
    return told[0]


def test_jobs_run_at_once_up_to_a_limit_and_the_others_soon(workers, monkeypatch):
    monkeypatch.setattr("skyhooks.blocking._workers.MAX_THREADS", 2)
    go, running, done = threading.Event(), threading.Semaphore(0), threading.Semaphore(0)

    def work():
        running.release()
        assert go.wait(SECONDS)
        done.release()

    for _ in range(3):
        workers.start(work)
    assert running.acquire(timeout=SECONDS)
    assert running.acquire(timeout=SECONDS)
    assert not running.acquire(timeout=0.1)
    go.set()
    assert all(done.acquire(timeout=SECONDS) for _ in range(3))


def test_a_job_that_fails_is_logged_and_the_same_thread_does_the_next_one(workers, caplog, monkeypatch):
    monkeypatch.setattr("skyhooks.blocking._workers.MAX_THREADS", 1)
    workers.start(lambda: 1 / 0)
    thread_of(workers)
    assert "a background task failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_thread_that_has_nothing_to_do_ends_after_a_while(workers, monkeypatch):
    monkeypatch.setattr("skyhooks.blocking._workers.IDLE_SECONDS", 0.01)
    first = thread_of(workers)
    first.join(SECONDS)
    assert not first.is_alive()
    assert thread_of(workers) is not first


def test_closing_ends_what_is_idle_and_lets_the_busy_finish(workers):
    go, done = threading.Event(), threading.Event()
    job = workers.start(lambda: (go.wait(SECONDS), done.set()))
    idle = thread_of(workers)
    workers.close()
    idle.join(SECONDS)
    assert not idle.is_alive()
    job.cancel()
    go.set()
    assert done.wait(SECONDS)


def test_where_no_thread_can_be_had_the_caller_does_it(workers, no_more_threads, caplog):
    no_more_threads()
    assert thread_of(workers) is threading.current_thread()
    workers.start(lambda: 1 / 0)
    assert "ZeroDivisionError" in caplog.text


def test_a_notifier_submits_where_no_thread_can_be_had(tmp_path, no_more_threads):
    store = open_store(f"sqlite:///{tmp_path}/skyhooks.db")
    with Receiver(Reply(body=OK)) as receiver, Notifier(f"sqlite:///{tmp_path}/skyhooks.db") as notifier:
        plant(store, receiver.url)
        assert notifier.notify(KEY, "over the connection that the next one uses").reached == 2
        no_more_threads()
        assert notifier.submit(KEY, 1).result(0).reached == 2
    store.close()


def test_a_future_keeps_what_arrived_first_for_all_who_wait():
    future, heard = BlockingFuture(), []
    waiting = [
        threading.Thread(target=lambda: heard.append((run(future.wait(SECONDS)), future.value))) for _ in range(3)
    ]
    for thread in waiting:
        thread.start()
    future.set("first")
    future.set("second")
    for thread in waiting:
        thread.join(SECONDS)
    assert heard == [(True, "first")] * 3


def test_a_future_that_nobody_sets_ends_its_wait():
    assert run(BlockingFuture().wait(0.01)) is False


def test_a_coroutine_that_suspends_is_a_bug_and_says_so():
    ended = []

    async def suspends():
        try:
            await asyncio.sleep(0)
        finally:
            ended.append(True)

    with pytest.raises(RuntimeError, match=r"suspends.*suspended in a world that blocks"):
        run(suspends())
    assert ended == [True]
