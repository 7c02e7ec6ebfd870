"""The blocking notifier beside real instances: its verbs, its queue, its store's troubles, what interrupts it."""

from __future__ import annotations

import math
import signal
import threading
import time

import apsw
import pytest

from hostile import Server
from instances import Heard, Instances
from processes import until
from skyhooks import InvalidData, InvalidKey, Notifier, NotStarted, Outcome, QueueFull, StoreUnavailable
from skyhooks._stores import open_store
from skyhooks.testing.adapter.base import KEY, SECONDS, closed_port, outcomes, plant

THREADS = 8
EACH = 100


@pytest.fixture
def path(tmp_path):
    return tmp_path / "skyhooks.db"


@pytest.fixture
def store_url(path):
    return f"sqlite:///{path}"


@pytest.fixture
def instances(store_url):
    with Instances(store_url) as instances:
        yield instances


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def notifier(store_url):
    with Notifier(store_url) as notifier:
        yield notifier


def in_threads(work, count=THREADS):
    """Run work(0), work(1), … at once, and return what they returned or raised."""
    results = [None] * count

    def one(number):
        try:
            results[number] = work(number)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test judges it
            results[number] = error

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return results


# -- order ----------------------------------------------------------------------------------------


def send_mixed(notifier, items):
    """Send by one verb after the other; return whatever has yet to be waited for."""
    handles = []
    for number, item in enumerate(items):
        if number % 5 == 0:
            assert notifier.notify(KEY, item).ok
        elif number % 5 == 3:
            assert all(receipt.ok for receipt in notifier.notify_many([(KEY, item)]))
        else:
            handles.append(notifier.submit(KEY, item))
    return handles


def test_what_one_thread_sends_by_all_verbs_arrives_in_the_order_of_its_calls(instances, heard, notifier):
    instances.start(heard)
    handles = send_mixed(notifier, range(200))
    assert heard.wait_for(200) == list(range(200))
    assert {handle.result(SECONDS).reached for handle in handles} == {1}


def test_all_that_many_threads_send_arrives_once_and_in_the_order_of_each(instances, heard, notifier):
    other = Heard()
    instances.start(heard)
    instances.start(other)
    in_threads(lambda thread: send_mixed(notifier, [[thread, number] for number in range(EACH)]))
    arrived = heard.wait_for(THREADS * EACH)
    assert other.wait_for(THREADS * EACH) == arrived
    for thread in range(THREADS):
        assert [number for who, number in arrived if who == thread] == list(range(EACH))


def test_many_more_than_one_trip_takes_keep_their_order_among_others(instances, heard, notifier):
    instances.start(heard)
    notifier.submit(KEY, "before")
    receipts = notifier.notify_many((KEY, number) for number in range(1200))
    notifier.notify(KEY, "after")
    assert heard.wait_for(1202) == ["before", *range(1200), "after"]
    assert {receipt.reached for receipt in receipts} == {1}


# -- the queue ------------------------------------------------------------------------------------


class Gate:
    """A target that answers nobody until it is opened."""

    def __init__(self, store):
        self.opened = threading.Event()
        self.server = Server(self._answer, often=True)
        plant(store, f"http://127.0.0.1:{self.server.port}/")

    def _answer(self, sock):
        assert self.opened.wait(SECONDS)
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


@pytest.fixture
def store(store_url):
    store = open_store(store_url)
    yield store
    store.close()


@pytest.fixture
def gate(store):
    gate = Gate(store)
    with gate.server:
        yield gate
        gate.opened.set()


def test_a_full_queue_refuses_or_waits_until_there_is_room(store_url, gate):
    with Notifier(store_url, max_pending_bytes=3000) as notifier:
        first = notifier.submit(KEY, "x" * 2500)
        gate.server.wait_for_requests(1)
        with pytest.raises(QueueFull, match="3000 bytes"):
            notifier.submit(KEY, "x" * 2500, block=False)
        waiting = threading.Thread(target=notifier.submit, args=(KEY, "x" * 2500))
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
        gate.opened.set()
        waiting.join(SECONDS)
        assert first.done
        assert not waiting.is_alive()
        assert notifier.flush(SECONDS)


