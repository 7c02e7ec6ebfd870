"""A registry as a service: with an application of its own, and under a real `twistd`."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import subprocess
import sys

import pytest
from twisted.application.service import Application, IService, MultiService
from twisted.internet.defer import CancelledError
from twisted.logger import LogLevel, STDLibLogObserver, globalLogPublisher

import reactor_thread
import skyhooks.twisted._service
from reactor_thread import in_thread, on_reactor, until
from skyhooks import Notifier as BlockingNotifier
from skyhooks import NotStarted, UrlUnreachable
from skyhooks._stores import open_store
from skyhooks.testing import Receiver
from skyhooks.twisted import Notifier, Registry, RegistryService
from skyhooks.twisted._log import bridge, unbridge

KEY = {"account": 42}
SECONDS = 30.0


@pytest.fixture
def store(tmp_path):
    return f"sqlite:///{tmp_path / 'service.db'}"


@pytest.fixture
def events():
    """What goes to twisted.logger meanwhile."""
    found = []
    globalLogPublisher.addObserver(found.append)
    yield found
    globalLogPublisher.removeObserver(found.append)


class Enduring(RegistryService):
    """One that keeps the reactor of the tests running."""

    def __init__(self, registry, **options):
        super().__init__(registry, **options)
        self.failures = []

    def startFailed(self, failure):
        self.failures.append(failure)


@on_reactor
async def test_a_registry_starts_and_stops_with_its_application(store):
    application = Application("web")
    service = RegistryService(Registry(store))
    service.setServiceParent(application)
    whole = IService(application)
    heard = []
    whole.startService()
    await service.whenStarted()
    await service.registry.register(KEY, heard.append)
    async with Notifier(store) as notifier:
        await notifier.notify(KEY, 1)
    await until(lambda: heard)
    await whole.stopService()
    assert await in_thread(open_store(store).instances) == []
    assert not service.running


@on_reactor
async def test_whoever_comes_late_hears_at_once_that_it_runs(store):
    service = RegistryService(Registry(store))
    service.startService()
    await service.whenStarted()
    assert service.whenStarted().called
    await service.stopService()


@on_reactor
async def test_a_service_that_is_stopped_while_it_starts_leaves_nothing(store):
    service = Enduring(Registry(store))
    service.startService()
    started = service.whenStarted()
    await service.stopService()
    with pytest.raises(CancelledError):
        await started
    assert service.failures == []
    assert await in_thread(open_store(store).instances) == []


@on_reactor
async def test_whoever_waits_for_a_service_that_is_stopped_while_it_starts_makes_no_noise(store, events):
    service, begun = Enduring(Registry(store)), []
    service.whenStarted().addCallback(begun.append)
    service.startService()
    service.whenStarted().addCallback(begun.append)
    await service.stopService()
    service.whenStarted()
    gc.collect()
    assert begun == []
    assert [one for one in events if one["log_level"] >= LogLevel.warn] == []


@on_reactor
async def test_what_fails_once_a_service_has_started_is_heard_of(store, events):
    service = RegistryService(Registry(store))
    service.whenStarted().addCallback(lambda _: 1 / 0)
    service.startService()
    await service.whenStarted()
    await service.stopService()
    gc.collect()
    assert [one["log_failure"].type for one in events if "log_failure" in one] == [ZeroDivisionError]
    reactor_thread.unhandled.clear()


@on_reactor
async def test_a_service_that_makes_its_registry_can_be_started_again(store):
    service, instances = RegistryService(lambda: Registry(store)), set()
    for number in range(3):
        service.startService()
        await service.whenStarted()
        instances.add(service.registry.instance_id)
        heard = []
        await service.registry.register(KEY, heard.append)
        await service.registry.notify(KEY, number)
        await until(lambda heard=heard: heard)
        await service.stopService()
    assert len(instances) == 3
    assert await in_thread(open_store(store).instances) == []


@on_reactor
async def test_a_service_that_was_given_a_registry_says_why_it_cannot_be_started_again(store):
    service = Enduring(Registry(store))
    service.startService()
    await service.whenStarted()
    await service.stopService()
    with pytest.raises(NotStarted, match="a function that makes"):
        service.startService()
    assert not service.running
    assert service.failures == []


@on_reactor
async def test_a_service_that_was_stopped_before_it_ran_can_be_started_again(store):
    service = Enduring(Registry(store))
    service.startService()
    await service.stopService()
    service.startService()
    await service.whenStarted()
    await service.stopService()
    assert service.failures == []


@on_reactor
async def test_a_service_that_was_never_started_can_be_stopped(store):
    await MultiService().stopService()
    await RegistryService(Registry(store)).stopService()


@on_reactor
async def test_while_its_store_is_away_it_keeps_trying_and_says_so(tmp_path, events, monkeypatch):
    monkeypatch.setattr(skyhooks.twisted._service, "FIRST_RETRY_SECONDS", 0.05)
    service = Enduring(Registry(f"sqlite:///{tmp_path}/later/service.db"))
    service.startService()
    await until(lambda: len([one for one in events if one["log_level"] is LogLevel.critical]) >= 2)
    (tmp_path / "later").mkdir()
    await service.whenStarted()
    await service.stopService()
    assert service.failures == []
    assert any("without its store" in (one["log_format"] or "") for one in events)


@on_reactor
async def test_what_time_does_not_mend_is_told_and_ends_the_attempts(store):
    with Receiver() as receiver:
        service = Enduring(Registry(store, url=receiver.url))
        service.startService()
        with pytest.raises(UrlUnreachable):
            await service.whenStarted()
        await service.stopService()
    assert [failure.type for failure in service.failures] == [UrlUnreachable]


# -- the logs -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def unheard():
    """Have stdlib's logging as it is where nobody has set it up."""
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        yield
    finally:
        root.handlers = handlers


