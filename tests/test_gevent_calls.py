"""Callbacks under gevent: in order, each in nobody's way; and stops, whoever asks for them (PROTOCOL 10)."""

from __future__ import annotations

import random
import subprocess
import sys

import gevent
import pytest
from gevent.event import Event
from gevent.queue import Queue

from skyhooks import NotStarted
from skyhooks._stores import open_store
from skyhooks.gevent import Registry

KEY = {"account": 42}
SECONDS = 10.0


@pytest.fixture(autouse=True)
def limit():
    with gevent.Timeout(2 * SECONDS):
        yield


@pytest.fixture
def store(tmp_path):
    return f"sqlite:///{tmp_path / 'life.db'}"


@pytest.fixture
def told():
    return Queue()


@pytest.fixture
def registry(store, told):
    registry = Registry(store, on_error=lambda error, notification: told.put((error, notification)))
    with registry:
        yield registry


def numbers(heard, count):
    return [heard.get(timeout=SECONDS).data for _ in range(count)]


def test_calls_of_a_registration_start_one_after_another(registry):
    heard = []

    def slow(notification):
        heard.append(("begins", notification.data))
        gevent.sleep(0)
        heard.append(("ends", notification.data))
        if notification.data == 2:
            over.set()

    over = Event()
    registry.register(KEY, slow)
    for number in range(3):
        registry.notify(KEY, number)
    assert over.wait(SECONDS)
    assert heard == [(what, number) for number in range(3) for what in ("begins", "ends")]


def test_callback_that_blocks_holds_up_no_other_registration_and_no_answer(registry):
    heard, over = Queue(), Event()
    registry.register(KEY, lambda _: over.wait())
    registry.register(KEY, heard.put)
    registry.register({"account": 43}, lambda _: over.wait())
    assert registry.notify(KEY, 1).reached == 2
    assert numbers(heard, 1) == [1]
    assert registry.notify({"account": 43}, 2).reached == 1
    assert registry.notify(KEY, 3).reached == 2
    assert numbers(heard, 1) == [3]
    over.set()


def test_a_crowd_of_callbacks_that_return_at_once_is_called_by_one_greenlet(registry):
    callers, heard = set(), Queue()

    def callback(notification):
        callers.add(gevent.getcurrent())
        heard.put(notification)

    for _ in range(100):
        registry.register(KEY, callback)
    registry.notify(KEY, 1)
    assert numbers(heard, 100) == [1] * 100
    assert len(callers) == 1


@pytest.mark.parametrize("error", [ValueError, gevent.GreenletExit, gevent.Timeout], ids=lambda error: error.__name__)
def test_callback_that_raises_is_told_and_counted_and_the_next_call_starts(registry, told, error):
    heard = Queue()

    def raises(notification):
        heard.put(notification)
        raise error

    registry.register(KEY, raises)
    registry.register(KEY, heard.put)
    for number in (1, 2):
        registry.notify(KEY, number)
    assert sorted(numbers(heard, 4)) == [1, 1, 2, 2]
    errors = [told.get(timeout=SECONDS) for _ in range(2)]
    assert [(type(raised), notification.data) for raised, notification in errors] == [(error, 1), (error, 2)]
    assert registry.counts["callback_errors"] == 2


def test_greenlet_that_a_callback_returns_is_adopted_and_its_failure_told(registry, told, capfd):
    def fails(notification):
        raise LookupError("nothing")

    registry.register(KEY, lambda notification: gevent.spawn(fails, notification))
    registry.notify(KEY, 1)
    error, notification = told.get(timeout=SECONDS)
    assert (type(error), notification.data) == (LookupError, 1)
    assert "LookupError" in capfd.readouterr().err  # the hub's own habit, for a greenlet of the user's


def test_stop_waits_for_what_callbacks_have_begun(store):
    begun, over, ended = Event(), Event(), []

    def goes_on():
        over.wait()
        ended.append(True)

    def begin(_):
        begun.set()
        return gevent.spawn(goes_on)

    registry = Registry(store)
    registry.start()
    registry.register(KEY, begin)
    registry.notify(KEY, 1)
    assert begun.wait(SECONDS)
    stop = gevent.spawn(registry.stop)
    gevent.spawn(over.set)
    stop.get(timeout=SECONDS)
    assert ended == [True]


