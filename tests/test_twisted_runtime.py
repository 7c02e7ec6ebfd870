"""Twisted's runtime: threads of its own for the store, later turns for what the core begins and wakes, cancellations."""

from __future__ import annotations

import contextlib
import inspect
import subprocess
import sys
import threading
import time

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import globalLogPublisher

import skyhooks.twisted._runtime
import skyhooks.twisted._threads
from reactor_thread import gather, in_thread, on_reactor, reactor, sleep, until
from skyhooks import StoreUnavailable
from skyhooks.twisted._deferred import Cancelled, Shared, inside, outside
from skyhooks.twisted._reactor import AfterWrites, Turns
from skyhooks.twisted._runtime import TwistedRuntime

SECONDS = 10.0


class NoClient:
    async def close(self):
        pass


class Store:
    """A store that is only closed; its operations are a test's own."""

    instant = False

    def __init__(self):
        self.closed = []

    def close(self):
        self.closed.append(threading.current_thread().name)


def make(store=None):
    return TwistedRuntime(reactor, Turns(reactor), NoClient(), store or Store())


def on_runtime(test):
    """Run a test with a runtime, as the core would; close it afterwards."""

    @on_reactor
    async def run(**fixtures):
        runtime = make()
        try:
            await test(runtime, **fixtures)
        finally:
            await outside(runtime.close())

    _, *fixtures = inspect.signature(test).parameters.values()
    run.__signature__ = inspect.Signature(fixtures)
    return run


# -- the store's threads ----------------------------------------------------------------------------


@on_runtime
async def test_a_store_is_called_in_a_thread_that_is_not_the_reactor_s_own(runtime):
    name = await runtime.call(lambda: threading.current_thread().name)
    assert "skyhooks-store" in name
    assert threading.current_thread().name not in name


@on_reactor
async def test_an_instant_store_is_called_in_place():
    store = Store()
    store.instant = True
    runtime = make(store)
    before = threading.active_count()
    assert await runtime.call(threading.get_ident) == threading.get_ident()
    await outside(runtime.close())
    assert threading.active_count() == before
    assert store.closed == [threading.current_thread().name]


@on_runtime
async def test_what_a_store_raises_is_raised(runtime):
    with pytest.raises(StoreUnavailable, match="gone"):
        await runtime.call(_raise, StoreUnavailable("gone"))


def _raise(error):
    raise error


@on_runtime
async def test_a_store_that_takes_too_long_is_unavailable(runtime, monkeypatch):
    monkeypatch.setattr(skyhooks.twisted._threads, "STORE_SECONDS", 0.05)
    over = threading.Event()
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="longer than"):
        await runtime.call(over.wait, SECONDS)
    assert time.monotonic() - began < 1
    over.set()


@on_runtime
async def test_four_calls_run_at_once_and_what_is_given_up_while_it_waits_is_not_run(runtime, monkeypatch):
    monkeypatch.setattr(skyhooks.twisted._threads, "STORE_SECONDS", 0.1)
    over, ran = threading.Event(), []
    calls = [outside(runtime.call(over.wait, SECONDS)) for _ in range(4)]
    calls.append(outside(runtime.call(ran.append, 1)))
    for call in calls:
        with pytest.raises(StoreUnavailable):
            await call
    over.set()
    await runtime.call(int)
    assert ran == []


@on_reactor
async def test_a_close_waits_for_the_threads_without_stopping_the_reactor():
    runtime, store, ticks = make(store := Store()), store, []
    entered, over = threading.Event(), threading.Event()

    def slow():
        entered.set()
        over.wait(SECONDS)

    calling = outside(runtime.call(slow))
    await until(entered.is_set)
    calling.cancel()
    with pytest.raises(CancelledError):
        await calling
    closing = outside(runtime.close())
    for number in range(20):
        await sleep(0.001)
        ticks.append(number)
    assert not closing.called
    assert not store.closed
    over.set()
    await closing
    assert len(store.closed) == 1
    assert len(ticks) == 20
    with pytest.raises(StoreUnavailable, match="closed"):
        await runtime.call(int)


@on_runtime
async def test_an_answer_that_a_busy_reactor_sees_late_is_an_answer(runtime, monkeypatch):
    monkeypatch.setattr(skyhooks.twisted._threads, "STORE_SECONDS", 0.05)
    calling = outside(runtime.call(str, 1))
    time.sleep(0.1)  # noqa: ASYNC251  # that is the case
    assert await calling == "1"