def fail():
    raise LookupError("nothing")


def test_what_logging_is_told_comes_to_twisteds_logger(events):
    log = logging.getLogger("skyhooks")
    with unheard():
        handler = bridge()
        log.warning("the store is %s", "away {not a field}")
        try:
            fail()
        except LookupError:
            log.exception("it failed")
        unbridge(handler)
    log.info("this goes where logging sends it")
    first, second = events
    assert (first["log_level"], first["text"]) == (LogLevel.warn, "the store is away {not a field}")
    assert first["log_namespace"] == "skyhooks"
    assert (second["log_level"], second["log_failure"].type) == (LogLevel.error, LookupError)
    assert second["log_failure"].getTraceback().count("raise LookupError")


def test_where_logging_is_heard_nothing_is_bridged(caplog):
    assert bridge() is None


def test_an_observer_that_publishes_to_logging_makes_no_loop():
    heard, root, observer = [], logging.Handler(), STDLibLogObserver()
    root.emit = heard.append
    with unheard():
        handler = bridge()
        logging.getLogger().addHandler(root)
        globalLogPublisher.addObserver(observer)
        logging.getLogger("skyhooks").warning("once")
        globalLogPublisher.removeObserver(observer)
        unbridge(handler)
    assert [record.getMessage() for record in heard] == ["once"]


# -- twistd -------------------------------------------------------------------------------------------

TAC = """
import os
from twisted.application.service import Application
from skyhooks.twisted import Registry, RegistryService

def heard(notification):
    print("heard", notification.data, flush=True)

application = Application("web")
service = RegistryService(Registry(os.environ["STORE"], **eval(os.environ.get("OPTIONS", "{}"))), drain_seconds=1)
service.setServiceParent(application)
service.whenStarted().addCallback(lambda _: service.registry.register({"account": 42}, heard)).addCallbacks(
    lambda _: print("registered", flush=True), lambda failure: print("failed", failure.type.__name__, flush=True)
)
"""


@pytest.fixture
def twistd(tmp_path):
    """Run the application with a store, and have its lines read."""
    (tmp_path / "web.tac").write_text(TAC)
    running = []

    def start(store, options="{}"):
        reactor = ["--reactor=asyncio"] if os.environ.get("SKYHOOKS_TEST_REACTOR") == "asyncio" else []
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from twisted.scripts.twistd import run; run()",
                *reactor,
                *["-ny", "web.tac", "--pidfile="],
            ],
            cwd=tmp_path,
            env={**os.environ, "STORE": store, "OPTIONS": options},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def read_until(process, text):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError("".join(lines))


def test_under_twistd_it_is_rung_and_leaves_when_it_is_told_to_end(twistd, store):
    process = twistd(store)
    read_until(process, "registered")
    with BlockingNotifier(store) as notifier:
        assert notifier.notify(KEY, "hello").reached == 1
    read_until(process, "heard hello")
    process.send_signal(signal.SIGTERM)
    rest = process.communicate(timeout=SECONDS)[0]
    assert "Server Shut Down" in rest
    assert "Unhandled" not in rest
    assert open_store(store).instances() == []


def test_under_twistd_a_store_that_comes_late_is_waited_for(twistd, tmp_path):
    process = twistd(f"sqlite:///{tmp_path}/later/service.db")
    lines = read_until(process, "cannot start without its store")
    assert "skyhooks" in lines[-1]
    (tmp_path / "later").mkdir()
    read_until(process, "registered")


def test_under_twistd_a_url_that_leads_elsewhere_ends_the_process_and_says_why(twistd, store):
    with Receiver() as receiver:
        url = receiver.url
        output = twistd(store, repr({"url": url})).communicate(timeout=SECONDS)[0]
    assert "failed UrlUnreachable" in output
    assert "[skyhooks#critical] the skyhooks registry cannot start, and this process ends with it" in output
    assert f"{url} does not reach this instance" in output


def test_under_twistd_what_the_core_logs_is_in_its_log(twistd, store):
    process = twistd(store, "{'heartbeat_seconds': 0.05}")
    read_until(process, "registered")
    [instance] = open_store(store).instances()
    other = open_store(store)
    other.leave(instance.instance_id)
    lines = read_until(process, "joined again")
    assert "[skyhooks#warn]" in lines[-1]
    other.close()
