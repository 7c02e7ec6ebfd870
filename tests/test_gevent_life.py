"""What registries and notifiers leave behind under gevent: nothing; and what forks and other threads make of them."""

from __future__ import annotations

import gc
import os
import subprocess
import sys

import gevent
import pytest
import requests
from gevent import Greenlet
from gevent.event import Event
from gevent.exceptions import InvalidThreadUseError
from gevent.threadpool import ThreadPool

from certificates import Certificate
from peers import SECONDS, Peer
from skyhooks import NotStarted
from skyhooks._stores import open_store
from skyhooks._values import Outcome
from skyhooks.gevent import Notifier, Registry
from skyhooks.gevent._operations import THREADS, Operations
from skyhooks.testing.adapter.base import plant

KEY = {"account": 42}


@pytest.fixture(autouse=True)
def limit():
    with gevent.Timeout(60):
        yield


@pytest.fixture
def store_url(tmp_path):
    return f"sqlite:///{tmp_path / 'life.db'}"


def alive():
    """Return what a process holds: descriptors, native threads, greenlets."""
    gc.collect()
    greenlets = sum(isinstance(one, Greenlet) and not one.dead for one in gc.get_objects())
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), greenlets


def use_once(store_url):
    heard = Event()
    with Registry(store_url) as registry, Notifier(store_url) as notifier:
        registry.register(KEY, lambda _: heard.set())
        with registry.subscribe(KEY) as stream:
            assert notifier.notify(KEY, 1).reached == 2
            assert next(stream).data == 1
        assert heard.wait(SECONDS)


@pytest.mark.parametrize("memory", [False, True], ids=["sqlite", "memory"])
def test_nothing_is_left_behind(store_url, memory):
    url = "memory://left" if memory else store_url
    use_once(url)
    before = alive()
    for _ in range(3):
        use_once(url)
    assert alive() == before


def test_no_thread_is_hidden_where_the_store_needs_none():
    before = len(os.listdir("/proc/self/task"))
    with Registry("memory://threads") as registry, Notifier("memory://threads") as notifier:
        registry.register(KEY, lambda _: None)
        assert notifier.notify(KEY, 1).reached == 1
        assert len(os.listdir("/proc/self/task")) == before


def test_failed_start_leaves_nothing_behind(store_url):
    use_once(store_url)
    before = alive()
    for _ in range(3):
        with pytest.raises(Exception, match="does not reach this instance"):
            Registry(store_url, url="http://127.0.0.1:9/").start()
    assert alive() == before


def test_timeout_around_notify_is_the_callers_and_says_what_was_published(store_url):
    store = open_store(store_url)
    with Peer(lambda sock, number: peer.hold()) as peer, Notifier(store_url) as notifier:
        plant(store, peer.url)
        with pytest.raises(gevent.Timeout) as raised, gevent.Timeout(0.3) as mine:
            notifier.notify(KEY, 1)
    assert raised.value is mine
    assert "published; not acknowledged by" in raised.value.__notes__[0]
    store.close()


def test_timeout_around_a_submissions_result_is_an_error_and_it_goes_on(store_url):
    store = open_store(store_url)
    with Peer(lambda sock, number: peer.hold()) as peer, Notifier(store_url, timeout_seconds=0.5) as notifier:
        plant(store, peer.url)
        submission = notifier.submit(KEY, 1)
        with pytest.raises(TimeoutError):
            submission.result(0.05)
        assert [one.outcome for one in submission.result(SECONDS).deliveries] == [Outcome.DEFERRED]
    store.close()


def test_closed_notifier_says_so(store_url):
    notifier = Notifier(store_url)
    notifier.notify(KEY, 1)
    notifier.close()
    notifier.close()
    with pytest.raises(NotStarted, match="closed"):
        notifier.notify(KEY, 1)


def test_unknown_client_is_refused():
    with pytest.raises(TypeError, match=r"requests\.Session"):
        Registry("memory://a", client=object())
    with pytest.raises(TypeError, match=r"requests\.Session"):
        Notifier("memory://a", client=requests.get)