def test_stop_kills_the_callbacks_that_do_not_end_in_time(store, caplog):
    begun, killed = Event(), Event()

    def blocks(_):
        begun.set()
        try:
            Event().wait()
        except gevent.GreenletExit:
            killed.set()
            raise

    registry = Registry(store)
    registry.start()
    registry.register(KEY, blocks)
    registry.notify(KEY, 1)
    assert begun.wait(SECONDS)
    registry.stop(drain_seconds=0.1)
    assert killed.is_set()
    assert "1 callbacks had not ended" in caplog.text


def test_coroutine_that_a_callback_returns_is_told_as_a_mistake(registry, told):
    async def callback(_):
        raise AssertionError("never run")

    registry.register(KEY, callback)
    registry.notify(KEY, 1)
    error, _ = told.get(timeout=SECONDS)
    assert isinstance(error, TypeError)
    assert "give a plain function" in str(error)


def test_on_error_may_block_or_fail_and_holds_up_nobody(store, caplog):
    heard, over = Queue(), Event()

    def on_error(error, _):
        over.wait()
        raise error

    def fails(notification):
        heard.put(notification)
        raise LookupError("nothing")

    with Registry(store, on_error=on_error) as registry:
        registry.register(KEY, fails)
        for number in (1, 2):
            registry.notify(KEY, number)
        assert numbers(heard, 2) == [1, 2]
        over.set()
        gevent.sleep(0.05)
    assert caplog.text.count("on_error itself failed") == 2


def test_registration_that_is_ended_while_calls_are_due_is_called_no_more(registry):
    heard, begun, over = [], Event(), Event()

    def callback(notification):
        heard.append(notification.data)
        begun.set()
        over.wait()

    registration = registry.register(KEY, callback)
    for number in range(3):
        registry.notify(KEY, number)
    assert begun.wait(SECONDS)
    registry.unregister(registration)
    over.set()
    gevent.sleep(0.01)
    assert heard == [0]


def test_whatever_blocks_each_registration_is_called_in_order_and_once_at_a_time(registry):
    draw = random.Random(7)
    heard = {number: [] for number in range(20)}
    busy = set()

    def callback(name):
        def call(notification):
            assert name not in busy
            busy.add(name)
            if draw.random() < 0.3:
                gevent.sleep(draw.choice((0, 0.0005, 0.002)))
            busy.discard(name)
            heard[name].append(notification.data)

        return call

    for name in heard:
        registry.register(KEY, callback(name))
    gevent.joinall([gevent.spawn(registry.notify, KEY, number, ephemeral=True) for number in range(200)])
    while any(len(one) < 200 for one in heard.values()):
        gevent.sleep(0.005)
    orders = {tuple(one) for one in heard.values()}
    assert len(orders) == 1
    assert sorted(orders.pop()) == list(range(200))
    assert registry.counts["callback_errors"] == 0


@pytest.mark.parametrize("blocks", [False, True], ids=["at once", "after a while"])
def test_what_ends_the_interpreter_but_is_caught_loses_no_call(registry, blocks):
    heard = Queue()

    def leave(notification):
        heard.put(notification)
        if notification.data == 1:
            if blocks:
                gevent.sleep(0.05)
            raise SystemExit

    registry.register(KEY, leave)
    registry.register(KEY, heard.put)
    receipts = [gevent.spawn(registry.notify, KEY, number) for number in (1, 2)]
    with pytest.raises(SystemExit):
        gevent.sleep(SECONDS)
    gevent.joinall(receipts)
    assert sorted(numbers(heard, 4)) == [1, 1, 2, 2]


def test_worker_that_is_killed_leaves_its_calls_to_the_next(registry):
    heard, workers = Queue(), []

    def callback(notification):
        workers.append(gevent.getcurrent())
        heard.put(notification)
        if notification.data == 1:
            Event().wait()

    registry.register(KEY, callback)
    for number in (1, 2):
        registry.notify(KEY, number)
    assert numbers(heard, 1) == [1]
    workers[0].kill(block=False)
    assert numbers(heard, 1) == [2]


# -- stops --------------------------------------------------------------------------------------------


