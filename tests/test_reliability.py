"""What must hold through crashes, leases and trouble (RELIABILITY section 3), with real processes where it takes them."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from urllib.parse import urlsplit

import apsw
import msgspec
import pytest

from processes import FRAMEWORKS, Job, Web, free_port, run_job, until
from skyhooks import Notifier, Outcome
from skyhooks._asyncio.registry import Registry
from skyhooks._stores import open_store
from skyhooks.testing.adapter.raw import Letter, ask, ephemeral, letter, request_bytes

KEYS = {"account": 42}
NAME = "account=42"
HOUR = 3600


@pytest.fixture
def store_url(tmp_path):
    return f"sqlite:///{tmp_path}/skyhooks.db"


@pytest.fixture
def store(store_url):
    store = open_store(store_url)
    yield store
    store.close()


@pytest.fixture(params=FRAMEWORKS)
def start(request, store_url):
    """Starts processes of a kind, web processes of each framework, and ends them with the test."""
    running = []

    def start(kind, *args, **options):
        more = {"framework": request.param} if kind is Web else {}
        process = kind(store_url, *args, **more, **options)
        running.append(process)
        return process

    yield start
    for process in running:
        process.end()


def row_of(store, web):
    return next(one for one in store.instances() if one.instance_id == web.instance_id)


# -- restarts and URLs ----------------------------------------------------------------------------


def test_crs_after_a_restart_on_the_same_url_mail_for_the_predecessor_is_410_and_its_hooks_are_gone(start, store):
    place = f"127.0.0.1:{free_port()}"
    first = start(Web, ["a"], listen=place)
    captured = letter(row_of(store, first), [ephemeral("stray")])
    first.kill()
    second = start(Web, ["a"], listen=place)
    assert second.url == first.url
    answer = captured.ask()
    assert (answer.status, answer.code) == (410, "gone")
    assert first.instance_id.encode() in answer.body
    assert [one.instance_id for one in store.targets([NAME])[NAME]] == [second.instance_id]
    assert not second.data("a")


def test_crs_until_it_has_joined_a_stray_post_gets_503(store_url):
    """The join is held up by a lock on the file, while the listener listens."""

    async def scenario():
        registry = Registry(store_url, listen=f"127.0.0.1:{free_port()}")
        port = registry._settings.listen[1]
        stray = Letter(f"http://127.0.0.1:{port}/", b"{}", b"k" * 32, "0" * 32)
        with locked(store_url):
            starting = asyncio.ensure_future(registry.start())
            async with asyncio.timeout(10):
                while (answer := await asyncio.to_thread(asked, stray)) is None:
                    assert not starting.done()
            assert (answer.status, answer.code) == (503, "draining")
        await starting
        assert (await asyncio.to_thread(stray.ask)).status == 421
        await registry.stop()

    open_store(store_url).positions([NAME])
    asyncio.run(scenario())


def asked(one):
    try:
        return one.ask()
    except ConnectionRefusedError:
        return None


@contextlib.contextmanager
def locked(store_url):
    """Hold the write lock of a SQLite store."""
    connection = apsw.Connection(store_url.removeprefix("sqlite:///"))
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def test_lse_a_second_process_on_a_url_notices_at_start(start):
    first = start(Web, ["a"])
    second = start(Web, ["a"], wait=False, listen=f"127.0.0.1:{free_port()}", advertise=first.url)
    assert second.wait(lambda: second.of("failed"))[0]["error"] == "UrlShared"
    assert first.ask("who", "who")["url"] == first.url
    assert not first.of("error")


def test_lse_whose_url_was_taken_while_it_was_stopped_goes_on_in_pull_mode_without_flapping(start, store_url):
    place = f"127.0.0.1:{free_port()}"
    first = start(Web, ["a"], listen=place)
    first.signal(signal.SIGSTOP)
    # The kernel still accepts for the stopped one, so the newcomer takes only its name: as behind a proxy that was moved.
    second = start(Web, ["a"], listen=f"127.0.0.1:{free_port()}")
    with contextlib.closing(open_store(store_url)) as store:
        mine = row_of(store, second)
        store.join(msgspec.structs.replace(mine, instance_id="f" * 32, url=first.url), 60)
    run_job(store_url, [(0, {"timeout_seconds": 0.5})])
    first.signal(signal.SIGCONT)
    first.wait(lambda: first.of("error"))
    for number in range(1, 4):
        run_job(store_url, [(number, {"timeout_seconds": 0.5})])
    first.wait_for_data("a", [0, 1, 2, 3])
    second.wait_for_data("a", [0, 1, 2, 3])
    assert [one["error"] for one in first.of("error")] == ["UrlShared"]
    assert first.ask("who", "who")["url"] is None


# -- stopped, and left behind ---------------------------------------------------------------------


def test_lse_an_instance_that_was_stopped_for_longer_than_its_lease_comes_back_and_gets_what_it_missed(
    start, store_url, store
):
    sleeps, wakes = start(Web, ["a", "b"]), start(Web, ["a"])
    sleeps.signal(signal.SIGSTOP)
    run_job(store_url, [(0, {"timeout_seconds": 0.3})])
    until(lambda: [one.instance_id for one in store.targets([NAME])[NAME]] == [wakes.instance_id])
    run_job(store_url, [(1, {})])
    sleeps.signal(signal.SIGCONT)
    for name in "ab":
        sleeps.wait_for_data(name, [0, 1])
    until(lambda: len(store.targets([NAME])[NAME]) == 2)
    assert run_job(store_url, [(2, {})])[0]["reached"] == 3
    wakes.wait_for_data("a", [0, 1, 2])
    assert not sleeps.of("gap")


def test_crs_a_stop_with_grace_loses_nothing_that_was_answered_and_leaves_no_hook(start, store_url, store):
    web, other = start(Web, ["a"]), start(Web, ["a"])
    job = start(Job, [(number, {}) for number in range(200)])
    web.wait(lambda: len(web.data("a")) >= 20)
    web.ask("stop", "stopped")
    assert web.wait_for_end() == 0
    assert job.wait_for_end() == 0
    other.wait_for_data("a", list(range(200)))
    assert web.data("a") == list(range(len(web.data("a"))))
    taken = [one for one in job.receipts if one["outcomes"].get(web.instance_id) == "delivered"]
    assert len(taken) <= len(web.data("a"))
    assert [one.instance_id for one in store.instances()] == [other.instance_id]


# -- clocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
def test_lse_clocks_that_are_an_hour_off_cost_the_push_but_not_the_notification(store_url, ahead):
    async def scenario():
        heard = asyncio.Queue()
        async with Registry(store_url, heartbeat_seconds=0.2) as registry:
            registry._life.runtime.time = lambda: time.time() + ahead
            await registry.register(KEYS, heard.put_nowait)
            with Notifier(store_url) as notifier:
                receipt = await asyncio.to_thread(notifier.notify, KEYS, 1)
                n = await asyncio.wait_for(heard.get(), 10)
                assert len(notifier.interest(KEYS)) == 1
        return receipt, n

    receipt, n = asyncio.run(scenario())
    (delivery,) = receipt.deliveries
    assert (delivery.outcome, n.data) == (Outcome.REFUSED, 1)
    assert "clock" in delivery.error


# -- the loop is never blocked --------------------------------------------------------------------


def test_sql_a_locked_file_never_blocks_the_loop_of_a_web_process(start, store_url):
    web = start(Web, ["a"])
    calm = web.ask("watch", "watched", seconds=1.0)["worst"]
    web.tell("watch", seconds=2.0)
    with locked(store_url):
        watched = web.wait(lambda: web.of("watched")[1:])[0]
    # What the machine itself takes while nothing is wrong is not the store's.
    assert watched["worst"] < 0.05 + calm


def test_htp_a_crowd_of_500_is_answered_200_or_503_and_a_good_post_within_a_second_beside_stalls(start, store):
    web = start(Web, ["a"])
    row = row_of(store, web)

    async def post(number):
        one = letter(row, [ephemeral(number)])
        data = request_bytes(one.url, [*one.signed(), ("content-length", str(len(one.body)))], one.body)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        status = int((await reader.readline()).split()[1])
        writer.close()
        await writer.wait_closed()
        return status

    async def stall(data):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        await writer.drain()
        return writer

    async def scenario():
        async with asyncio.timeout(30):
            statuses = await asyncio.gather(*map(post, range(500)))
            stalls = [await stall(b"POST / HTTP/1.1\r\nhost: a\r\n" * (number % 2)) for number in range(100)]
            began = time.monotonic()
            assert await post("good") == 200
            elapsed = time.monotonic() - began
            for writer in stalls:
                writer.close()
            return statuses, elapsed

    port = int(row.url.rpartition(":")[2].strip("/"))
    statuses, elapsed = asyncio.run(scenario())
    assert set(statuses) <= {200, 503}
    assert elapsed < 1.0
    web.wait(lambda: "good" in web.data("a"))
    assert len(web.data("a")) == statuses.count(200) + 1


def test_htp_a_body_that_stalls_calls_nobody(start, store):
    web = start(Web, ["a"])
    one = letter(row_of(store, web), [ephemeral("cut short")])
    headers = [*one.signed(), ("content-length", str(len(one.body)))]
    whole = request_bytes(one.url, headers, one.body)
    with contextlib.suppress(TimeoutError):
        ask_and_leave(one.url, whole[:-1])
    assert ask(one.url, whole).status == 200
    web.wait_for_data("a", ["cut short"])


def ask_and_leave(url, data):
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), 5) as sock:
        sock.sendall(data)
