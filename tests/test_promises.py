"""The seven promises, with real processes and real kills, on public names alone (DESIGN section 3)."""

from __future__ import annotations

import shutil
import signal
import time

import pytest

from processes import FRAMEWORKS, Browser, Job, Proxy, Web, free_port, run_job, until
from skyhooks import Notifier, StoreUnavailable

KEYS = {"account": 42}
HEARTBEAT_SECONDS = 0.5
"""As the web processes here are given it; a tenth more, by its jitter."""
PATIENCE_SECONDS = 4.0
"""What a heartbeat and a busy machine may take together."""


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / "store"
    path.mkdir()
    return path


@pytest.fixture
def store(directory):
    return f"sqlite:///{directory}/skyhooks.db"


@pytest.fixture(params=FRAMEWORKS)
def start(request, store):
    """Starts processes of a kind, web processes of each framework, and ends them with the test."""
    running = []

    def start(kind, *args, **options):
        more = {"framework": request.param} if kind is Web else {}
        process = kind(store, *args, **more, **options)
        running.append(process)
        return process

    yield start
    for process in running:
        process.end()


@pytest.fixture
def proxy():
    proxy = Proxy()
    yield proxy
    proxy.close()


def behind(proxy, start, *args, **options):
    """Start a web process that jobs reach only through the proxy."""
    proxy.target = free_port()
    return start(Web, *args, listen=f"127.0.0.1:{proxy.target}", advertise=proxy.url, **options)


# -- 1. everyone who waits gets it, once, in order ------------------------------------------------


def test_1_crs_a_job_that_is_killed_right_after_publishing_has_told_everyone(start):
    webs = [start(Web, ["a", "b"]) for _ in range(2)]
    job = start(Job, [("result", {})], die_at=1)
    assert job.wait_for_end() == -signal.SIGKILL
    for web in webs:
        for name in "ab":
            web.wait_for_data(name, ["result"], PATIENCE_SECONDS)
    assert not job.receipts


def test_1_crs_an_instance_that_is_killed_takes_nothing_from_the_others(start, store):
    stays, dies = start(Web, ["a"]), start(Web, ["a"])
    job = start(Job, [(number, {}) for number in range(300)])
    dies.wait(lambda: len(dies.data("a")) >= 20)
    dies.kill()
    stays.wait_for_data("a", list(range(300)))
    assert job.wait_for_end() == 0
    assert dies.data("a") == list(range(len(dies.data("a"))))
    assert all(receipt["ok"] for receipt in job.receipts)
    with Notifier(store) as notifier:
        until(lambda: [one.instance_id for one in notifier.interest(KEYS)] == [stays.instance_id])


def test_1_posts_that_are_all_lost_delay_but_do_not_lose(start, store, proxy):
    web = behind(proxy, start, ["a"])
    proxy.mode = "swallow"
    receipts = run_job(store, [(number, {"timeout_seconds": 0.3}) for number in range(3)])
    web.wait_for_data("a", [0, 1, 2], PATIENCE_SECONDS)
    assert [list(receipt["outcomes"].values()) for receipt in receipts] == [["deferred"]] * 3
    assert proxy.swallowed
    proxy.mode = "forward"
    proxy.cut()
    assert run_job(store, [(3, {})])[0]["reached"] == 1
    web.wait_for_data("a", [0, 1, 2, 3])


def test_1_all_see_the_notifications_of_several_jobs_in_one_order(start):
    webs = [start(Web, ["a", "b"]) for _ in range(2)]
    jobs = [start(Job, [([name, number], {}) for number in range(60)]) for name in range(3)]
    for job in jobs:
        assert job.wait_for_end() == 0
    for web in webs:
        web.wait(lambda web=web: len(web.data("a")) >= 180 and len(web.data("b")) >= 180)
    sequences = [web.data(name) for web in webs for name in "ab"]
    assert all(sequence == sequences[0] for sequence in sequences)
    for name in range(3):
        assert [number for who, number in sequences[0] if who == name] == list(range(60))


# -- 2. the late get it too -----------------------------------------------------------------------


def test_2_a_browser_that_comes_back_to_another_process_goes_on_where_it_was(start, store):
    first, second = start(Web), start(Web)
    browser = Browser()
    run_job(store, [(number, {}) for number in range(5)])
    browser.read(first.port, 3)
    first.kill()
    run_job(store, [(number, {}) for number in range(5, 8)])
    browser.read(second.port, 8)
    assert browser.messages == list(range(8))


def test_2_a_job_that_ends_before_the_browser_connects_is_not_lost(start, store):
    web, other = start(Web), start(Web)
    cursor = web.ask("cursor", "cursor", keys=KEYS)["cursor"]
    run_job(store, [("fast", {})])
    other.register("a", since=cursor)
    other.register("b", since="start")
    other.register("c")
    run_job(store, [("end", {})])
    for name, data in {"a": ["fast", "end"], "b": ["fast", "end"], "c": ["end"]}.items():
        other.wait_for_data(name, data)


# -- 3. the job knows, and 4. outcomes are few and exact ------------------------------------------