def test_stop_from_a_callback_is_not_waited_for_by_itself(store):
    both, stopped = Event(), Event()

    def stop(_):
        both.wait()
        registry.stop()
        stopped.set()

    registry = Registry(store)
    registry.start()
    registry.register(KEY, stop)
    for number in (1, 2):
        registry.notify(KEY, number)
    both.set()
    assert stopped.wait(2.0)
    assert open_store(store).instances() == []


def test_stop_whose_caller_is_killed_goes_on(store):
    registry = Registry(store)
    registry.start()
    stream = registry.subscribe(KEY)
    stream.__enter__()
    caller = gevent.spawn(registry.stop, 0.3)
    gevent.sleep(0.05)
    caller.kill()
    assert len(open_store(store).instances()) == 1
    registry.stop()
    assert open_store(store).instances() == []
    stream.__exit__(None, None, None)


def test_stops_at_once_are_one_stop(store):
    registry = Registry(store)
    registry.start()
    gevent.joinall([gevent.spawn(registry.stop, 0.2) for _ in range(3)], raise_error=True)
    assert open_store(store).instances() == []
    with pytest.raises(NotStarted):
        registry.notify(KEY, 1)


def test_start_that_is_timed_out_leaves_nothing_and_may_be_repeated(store):
    registry = Registry(store)
    with gevent.Timeout(0, False):
        registry.start()
    assert open_store(store).instances() == []
    registry.start()
    assert len(open_store(store).instances()) == 1
    registry.stop()


def test_timeout_around_the_next_item_of_a_stream_loses_nothing(registry):
    with registry.subscribe(KEY) as stream:
        with gevent.Timeout(0.05, False):
            next(stream)
        registry.notify(KEY, 1)
        assert next(stream).data == 1


def test_killed_registration_is_none(registry, store):
    greenlets = [gevent.spawn(registry.register, KEY, lambda _: None) for _ in range(5)]
    gevent.sleep(0)
    gevent.killall(greenlets)
    assert registry.notify(KEY, 1).reached == 0


# -- streams ------------------------------------------------------------------------------------------


def test_stream_knows_where_it_is_before_and_after_it_is_read(registry):
    with registry.subscribe(KEY) as stream:
        at_first = stream.cursor
        registry.notify(KEY, 1)
        assert next(stream).cursor == stream.cursor != at_first
    with registry.subscribe(KEY, since=at_first) as again:
        assert again.cursor == at_first
        assert next(again).data == 1


def test_stream_that_is_misused_says_how_it_is_used(registry):
    stream = registry.subscribe(KEY)
    with pytest.raises(NotStarted, match=r"with registry\.subscribe"):
        next(stream)
    with stream, pytest.raises(RuntimeError, match=r"call registry\.subscribe\(\) again"):
        stream.__enter__()
    with pytest.raises(ValueError, match="max_pending"):
        registry.subscribe(KEY, max_pending=0)


def test_stream_ends_when_the_registry_stops(store):
    registry = Registry(store)
    registry.start()
    with registry.subscribe(KEY) as stream:
        reader = gevent.spawn(list, stream)
        registry.notify(KEY, 1)
        registry.stop(drain_seconds=0.2)
        assert [item.data for item in reader.get(timeout=SECONDS)] == [1]


def test_greenlet_that_on_error_returns_is_adopted(store, caplog):
    def fails(*_):
        raise LookupError("nothing")

    with Registry(store, on_error=lambda *_: gevent.spawn(fails)) as registry:
        registry.register(KEY, fails)
        registry.notify(KEY, 1)
        gevent.sleep(0.05)
    assert "on_error itself failed" in caplog.text


ENDS = """
from gevent import monkey; monkey.patch_all()
import gevent, sys
from skyhooks.gevent import Registry

def leave(_):
    raise SystemExit(7)

with Registry(sys.argv[1]) as registry:
    registry.register({"account": 42}, leave)
    registry.notify({"account": 42}, 1)
    gevent.sleep(10)
"""


def test_system_exit_in_a_callback_ends_the_program_as_in_any_greenlet(store):
    done = subprocess.run([sys.executable, "-c", ENDS, store], capture_output=True, timeout=60, check=False)
    assert done.returncode == 7