# -- what runs beside -------------------------------------------------------------------------------


@on_runtime
async def test_what_is_spawned_begins_in_a_later_turn(runtime):
    begun = []

    async def begin():
        begun.append(True)

    runtime.spawn(begin())
    assert begun == []
    await sleep(0)
    await sleep(0)
    assert begun == [True]


@on_runtime
async def test_what_is_spawned_runs_in_the_order_of_the_calls(runtime):
    order = []

    async def begin(number):
        order.append(number)

    for number in range(100):
        runtime.spawn(begin(number))
    await until(lambda: len(order) == 100)
    assert order == list(range(100))


@on_runtime
async def test_what_a_spawned_coroutine_raises_is_logged_as_a_failure(runtime):
    events = []
    globalLogPublisher.addObserver(events.append)

    async def fail():
        raise LookupError("nothing")

    runtime.spawn(fail())
    await until(lambda: any("log_failure" in event for event in events))
    globalLogPublisher.removeObserver(events.append)
    [event] = [event for event in events if "log_failure" in event]
    assert event["log_failure"].type is LookupError
    assert event["log_namespace"] == "skyhooks"


@on_runtime
async def test_what_is_cancelled_before_it_began_never_begins(runtime):
    begun = []

    async def begin():
        begun.append(True)

    runtime.spawn(begin()).cancel()
    await sleep(0.01)
    assert begun == []


@on_runtime
async def test_a_cancellation_is_no_failure_that_the_core_could_survive(runtime):
    passed = []

    async def survive():
        try:
            await runtime.sleep(SECONDS)
        except Exception:  # noqa: BLE001  # as the core has them
            passed.append("survived")
        except BaseException as error:
            passed.append(type(error))
            raise

    task = runtime.spawn(survive())
    await sleep(0.01)
    task.cancel()
    await until(lambda: passed)
    assert passed == [Cancelled]


@on_runtime
async def test_a_task_may_cancel_itself(runtime):
    ended = []

    async def cancel():
        task.cancel()
        try:
            await runtime.sleep(SECONDS)
        finally:
            ended.append(True)

    task = runtime.spawn(cancel())
    await until(lambda: ended, 1.0)


@on_reactor
async def test_a_close_cancels_what_runs_and_nothing_begins_after_it():
    runtime, ended = make(), []

    async def endless():
        try:
            await runtime.sleep(SECONDS)
        finally:
            await runtime.sleep(0.02)
            ended.append(True)

    runtime.spawn(endless())
    await sleep(0.01)
    await outside(runtime.close())
    assert ended == [True]
    runtime.spawn(endless())
    await sleep(0.01)
    assert ended == [True]


@on_reactor
async def test_a_close_waits_a_little_for_what_survives_its_cancellation_and_says_so(monkeypatch):
    monkeypatch.setattr(skyhooks.twisted._runtime, "CANCEL_SECONDS", 0.2)
    runtime, events, released = make(store := Store()), [], []

    async def stubborn():
        while not released:
            with contextlib.suppress(Exception):  # which Twisted's CancelledError is
                await sleep(0.05)

    globalLogPublisher.addObserver(events.append)
    tasks = [Deferred.fromCoroutine(stubborn()) for _ in range(3)]
    for task in tasks:
        runtime.adopt(task, print)
    began = time.monotonic()
    await outside(runtime.close())
    globalLogPublisher.removeObserver(events.append)
    assert time.monotonic() - began < 1
    assert store.closed
    assert [event["left"] for event in events if "left" in event] == [3]
    released.append(True)
    await gather(*tasks)


@on_reactor
async def test_closes_at_once_are_one_close():
    runtime = make(store := Store())
    await runtime.call(int)
    first, second = outside(runtime.close()), outside(runtime._threads.close())
    await outside(runtime.close())
    await gather(first, second)
    assert len(store.closed) == 1


@on_reactor
async def test_a_close_does_not_wait_for_the_application_s_own_threads():
    runtime, over = make(), threading.Event()
    await runtime.call(int)
    pool = reactor.getThreadPool()
    busy = [in_thread(over.wait, SECONDS) for _ in range(pool.max + 1)]
    working = [Deferred.fromCoroutine(one) for one in busy]
    try:
        await outside(runtime.close()).addTimeout(2, reactor)
    finally:
        over.set()
        await gather(*working)