def test_3_a_receipt_names_every_target_with_its_outcome_and_counts_callbacks(start, store):
    two, dead, pulls = start(Web, ["a", "b"]), start(Web, ["a"], lease_seconds=60.0), start(Web, ["a"], listen=None)
    dead.kill()
    (receipt,) = run_job(store, [("result", {})])
    assert receipt["outcomes"] == {
        two.instance_id: "delivered",
        dead.instance_id: "deferred",
        pulls.instance_id: "deferred",
    }
    assert (receipt["reached"], receipt["ok"], receipt["nobody"]) == (2, True, False)
    pulls.wait_for_data("a", ["result"])


def test_3_a_job_whom_nobody_listens_to_knows(start, store):
    web = start(Web, ["a"])
    assert web.ask("stop", "stopped") is not None
    assert [receipt["nobody"] for receipt in run_job(store, [("result", {})])] == [True]


# -- 5. running a job twice is safe ---------------------------------------------------------------


def test_5_crs_a_job_that_is_killed_between_two_posts_and_run_again_is_one_job(start, store, proxy):
    near, far = start(Web, ["a"]), behind(proxy, start, ["a"])
    proxy.mode = "swallow"
    job = start(Job, [("result", {"id": "task-17:success"})])
    near.wait_for_data("a", ["result"])
    job.kill()
    proxy.mode = "forward"
    proxy.cut()
    (receipt,) = run_job(store, [("result", {"id": "task-17:success"})])
    run_job(store, [("end", {})])
    for web in (near, far):
        web.wait_for_data("a", ["result", "end"])
    assert (receipt["duplicate"], receipt["reached"]) == (True, 2)


# -- 6. store trouble is loud ---------------------------------------------------------------------


def refuses_within_3_s(notifier):
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        notifier.notify(KEYS, "lost")
    assert time.monotonic() - began < 3.5


def test_6_crs_a_store_that_is_moved_away_and_back_has_lost_nothing(start, store, directory):
    web = start(Web, ["a"])
    with Notifier(store) as notifier:
        notifier.notify(KEYS, 0)
        directory.rename(directory.with_name("away"))
        refuses_within_3_s(notifier)
        assert web.ask("register", "refused", name="b", keys=KEYS)["error"] == "StoreUnavailable"
        directory.with_name("away").rename(directory)
        assert until(lambda: notify(notifier, 1)).reached == 1
    web.wait_for_data("a", [0, 1])


def notify(notifier, data):
    try:
        return notifier.notify(KEYS, data, id=f"data-{data}")
    except StoreUnavailable:
        return None


def test_6_crs_after_longer_than_a_lease_all_hooks_are_rewritten_and_what_was_missed_arrives(start, store, directory):
    web, other = start(Web, ["a", "b"]), start(Web, ["a"])
    with Notifier(store) as notifier:
        notifier.notify(KEYS, 0)
        away = directory.rename(directory.with_name("away"))
        until_lease_is_over = time.monotonic() + 2.5
        until(lambda: time.monotonic() > until_lease_is_over)
        away.rename(directory)
        until(lambda: notify(notifier, 1))
        until(lambda: len(notifier.interest(KEYS)) == 2)
        assert notifier.notify(KEYS, 2).reached == 3
    for process, name in ((web, "a"), (web, "b"), (other, "a")):
        process.wait_for_data(name, [0, 1, 2])


def test_6_crs_instances_join_a_wiped_store_and_say_that_there_is_a_gap(start, store, directory):
    webs = [start(Web, ["a"]) for _ in range(2)]
    run_job(store, [("old", {})])
    shutil.rmtree(directory)
    directory.mkdir()
    with Notifier(store) as notifier:
        until(lambda: notify(notifier, "unheard or not"))
        until(lambda: len(notifier.interest(KEYS)) == 2)
        assert notifier.notify(KEYS, "new").reached == 2
    for web in webs:
        web.wait(lambda web=web: "new" in web.data("a"))
        assert web.data("a") in (["old", "new"], ["old", "unheard or not", "new"])
        assert [gap["reason"] for gap in web.of("gap")] == ["restarted"]


# -- 7. fire and forget stays possible ------------------------------------------------------------


def test_7_what_is_ephemeral_arrives_at_most_once_though_its_answers_are_lost(start, store, proxy):
    web = behind(proxy, start, ["a"])
    proxy.mode = "deafen"
    (receipt,) = run_job(store, [("once", {"ephemeral": True})])
    assert list(receipt["outcomes"].values()) == ["lost"]
    assert not receipt["ok"]
    assert proxy.swallowed == 3
    proxy.mode = "forward"
    proxy.cut()
    run_job(store, [("end", {})])
    web.wait_for_data("a", ["once", "end"])


def test_7_what_is_ephemeral_and_lost_stays_lost(start, store, proxy):
    web = behind(proxy, start, ["a"])
    proxy.mode = "swallow"
    (receipt,) = run_job(store, [("never", {"ephemeral": True, "timeout_seconds": 0.3})])
    proxy.mode = "forward"
    proxy.cut()
    run_job(store, [("end", {})])
    web.wait_for_data("a", ["end"])
    assert list(receipt["outcomes"].values()) == ["lost"]
