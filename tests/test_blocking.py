"""The blocking notifier: the suite of all adapters, then threads, forks, signals and the end of a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import pytest

from adapters import BlockingAdapter
from skyhooks import Notifier, Outcome
from skyhooks._stores import open_store
from skyhooks.testing import AdapterConformance, Receiver, Reply
from skyhooks.testing.adapter.answers import OK
from skyhooks.testing.adapter.base import KEY, plant

FORKS = 50


class TestBlocking(AdapterConformance):
    @pytest.fixture
    def adapter(self, store_url):
        return BlockingAdapter(store_url)


@pytest.fixture
def store_url(tmp_path):
    return f"sqlite:///{tmp_path}/skyhooks.db"


@pytest.fixture
def store(store_url):
    store = open_store(store_url)
    yield store
    store.close()


@pytest.fixture
def receiver(store):
    with Receiver(Reply(body=OK)) as receiver:
        plant(store, receiver.url)
        yield receiver


@pytest.fixture
def notifier(store_url):
    with Notifier(store_url) as notifier:
        yield notifier


def items_of(receiver):
    """The data of all that was POSTed, in order."""
    return [item["data"] for one in receiver.requests for item in json.loads(one.body)["notifications"]]


def forked(work):
    """Run work in a forked child, and say whether it went well."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of forks beside threads: that is the point
        pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if work() else 1)
        except BaseException:  # noqa: BLE001 - whatever it is, the child must end
            os._exit(2)
    return os.waitpid(pid, 0)[1] == 0


# -- threads --------------------------------------------------------------------------------------


def test_many_threads_share_a_notifier_and_each_keeps_its_order(notifier, receiver):
    def send(name):
        for number in range(40):
            assert notifier.notify(KEY, [name, number]).ok

    threads = [threading.Thread(target=send, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    for name in range(8):
        assert [number for who, number in items_of(receiver) if who == name] == list(range(40))


def test_what_threads_submit_goes_out_together_and_flush_waits_for_it(notifier, receiver):
    handles = []

    def send(name):
        handles.extend(notifier.submit(KEY, [name, number]) for number in range(100))

    threads = [threading.Thread(target=send, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert notifier.flush(20)
    assert {handle.result(0).deliveries[0].outcome for handle in handles} == {Outcome.DELIVERED}
    assert len(items_of(receiver)) == 400
    assert len(receiver.requests) < 200


def test_close_sends_what_was_submitted(store_url, receiver):
    with Notifier(store_url) as notifier:
        for number in range(50):
            notifier.submit(KEY, number)
    assert items_of(receiver) == list(range(50))


# -- forks ----------------------------------------------------------------------------------------


def test_crs_children_notify_over_connections_of_their_own_and_the_parent_goes_on(notifier, receiver):
    assert notifier.notify(KEY, "parent").reached == 2
    for number in range(FORKS):
        assert forked(lambda number=number: notifier.notify(KEY, number).reached == 2)
    assert notifier.notify(KEY, "parent").reached == 2
    connections = [one.connection for one in receiver.requests]
    assert items_of(receiver) == ["parent", *range(FORKS), "parent"]
    assert len(set(connections)) == FORKS + 1
    assert connections[0] == connections[-1]


def test_crs_a_child_of_a_busy_parent_is_not_stuck_on_its_locks(notifier, receiver):
    stop = threading.Event()

    def send():
        while not stop.is_set():
            notifier.notify(KEY, "busy")

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        receiver.wait_for(5)
        assert all(forked(lambda: notifier.notify(KEY, "child").reached == 2) for _ in range(10))
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert items_of(receiver).count("child") == 10


def test_what_the_parent_has_queued_stays_the_parent_s(notifier, receiver):
    receiver.script(Reply(body=OK, delay_seconds=0.5))
    for number in range(10):
        notifier.submit(KEY, number)
    receiver.wait_for(1)
    assert forked(lambda: notifier.flush(5) and notifier.notify(KEY, "child").reached == 2)
    assert notifier.flush(10)
    assert sorted(map(str, items_of(receiver))) == [*map(str, range(10)), "child"]


# -- signals --------------------------------------------------------------------------------------


class Alarm(Exception):
    pass


@pytest.fixture
def alarm():
    """Sets an alarm that raises in whatever the main thread is doing."""

    def ring(*_):
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_an_exception_out_of_a_signal_ends_notify_at_once_says_what_was_not_sent_and_spoils_nothing(
    notifier, receiver, alarm
):
    receiver.script(Reply(status=None, end="hang"))
    began = time.monotonic()
    alarm(0.3)
    with pytest.raises(Alarm) as raised:
        notifier.notify(KEY, "cut short")
    assert time.monotonic() - began < 1.3
    assert any("published" in note and receiver.url in note for note in raised.value.__notes__)
    assert notifier.notify(KEY, "next").reached == 2
    assert notifier.submit(KEY, "last").result(5).reached == 2
    assert items_of(receiver)[0] == "cut short"
    assert items_of(receiver)[-2:] == ["next", "last"]


def test_many_alarms_at_any_moment_leave_everything_usable(notifier, receiver, alarm):
    rung = 0
    for number in range(150):
        alarm(0.0002 + number * 0.00002)
        try:
            notifier.notify(KEY, number, id=f"task-{number}")
            alarm(0)
        except Alarm:
            rung += 1
    assert rung > 10
    assert [notifier.notify(KEY, number, id=f"task-{number}").ok for number in range(150)] == [True] * 150
    assert notifier.flush(5)
    assert set(items_of(receiver)) == set(range(150))


def test_a_keyboard_interrupt_ends_a_wait_and_the_rest_goes_on(notifier, receiver):
    receiver.script(Reply(status=None, end="hang"))
    main = threading.main_thread().ident
    timer = threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        notifier.notify(KEY, "cut short")
    timer.join()
    assert notifier.notify(KEY, "next").reached == 2


# -- the end of a process -------------------------------------------------------------------------

UNCLOSED = """
import sys
from skyhooks import Notifier
notifier = Notifier(sys.argv[1])
notifier.submit({"account": 42}, "queued")
while not notifier.interest({"account": 42}):
    pass
print("end", flush=True)
"""


def test_a_notifier_that_was_not_closed_keeps_no_process_alive(store_url, receiver):
    receiver.default = Reply(status=None, end="hang")
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", UNCLOSED, store_url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")
    assert time.monotonic() - began < 8
