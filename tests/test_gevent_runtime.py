"""The runtime of greenlets: who waits for what, what a kill leaves behind, and that the hub never stands still (SQL)."""

from __future__ import annotations

import subprocess
import sys
import time
import warnings

import gevent
import pytest
from gevent import monkey
from gevent.event import Event

from skyhooks import StoreUnavailable
from skyhooks._driver import run
from skyhooks._stores import open_store
from skyhooks._values import Instance, Publication
from skyhooks.gevent._operations import Operations
from skyhooks.gevent._runtime import GeventRuntime

SECONDS = 10.0
native_sleep = monkey.get_original("time", "sleep")
native_ident = monkey.get_original("_thread", "get_ident")


class Nobody:
    """A client that is not asked."""

    def close(self):
        self.closed = True


@pytest.fixture(autouse=True)
def limit():
    with gevent.Timeout(60):
        yield


@pytest.fixture
def store(tmp_path):
    store = open_store(f"sqlite:///{tmp_path / 'runtime.db'}")
    yield store
    store.close()


@pytest.fixture
def runtime(store):
    runtime = GeventRuntime(Nobody(), store)
    yield runtime
    run(runtime.close())


def program(text):
    """Run a program in a process of its own, unpatched unless it says so."""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


# -- patched or not -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use", ["Registry('memory://').start()", "Notifier('memory://').notify({'a': 1}, 1)"], ids=["registry", "notifier"]
)
def test_unpatched_process_is_told_what_to_do(use):
    said = program(f"from skyhooks.gevent import Notifier, Registry; {use}")
    assert "NotStarted: gevent has not patched socket, ssl, select, threading, time" in said
    assert 'put "from gevent import monkey; monkey.patch_all()" first in the program' in said


def test_half_patched_process_is_told_what_is_missing():
    said = program(
        "from gevent import monkey; monkey.patch_all(ssl=False)\n"
        "from skyhooks.gevent import Registry; Registry('memory://').start()"
    )
    assert "gevent has not patched ssl, so" in said


def test_missing_gevent_is_an_import_error_that_names_the_extra():
    said = program("import sys; sys.modules['gevent'] = None; import skyhooks.gevent")
    assert 'ImportError: skyhooks.gevent needs gevent; install it with: pip install "skyhooks[gevent]"' in said


# -- operations ---------------------------------------------------------------------------------------


def test_operations_of_a_database_run_in_native_threads_and_hold_up_nobody(runtime):
    def block():
        native_sleep(0.2)
        return native_ident()

    calls = [gevent.spawn(run, runtime.call(block)) for _ in range(4)]
    assert worst_wait(0.3) < 0.15
    assert native_ident() not in {call.get() for call in calls}


def test_operations_of_an_instant_store_run_in_place():
    operations = Operations(open_store("memory://"))
    assert operations.call(gevent.getcurrent) is gevent.getcurrent()


def test_operations_of_a_cooperative_store_run_in_greenlets_of_their_own():
    class Cooperative:
        cooperative = True

    operations, over, ended = Operations(Cooperative()), Event(), Event()

    def operate():
        over.wait()
        ended.set()

    caller = gevent.spawn(operations.call, operate)
    gevent.sleep(0)
    caller.kill()
    over.set()
    assert ended.wait(SECONDS)
    assert operations.call(native_ident) == native_ident()


def test_what_an_operation_raises_is_raised_and_the_hub_prints_nothing(runtime, capfd):
    def fail():
        raise StoreUnavailable("gone")

    with pytest.raises(StoreUnavailable, match="gone"):
        run(runtime.call(fail))
    assert capfd.readouterr().err == ""


def test_operation_that_hangs_is_unavailable_within_three_seconds_and_so_is_who_waits_for_a_turn(runtime):
    began = time.monotonic()
    calls = [gevent.spawn(attempt, runtime, native_sleep, 3.5) for _ in range(6)]
    gevent.joinall(calls)
    assert all(isinstance(call.value, StoreUnavailable) for call in calls)
    assert 2.9 < time.monotonic() - began < 3.4
    assert run(runtime.call(native_ident)) != native_ident()


def test_killed_caller_lets_the_operation_end_and_gives_its_turn_back(runtime):
    ended = []

    def operate():
        native_sleep(0.1)
        ended.append(True)

    callers = [gevent.spawn(run, runtime.call(operate)) for _ in range(8)]
    gevent.sleep(0.02)
    gevent.killall(callers)
    assert run(runtime.call(native_ident)) != native_ident()
    run(runtime.close())
    assert len(ended) == 4  # those whose turn had come