def test_many_who_wait_for_room_all_get_it(store_url, instances, heard):
    instances.start(heard)
    with Notifier(store_url, max_pending_bytes=1000) as notifier:
        handles = in_threads(lambda thread: [notifier.submit(KEY, [thread, "x" * 300]) for _ in range(20)])
        assert {one.result(SECONDS).reached for each in handles for one in each} == {1}
    assert len(heard.wait_for(THREADS * 20)) == THREADS * 20


def test_a_flush_whose_time_runs_out_says_so_and_what_was_queued_goes_on(notifier, gate):
    handle = notifier.submit(KEY, 1)
    assert not notifier.flush(0.05)
    with pytest.raises(TimeoutError, match="still on its way"):
        handle.result(0.05)
    assert not handle.done
    gate.opened.set()
    assert notifier.flush(SECONDS)
    assert handle.result(0).ok


@pytest.mark.parametrize("wait", ["notify", "result", "flush"])
def test_waiting_may_have_no_limit(notifier, gate, wait):
    """What is sent behind the first does not lead its trip, so it is waited for."""
    first = notifier.submit(KEY, 1)
    gate.server.wait_for_requests(1)
    threading.Timer(0.1, gate.opened.set).start()
    if wait == "notify":
        assert notifier.notify(KEY, 2, timeout_seconds=math.inf).ok
    elif wait == "result":
        assert first.result(math.inf).ok
    else:
        assert notifier.flush(math.inf)


def test_who_is_interrupted_while_he_waits_for_room_leaves_nothing_behind(store_url, gate):
    with Notifier(store_url, max_pending_bytes=3000) as notifier:
        first = notifier.submit(KEY, "x" * 2500)
        gate.server.wait_for_requests(1)
        threading.Timer(0.1, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt) as raised:
            notifier.submit(KEY, "x" * 2500, id="task-17")
        assert "task-17 was given up, not known to be published" in raised.value.__notes__[0]
        gate.opened.set()
        assert first.result(SECONDS).ok
        assert notifier.submit(KEY, "next", block=False).result(SECONDS).ok
        assert notifier.flush(0)


def test_what_is_submitted_at_once_for_an_instance_that_takes_little_arrives_whole(instances, heard, notifier):
    instances.start(heard, max_body_bytes=4096)
    data = [[number, "x" * 300] for number in range(50)]
    handles = [notifier.submit(KEY, one) for one in data]
    assert heard.wait_for(50) == data
    assert {handle.result(SECONDS).deliveries[0].outcome for handle in handles} == {Outcome.DELIVERED}


# -- its life -------------------------------------------------------------------------------------


def test_closing_sends_what_is_queued_and_then_everything_is_refused(store_url, instances, heard):
    instances.start(heard)
    with Notifier(store_url) as notifier:
        handles = [notifier.submit(KEY, number) for number in range(30)]
    assert heard.wait_for(30) == list(range(30))
    assert all(handle.result(0).reached == 1 for handle in handles)
    verbs = [lambda: notifier.notify(KEY, 1), lambda: notifier.notify_many([]), lambda: notifier.submit(KEY, 1)]
    for verb in [*verbs, lambda: notifier.interest(KEY), notifier.flush]:
        with pytest.raises(NotStarted):
            verb()
    notifier.close()


def test_a_notifier_that_was_never_used_touches_nothing_and_closes(store_url, path):
    with Notifier(store_url):
        pass
    assert not path.exists()


def test_closing_ends_threads_and_connections(store_url, instances):
    instances.start()
    before = set(threading.enumerate())
    notifier = Notifier(store_url)
    in_threads(lambda thread: notifier.submit(KEY, thread))
    notifier.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(SECONDS)
        assert not thread.is_alive(), thread


