"""Several targets over one `requests.Session`, which can only block: a thread for each of them but one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import pytest
import requests

from instances import Heard, Instances
from skyhooks import Notifier, Outcome
from skyhooks._stores import open_store
from skyhooks.testing import Receiver, Reply
from skyhooks.testing.adapter.answers import OK
from skyhooks.testing.adapter.base import KEY, SECONDS, plant


@pytest.fixture
def store_url(tmp_path):
    return f"sqlite:///{tmp_path}/skyhooks.db"


@pytest.fixture
def store(store_url):
    store = open_store(store_url)
    yield store
    store.close()


@pytest.fixture
def instances(store_url):
    with Instances(store_url) as instances:
        yield instances


@pytest.fixture
def notifier(store_url):
    with requests.Session() as session, Notifier(store_url, client=session) as notifier:
        yield notifier


@pytest.fixture
def receivers(store):
    """Two peers that answer as they are told."""
    with Receiver(Reply(body=OK)) as one, Receiver(Reply(body=OK)) as two:
        plant(store, one.url)
        plant(store, two.url)
        yield one, two


def test_all_targets_are_reached_in_the_order_of_the_calls(instances, notifier):
    heard = [Heard() for _ in range(3)]
    for each in heard:
        instances.start(each)
    for number in range(0, 60, 3):
        assert notifier.notify(KEY, number).reached == 3
        handle = notifier.submit(KEY, number + 1)
        (receipt,) = notifier.notify_many([(KEY, number + 2)])
        assert (receipt.reached, handle.result(SECONDS).reached) == (3, 3)
    assert [each.wait_for(60) for each in heard] == [list(range(60))] * 3


def test_threads_share_a_session_and_each_keeps_its_order(instances, notifier):
    heard = [Heard(), Heard()]
    for each in heard:
        instances.start(each)
    threads = [
        threading.Thread(target=lambda name=name: [notifier.notify(KEY, [name, number]) for number in range(30)])
        for name in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    arrived = [each.wait_for(240) for each in heard]
    assert arrived[0] == arrived[1]
    for name in range(8):
        assert [number for who, number in arrived[0] if who == name] == list(range(30))


def test_a_hung_target_does_not_hold_up_the_other(notifier, receivers):
    hung, healthy = receivers
    hung.default = Reply(status=None, end="hang")
    receipt = notifier.notify(KEY, 1, timeout_seconds=1.5)
    by_url = {one.url: one for one in receipt.deliveries}
    assert by_url[hung.url].outcome is Outcome.DEFERRED
    assert by_url[healthy.url].outcome is Outcome.DELIVERED
    assert by_url[healthy.url].elapsed_seconds < 1
    assert len(hung.requests) == 1


def test_crs_a_child_reaches_all_targets_over_connections_of_its_own(notifier, receivers):
    assert notifier.notify(KEY, "parent").reached == 4
    for _ in range(10):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of forks beside threads: that is the point
            pid = os.fork()
        if pid == 0:
            os._exit(notifier.notify(KEY, "child").reached)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4
    assert notifier.notify(KEY, "parent").reached == 4
    for receiver in receivers:
        connections = [one.connection for one in receiver.requests]
        assert connections[0] == connections[-1]
        assert len(set(connections)) == 11


def test_an_exception_out_of_a_signal_ends_the_wait_for_all_and_spoils_nothing(notifier, receivers):
    for receiver in receivers:
        receiver.script(Reply(status=None, end="hang"))
    ready = threading.Thread(target=lambda: [receiver.wait_for(1) for receiver in receivers])
    ready.start()
    threading.Thread(
        target=lambda: (ready.join(SECONDS), signal.pthread_kill(threading.main_thread().ident, signal.SIGINT))
    ).start()
    with pytest.raises(KeyboardInterrupt) as raised:
        notifier.notify(KEY, "cut short")
    (note,) = raised.value.__notes__
    assert all(receiver.url in note for receiver in receivers)
    assert [one.outcome for one in notifier.notify(KEY, "next").deliveries] == [Outcome.DELIVERED] * 2


UNCLOSED = """
import sys
import requests
from skyhooks import Notifier
notifier = Notifier(sys.argv[1], client=requests.Session())
for number in range(3):
    notifier.submit({"account": 42}, number)
print("end", flush=True)
"""


def test_a_notifier_that_was_not_closed_keeps_no_process_alive(store_url, receivers):
    for receiver in receivers:
        receiver.default = Reply(status=None, end="hang")
    began = time.monotonic()
    command = [sys.executable, "-W", "error", "-c", UNCLOSED, store_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")
    assert time.monotonic() - began < 8