def test_notifier_of_another_threads_hub_says_so(store_url):
    def use():
        with pytest.raises(NotStarted, match="another thread's hub"):
            notifier.notify(KEY, 1)
        gevent.get_hub().destroy()

    pool = ThreadPool(1)
    with Notifier(store_url) as notifier:
        notifier.notify(KEY, 1)
        pool.spawn(use).get()
    pool.kill()


FORKS = """
from gevent import monkey; monkey.patch_all()
import gc, os, sys, gevent
from skyhooks import ForkedRegistry
from skyhooks.gevent._greenlets import Background
from skyhooks.gevent import Notifier, Registry

KEY = {"account": 42}
heard = []
with Registry(sys.argv[1]) as registry, Notifier(sys.argv[1]) as notifier:
    registry.register(KEY, lambda notification: heard.append(notification.data))
    notifier.notify(KEY, "parent")
    children = []
    for number in range(5):
        child = os.fork()
        if child == 0:
            try:
                for verb in (lambda: registry.register(KEY, print), registry.stop, lambda: registry.notify(KEY, 1)):
                    try:
                        verb()
                    except ForkedRegistry:
                        continue
                    os._exit(1)
                receipt = notifier.notify(KEY, f"child {number}")
                notifier.close()
                if [one for one in gc.get_objects() if isinstance(one, Background) and not one.dead]:
                    os._exit(4)  # its parent's heartbeat, say
                os._exit(0 if receipt.reached == 1 else 2)
            except BaseException:
                import traceback; traceback.print_exc()
                os._exit(3)
        children.append(child)
    for child in children:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    notifier.notify(KEY, "end")
    with gevent.Timeout(10):
        while "end" not in heard:
            gevent.sleep(0.01)
    print(sorted(heard))
"""


def test_crs_forked_child_may_notify_and_its_parents_registry_is_left_alone(store_url):
    command = [sys.executable, "-c", FORKS, store_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split("\n")[:5] == ["0"] * 5, done.stderr
    assert "['child 0', 'child 1', 'child 2', 'child 3', 'child 4', 'end', 'parent']" in done.stdout


def test_handshake_that_stalls_is_closed_and_holds_up_nobody(store_url, tmp_path, monkeypatch):
    monkeypatch.setattr("skyhooks.gevent._listener.HEAD_SECONDS", 0.3)
    certificate = Certificate(tmp_path / "localhost.pem").path
    options = {"certfile": certificate, "cafile": certificate}
    with Registry(store_url, **options) as registry, Notifier(store_url, cafile=certificate) as notifier:
        registry.register(KEY, lambda _: None)
        port = int(registry.url.rpartition(":")[2].strip("/"))
        with gevent.socket.create_connection(("127.0.0.1", port), SECONDS) as stalled:
            assert notifier.notify(KEY, 1).reached == 1
            assert stalled.recv(1) == b""


def test_a_registry_is_told_from_another_thread_s_and_goes_on_unharmed(store_url):
    pool = ThreadPool(1)
    with Registry(store_url) as registry:
        for _ in range(6):
            for verb in (lambda: registry.cursor(KEY), lambda: registry.register(KEY, print), registry.stop):
                with pytest.raises(NotStarted, match="another thread's hub"):
                    pool.spawn(verb).get(SECONDS)
        heard = Event()
        registry.register(KEY, lambda _: heard.set())
        assert registry.notify(KEY, 1).reached == 1
        assert heard.wait(SECONDS)
    pool.kill()


def test_a_turn_at_the_store_that_cannot_begin_is_given_back(store_url):
    operations, pool = Operations(open_store(store_url)), ThreadPool(1)
    operations.call(print)
    for _ in range(THREADS + 1):
        with pytest.raises(InvalidThreadUseError):
            pool.spawn(operations.call, print).get(SECONDS)
    assert operations.call(lambda: 42) == 42
    operations.close()
    pool.kill()