def test_turns_come_in_the_order_in_which_they_were_asked_for(runtime):
    order = []

    def work(number):
        for _ in range(3):
            run(runtime.call(native_sleep, 0.001))
            order.append(number)

    gevent.joinall([gevent.spawn(work, number) for number in range(12)], raise_error=True)
    assert all(max(order[:end].count(one) for one in range(12)) <= end // 8 + 1 for end in range(1, 36))


def test_turn_that_comes_to_a_killed_caller_goes_to_the_next(runtime):
    def first():
        run(runtime.call(native_sleep, 0.05))
        gevent.killall(waiting[:4], block=False)

    firsts = [gevent.spawn(first) for _ in range(4)]
    gevent.sleep(0)
    waiting = [gevent.spawn(attempt, runtime, native_ident) for _ in range(5)]
    gevent.joinall([*firsts, *waiting])
    assert not isinstance(waiting[4].value, (StoreUnavailable, gevent.GreenletExit))
    assert run(runtime.call(native_ident)) != native_ident()


def test_answer_that_came_while_the_hub_was_busy_is_not_thrown_away(runtime, monkeypatch):
    monkeypatch.setattr("skyhooks.gevent._operations.STORE_SECONDS", 0.2)
    call = gevent.spawn(run, runtime.call(native_ident))
    gevent.sleep(0)
    native_sleep(0.3)
    assert call.get() != native_ident()


def test_sql_twenty_greenlets_share_a_store(runtime, store):
    def work(number):
        key = f"k={number % 5}"
        for step in range(100):
            run(runtime.call(store.add_hooks, f"i{number}", [key], 2 * step + 1))
            run(runtime.call(store.publish, [Publication(key, f"{number}-{step}", "n", b"{}", 0.0)]))
            run(runtime.call(store.read, key, None, 10))
            run(runtime.call(store.targets, [key]))
            run(runtime.call(store.remove_hooks, f"i{number}", [key], 2 * step + 2))

    greenlets = [gevent.spawn(work, number) for number in range(20)]
    gevent.joinall(greenlets, raise_error=True)
    heads = run(runtime.call(store.positions, [f"k={number}" for number in range(5)]))
    assert [head.seq for head in heads.values()] == [400] * 5


HOLD = """
import apsw, sys, time
connection = apsw.Connection(sys.argv[1])
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
time.sleep(2)
"""


def test_sql_a_lock_of_another_process_never_stops_the_hub(runtime, store, tmp_path):
    run(runtime.call(store.join, Instance("i", "http://i/", 0), 60))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "runtime.db")], stdout=subprocess.PIPE, text=True
    )
    calm = worst_wait(1.0)  # what the machine itself takes is not the store's
    with holder:
        assert holder.stdout.readline() == "held\n"
        writers = [gevent.spawn(attempt, runtime, store.add_hooks, "i", ["k=1"], number) for number in range(20)]
        assert worst_wait(1.8) < 0.05 + calm
        gevent.joinall(writers)


def worst_wait(seconds):
    """Return by how much a greenlet that wants to run every 5 ms was late at most."""
    until, worst = time.monotonic() + seconds, 0.0
    while (began := time.monotonic()) < until:
        gevent.sleep(0.005)
        worst = max(worst, time.monotonic() - began - 0.005)
    return worst


def attempt(runtime, *call):
    """Call, and return what is raised."""
    try:
        return run(runtime.call(*call))
    except StoreUnavailable as error:
        return error


# -- tasks --------------------------------------------------------------------------------------------


def test_task_starts_in_a_later_turn(runtime):
    begun = Event()

    async def begin():
        begun.set()

    runtime.spawn(begin())
    assert not begun.is_set()
    assert begun.wait(SECONDS)


def test_task_that_is_cancelled_before_it_begins_never_does(runtime):
    begun = []

    async def begin():
        begun.append(True)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runtime.spawn(begin()).cancel()
        gevent.sleep(0.01)
    assert begun == []


def test_task_that_waits_ends_where_it_is_cancelled(runtime):
    ended = Event()

    async def wait():
        try:
            await runtime.sleep(SECONDS)
        finally:
            ended.set()

    task = runtime.spawn(wait())
    gevent.sleep(0)
    task.cancel()
    assert not ended.is_set()
    assert ended.wait(SECONDS)


def test_what_a_task_raises_is_logged_and_the_hub_prints_nothing(runtime, caplog, capfd):
    async def fail():
        raise LookupError("nothing")

    runtime.spawn(fail())
    gevent.sleep(0.01)
    assert "a background task failed" in caplog.text
    assert "LookupError" in caplog.text
    assert capfd.readouterr().err == ""


def test_closed_runtime_starts_nothing(store):
    begun = []

    async def begin():
        begun.append(True)

    runtime = GeventRuntime(Nobody(), store)
    run(runtime.close())
    runtime.spawn(begin())
    gevent.sleep(0.01)
    assert begun == []


def test_fan_out_runs_all_at_once_and_waits_for_all(runtime):
    done = []

    async def work(item):
        await runtime.sleep(0.1)
        done.append(item)

    began = time.monotonic()
    run(runtime.fan_out(work, range(10)))
    assert sorted(done) == list(range(10))
    assert time.monotonic() - began < 0.3


def test_fan_out_whose_caller_is_killed_takes_all_along(runtime):
    begun, ended = [], []

    async def work(item):
        begun.append(item)
        try:
            await runtime.sleep(SECONDS)
        finally:
            ended.append(item)

    caller = gevent.spawn(run, runtime.fan_out(work, range(3)))
    gevent.sleep(0.01)
    caller.kill()
    gevent.sleep(0.01)
    assert sorted(begun) == sorted(ended) == [0, 1, 2]


def test_future_has_its_first_value_and_its_time(runtime):
    future = runtime.future()
    assert run(future.wait(0.01)) is False
    gevent.spawn(lambda: (future.set(1), future.set(2)))
    assert run(future.wait(SECONDS)) is True
    assert future.value == 1