BAD_CALLS = {
    "a key that is no mapping": (InvalidKey, {"keys": "account=42"}),
    "no key": (InvalidKey, {"keys": {}}),
    "a bool for a key": (InvalidKey, {"keys": {"account": True}}),
    "bytes for data": (InvalidData, {"data": b"x"}),
    "an id that is empty": (InvalidData, {"id": ""}),
    "an id that is no text": (InvalidData, {"id": 17}),
    "no time": (ValueError, {"timeout_seconds": 0}),
    "less than no time": (ValueError, {"timeout_seconds": -1.0}),
    "a time that is no number": (ValueError, {"timeout_seconds": float("nan")}),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_bad_arguments_are_refused_before_the_store_is_touched(notifier, path, case):
    error, bad = BAD_CALLS[case]
    with pytest.raises(error):
        notifier.notify(**{"keys": KEY, "data": 1, **bad})
    assert not path.exists()


@pytest.mark.parametrize("name", ["timeout_seconds", "max_connections", "max_pending_bytes"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_notifier_without_time_or_room_is_refused(store_url, name, value):
    with pytest.raises(ValueError, match=f"{name} must be above 0"):
        Notifier(store_url, **{name: value})


def test_what_is_no_session_is_no_client(store_url):
    pytest.importorskip("requests")
    with pytest.raises(TypeError, match=r"takes a requests\.Session here, not object"):
        Notifier(store_url, client=object())


# -- who is rung ----------------------------------------------------------------------------------


def test_who_took_the_place_of_a_dead_one_says_that_it_is_gone(instances, notifier, store, monkeypatch):
    monkeypatch.setattr("skyhooks._targets.KNOWN_SECONDS", 60.0)
    address = f"127.0.0.1:{closed_port()}"
    dead = plant(store, f"http://{address}/")
    assert outcomes(notifier.notify(KEY, "nobody answers", ephemeral=True)) == [Outcome.LOST]
    successor = instances.start(listen=address)
    receipt = notifier.notify(KEY, "somebody else answers", ephemeral=True)
    assert [(one.instance_id, one.outcome) for one in receipt.deliveries] == [(dead.instance_id, Outcome.GONE)]
    assert [one.instance_id for one in notifier.notify(KEY, "kept").deliveries] == [successor.instance_id]


def test_interest_names_who_would_be_rung(instances, notifier):
    one, two = instances.start(), instances.start(keys={"account": [42, 43]})
    assert {each.url for each in notifier.interest(KEY)} == {one.url, two.url}
    assert [each.instance_id for each in notifier.interest({"account": 43})] == [two.instance_id]
    assert notifier.interest({"account": 44}) == []


# -- store trouble --------------------------------------------------------------------------------


@pytest.fixture
def locked(notifier, path):
    """The store's file, made and then locked by a stranger."""
    notifier.notify(KEY, "made")
    stranger = apsw.Connection(str(path))
    stranger.execute("BEGIN EXCLUSIVE")
    yield stranger
    stranger.close()


def test_6_sql_who_waits_for_a_locked_store_is_told_within_3_s_however_many_wait(notifier, locked):
    began = time.monotonic()
    verbs = [lambda: notifier.notify(KEY, 1), lambda: notifier.notify_many([(KEY, 1), (KEY, 2)])]
    raised = in_threads(lambda number: verbs[number % 2]())
    assert time.monotonic() - began < 3.5
    assert [type(one) for one in raised] == [StoreUnavailable] * THREADS
    locked.execute("ROLLBACK")
    assert notifier.notify(KEY, 3).nobody


def test_6_sql_what_was_submitted_to_a_locked_store_fails_alone_and_is_logged(notifier, locked, caplog):
    handle = notifier.submit(KEY, 1)
    assert notifier.flush(SECONDS)
    with pytest.raises(StoreUnavailable):
        handle.result(0)
    until(lambda: "a submitted notification was not published" in caplog.text)
    locked.execute("ROLLBACK")
    assert notifier.submit(KEY, 2).result(SECONDS).nobody


def test_5_a_job_that_failed_and_runs_again_under_its_id_is_one_job(instances, heard, notifier, path):
    instances.start(heard)
    first = [notifier.notify(KEY, "result", id="task-17") for _ in range(2)]
    assert [receipt.duplicate for receipt in first] == [False, True]
    (again,) = {receipt.reached for receipt in first}
    notifier.notify(KEY, "end")
    assert (again, heard.wait_for(2)) == (1, ["result", "end"])