# -- futures and fans -------------------------------------------------------------------------------


@on_runtime
async def test_whoever_waits_for_a_future_goes_on_in_a_later_turn(runtime):
    future, gone_on = runtime.future(), []
    waiting = outside(future.wait(None)).addCallback(gone_on.append)
    future.set(1)
    future.set(2)
    assert gone_on == []
    await waiting
    assert gone_on == [True]
    assert future.value == 1


@on_runtime
async def test_a_future_that_does_not_come_is_waited_for_as_long_as_is_said(runtime):
    future = runtime.future()
    assert not await future.wait(0.01)
    assert not await future.wait(-1)
    with pytest.raises(RuntimeError):
        _ = future.value


@on_runtime
async def test_a_cancelled_wait_harms_no_other(runtime):
    future = runtime.future()
    one, other = outside(future.wait(SECONDS)), outside(future.wait(SECONDS))
    one.cancel()
    with pytest.raises(CancelledError):
        await one
    future.set(1)
    assert await other


@on_runtime
async def test_a_fan_runs_all_at_once_and_its_cancellation_ends_all(runtime):
    begun, ended = [], []

    async def run(number):
        begun.append(number)
        try:
            await runtime.sleep(SECONDS)
        finally:
            ended.append(number)

    running = outside(runtime.fan_out(run, range(5)))
    assert begun == list(range(5))
    running.cancel()
    with pytest.raises(CancelledError):
        await running
    assert ended == begun


@on_runtime
async def test_a_fan_of_none_and_of_one_end(runtime):
    found = []

    async def run(number):
        found.append(number)

    await runtime.fan_out(run, [])
    await runtime.fan_out(run, [1])
    await runtime.fan_out(run, [2, 3])
    assert found == [1, 2, 3]


@on_reactor
async def test_a_shared_result_comes_to_all_but_those_who_left():
    shared = Shared()
    one, left, late = shared.wait(), shared.wait(), None
    left.cancel()
    with pytest.raises(CancelledError):
        await left
    shared.fire(1)
    late = shared.wait()
    assert [await one, await late] == [1, 1]


@on_reactor
async def test_notes_of_a_cancellation_come_out():
    async def cancelled():
        try:
            await inside(Deferred())
        except BaseException as error:
            error.add_note("three were not sent")
            raise

    deferred = outside(cancelled())
    deferred.cancel()
    with pytest.raises(CancelledError) as raised:
        await deferred
    assert raised.value.__notes__ == ["three were not sent"]


@on_reactor
async def test_what_fails_in_a_turn_harms_no_other_in_it():
    done = []
    turns = Turns(reactor)
    turns.later(lambda: 1 / 0)
    turns.later(lambda: done.append(True))
    await until(lambda: done)


@on_reactor
async def test_what_comes_after_writes_is_done_once_for_all_who_asked():
    done = []
    after = AfterWrites(reactor, lambda: done.append(True))
    for _ in range(10):
        after()
    await until(lambda: done)
    await sleep(0.01)
    assert done == [True]


# -- processes --------------------------------------------------------------------------------------


def test_importing_installs_no_reactor():
    code = "import sys, skyhooks.twisted; assert 'twisted.internet.reactor' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("package", ["treq", "twisted"])
def test_a_missing_extra_is_named(package):
    code = f"import sys; sys.modules['{package}'] = None; import skyhooks.twisted"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert 'pip install "skyhooks[twisted]"' in done.stderr.splitlines()[-1]


FORGETFUL = """
import sys
from skyhooks.twisted import Registry
from twisted.internet import reactor

registry = Registry(sys.argv[1])
d = registry.start()
d.addCallback(lambda _: registry.register({"account": 42}, print))
d.addCallback(lambda _: print("registered", flush=True))
d.addBoth(lambda result: reactor.callLater(0.1, reactor.stop))
reactor.run()
print("ended", flush=True)
"""


def test_a_process_that_forgets_to_stop_its_registry_ends_all_the_same(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FORGETFUL, f"sqlite:///{tmp_path}/a.db"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.split() == ["registered", "ended"]
    assert done.stderr == ""
