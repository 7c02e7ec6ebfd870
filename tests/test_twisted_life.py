"""What befalls a registry and a notifier on Twisted beside the conformance suite: odd callbacks, stops, cancellations, threads."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from uuid import uuid4

import pytest
from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import deferLater

import reactor_thread
from peers import Peer
from reactor_thread import gather, in_thread, on_reactor, reactor, sleep, until
from skyhooks import NotStarted, Outcome
from skyhooks._stores import open_store
from skyhooks.testing.adapter.base import plant
from skyhooks.twisted import Notifier, Registry

KEY = {"account": 42}


@pytest.fixture
def store(tmp_path):
    return f"sqlite:///{tmp_path / 'life.db'}"


# -- callbacks --------------------------------------------------------------------------------------


@on_reactor
async def test_a_deferred_that_a_callback_returns_is_waited_for_before_the_registry_stops(store):
    ended = []
    registry = Registry(store)
    await registry.start()
    await registry.register(KEY, lambda n: deferLater(reactor, 0.1, ended.append, n.data))
    await registry.notify(KEY, "hello")
    await registry.stop(drain_seconds=5)
    assert ended == ["hello"]


@on_reactor
async def test_a_deferred_that_fails_is_told_with_its_notification(store):
    told = []

    def fails(_):
        return deferLater(reactor, 0.01).addCallback(lambda _: 1 / 0)

    async with Registry(store, on_error=lambda error, n: told.append((type(error), n.data))) as registry:
        await registry.register(KEY, fails)
        await registry.notify(KEY, "hello")
        await until(lambda: told)
    assert told == [(ZeroDivisionError, "hello")]


@on_reactor
async def test_an_async_callback_that_fails_is_told_with_its_notification(store):
    told = []

    async def fails(_):
        await sleep(0.01)
        raise LookupError("nothing")

    async with Registry(store, on_error=lambda error, n: told.append((type(error), n.data))) as registry:
        await registry.register(KEY, fails)
        await registry.notify(KEY, "hello")
        await until(lambda: told)
    assert told == [(LookupError, "hello")]


@on_reactor
async def test_a_deferred_that_does_not_fire_is_cancelled_when_the_registry_stops(store):
    cancelled = []
    registry = Registry(store)
    await registry.start()
    await registry.register(KEY, lambda _: Deferred(cancelled.append))
    await registry.notify(KEY, "hello")
    await registry.stop(drain_seconds=0)
    assert len(cancelled) == 1


@on_reactor
async def test_an_async_callback_that_does_not_end_is_cancelled_at_the_end_of_the_drain(store):
    ended = []

    async def endless(_):
        try:
            await Deferred()
        finally:
            ended.append(True)

    registry = Registry(store)
    await registry.start()
    await registry.register(KEY, endless)
    await registry.notify(KEY, "hello")
    await registry.stop(drain_seconds=0.05)
    assert ended == [True]


@pytest.mark.parametrize("style", ["returned", "awaited", "awaited later", "yielded"])
@on_reactor
async def test_a_callback_may_stop_the_registry_and_wait_for_it(store, style):
    stopped = []
    registry = Registry(store)

    async def awaits(_):
        try:
            await registry.stop()
        finally:
            stopped.append(True)

    async def awaits_later(_):
        await sleep(0.01)
        await awaits(_)

    @inlineCallbacks
    def yields(_):
        try:
            yield registry.stop()
        finally:
            stopped.append(True)

    def returns(_):
        return registry.stop().addBoth(lambda _: stopped.append(True))

    await registry.start()
    styles = {"returned": returns, "awaited": awaits, "awaited later": awaits_later, "yielded": yields}
    await registry.register(KEY, styles[style])
    async with Notifier(store) as notifier:
        began = reactor.seconds()
        await notifier.notify(KEY, "the end")
        await until(lambda: stopped)
    await registry.stop()
    assert reactor.seconds() - began < 5
    assert await in_thread(open_store(store).instances) == []


@pytest.mark.parametrize("pause", [0, 0.05])
@on_reactor
async def test_a_callback_that_stops_the_registry_is_not_cancelled(store, pause):
    said = []
    registry = Registry(store)

    async def stops(_):
        await sleep(pause)
        try:
            await registry.stop(0.5)
            said.append("returned")
        except BaseException as error:
            said.append(repr(error))
            raise

    await registry.start()
    await registry.register(KEY, stops)
    async with Notifier(store) as notifier:
        await notifier.notify(KEY, "the end")
    await registry.stop(0.2)
    await until(lambda: said)
    assert said == ["returned"]


@on_reactor
async def test_a_future_of_asyncio_is_waited_for_and_its_failure_told(store):
    loop, told = asyncio.new_event_loop(), []
    good, bad, endless = loop.create_future(), loop.create_future(), loop.create_future()
    futures = [good, bad, endless]
    registry = Registry(store, on_error=lambda error, n: told.append((type(error), n.data)))
    await registry.start()
    await registry.register(KEY, lambda n: futures[n.data])
    for number in range(3):
        await registry.notify(KEY, number)
    stopping = registry.stop(drain_seconds=0.2)
    assert told == []
    good.set_result("done")
    bad.set_exception(LookupError("nothing"))
    _turn(loop)
    assert told == [(LookupError, 1)]
    await until(endless.cancelled)
    _turn(loop)
    await stopping
    loop.close()
    assert told == [(LookupError, 1)]


def _turn(loop):
    """Run what is due on a loop beside the one that runs, if one does."""
    loop.call_soon(loop.stop)
    running = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    loop.run_forever()
    asyncio._set_running_loop(running)


@on_reactor
async def test_callbacks_run_on_the_reactor_s_thread(store):
    threads = []
    async with Registry(store) as registry:
        await registry.register(KEY, lambda _: threads.append(threading.get_ident()), since="start")
        await registry.notify(KEY, 1)
        await until(lambda: threads)
    assert set(threads) == {threading.get_ident()}


@on_reactor
async def test_verbs_that_end_at_once_may_be_used_amid_a_dispatch():
    heard = []
    async with Registry(f"memory://{uuid4().hex}") as registry:
        registered = []

        def first(notification):
            heard.append(("first", notification.data))
            if not registered:
                registered.append(registry.register(KEY, lambda n: heard.append(("second", n.data)), since="start"))
                registry.notify(KEY, 2)

        await registry.register(KEY, first)
        await registry.notify(KEY, 1)
        await until(lambda: len(heard) == 4)
        await registered[0]
    assert [data for name, data in heard if name == "first"] == [1, 2]
    assert [data for name, data in heard if name == "second"] == [1, 2]


# -- stops and cancellations ------------------------------------------------------------------------


@on_reactor
async def test_stops_at_once_are_one_stop_and_the_instance_is_gone(store):
    registry = Registry(store)
    await registry.start()
    stream = registry.subscribe(KEY)
    await stream.open()
    first, second = registry.stop(0.2), registry.stop(0.2)
    await first
    await second
    await stream.close()
    assert await in_thread(open_store(store).instances) == []


@on_reactor
async def test_a_stop_that_is_cancelled_goes_on_and_can_be_waited_for_again(store):
    registry = Registry(store)
    await registry.start()
    stream = registry.subscribe(KEY)
    await stream.open()
    stopping = registry.stop(0.5)
    await sleep(0.05)
    stopping.cancel()
    with pytest.raises(CancelledError):
        await stopping
    await registry.stop()
    assert await in_thread(open_store(store).instances) == []


@on_reactor
async def test_a_start_that_is_cancelled_leaves_nothing(store):
    registry = Registry(store)
    starting = registry.start()
    starting.cancel()
    with pytest.raises(CancelledError):
        await starting
    with pytest.raises(NotStarted):
        await registry.cursor(KEY)
    await registry.start()
    await registry.stop()


@pytest.mark.parametrize("milliseconds", [0, 1, 4, 8, 12, 20])
@on_reactor
async def test_a_stop_amid_a_start_lets_it_come_to_its_end_and_undoes_it(store, milliseconds):
    registry = Registry(store)
    starting = registry.start()
    await sleep(milliseconds / 1000)
    await registry.stop(1)
    await starting
    with pytest.raises(NotStarted):
        await registry.register(KEY, print)
    assert await in_thread(open_store(store).instances) == []


@on_reactor
async def test_a_stop_of_a_start_that_failed_does_not_stand_for_that_of_the_next(store):
    registry = Registry(store)
    starting = registry.start()
    stopping = registry.stop()
    starting.cancel()
    with pytest.raises(CancelledError):
        await starting
    await stopping
    await registry.start()
    await registry.stop()
    assert await in_thread(open_store(store).instances) == []


@on_reactor
async def test_a_start_that_is_cancelled_amid_its_join_leaves_no_instance(store):
    joining, other = threading.Event(), open_store(store)
    inner = open_store(store)

    class Slow:
        """A store that joins, and takes its time to say so."""

        def join(self, *args):
            joined = inner.join(*args)
            joining.set()
            time.sleep(0.1)
            return joined

        def __getattr__(self, name):
            return getattr(inner, name)

    starting = Registry(Slow()).start()
    await until(joining.is_set)
    assert len(await in_thread(other.instances)) == 1
    starting.cancel()
    with pytest.raises(CancelledError):
        await starting
    assert await in_thread(other.instances) == []
    other.close()


@on_reactor
async def test_a_register_that_is_cancelled_registers_nothing(store):
    heard = []
    async with Registry(store, heartbeat_seconds=0.1) as registry:
        registering = registry.register(KEY, heard.append)
        registering.cancel()
        with pytest.raises(CancelledError):
            await registering
        other = open_store(store)
        for _ in range(500):
            if not (await in_thread(other.targets, ["account=42"]))["account=42"]:
                break
            await sleep(0.01)
        await registry.notify(KEY, 1)
        await sleep(0.1)
        other.close()
    assert heard == []


@on_reactor
async def test_a_cancelled_notify_stops_at_once_and_says_what_was_not_sent(store):
    with Peer(lambda sock, number: peer.hold()) as peer:
        await in_thread(plant, open_store(store), peer.url)
        async with Notifier(store) as notifier:
            notifying = notifier.notify(KEY, "hello")
            await until(lambda: peer.accepted)
            began = reactor.seconds()
            notifying.cancel()
            with pytest.raises(CancelledError) as raised:
                await notifying
            assert reactor.seconds() - began < 1
        [note] = raised.value.__notes__
        assert peer.url in note


@on_reactor
async def test_a_cancelled_notify_to_many_ends_all_its_posts(store):
    with Peer(lambda sock, number: peer.hold(), host="0.0.0.0") as peer:
        for number in range(1, 9):
            url = peer.url.replace("127.0.0.1", f"127.0.0.{number}")
            await in_thread(plant, open_store(store), url)
        async with Notifier(store) as notifier:
            notifying = notifier.notify(KEY, "hello")
            await until(lambda: peer.accepted == 8)
            notifying.cancel()
            with pytest.raises(CancelledError):
                await notifying
            assert not notifier._runtime._client._attempts._pool._busy


@on_reactor
async def test_a_heartbeat_that_is_under_way_does_not_outlive_a_stop(store):
    registry = Registry(store, heartbeat_seconds=0.001, lease_seconds=1)
    await registry.start()
    await sleep(0.05)
    await registry.stop()


@on_reactor
async def test_a_notifier_that_is_closed_amid_a_post_leaves_nothing(store):
    with Peer(lambda sock, number: peer.hold()) as peer:
        await in_thread(plant, open_store(store), peer.url)
        notifier = Notifier(store)
        submission = await notifier.submit(KEY, "hello")
        await until(lambda: peer.accepted)
        await notifier.close(timeout_seconds=0.05)
        assert not submission.done or (await submission.result()).deliveries[0].outcome is Outcome.DEFERRED


# -- streams ----------------------------------------------------------------------------------------


@on_reactor
async def test_a_stream_is_read_item_by_item_and_ends_as_connections_do(store):
    registry = Registry(store)
    await registry.start()
    stream = await registry.subscribe(KEY).open()
    waiting = stream.next()
    await registry.notify(KEY, 1)
    await registry.notify(KEY, 2)
    assert [(await waiting).data, (await stream.next()).data] == [1, 2]
    last = stream.next()
    await registry.stop(0)
    for end in (last, stream.next()):
        with pytest.raises(ConnectionDone):
            await end
    await stream.close()


@on_reactor
async def test_a_next_that_is_cancelled_takes_no_item(store):
    async with Registry(store) as registry, registry.subscribe(KEY) as stream:
        waiting = stream.next()
        waiting.cancel()
        with pytest.raises(CancelledError):
            await waiting
        await registry.notify(KEY, 1)
        assert (await stream.next()).data == 1


@on_reactor
async def test_readers_of_one_stream_are_served_in_turn(store):
    async with Registry(store) as registry, registry.subscribe(KEY) as stream:
        readers = [stream.next() for _ in range(3)]
        for number in range(3):
            await registry.notify(KEY, number)
        assert [(await reader).data for reader in readers] == [0, 1, 2]


@on_reactor
async def test_a_reader_that_waits_does_not_read_amid_the_dispatch(store):
    order = []
    async with Registry(store) as registry, registry.subscribe(KEY) as stream:
        stream.next().addCallback(lambda item: order.append("reader"))
        await registry.register(KEY, lambda _: order.append("callback"))
        await registry.notify(KEY, 1)
        await until(lambda: len(order) == 2)
    assert order == ["callback", "reader"]


@on_reactor
async def test_a_subscription_is_opened_once_and_says_how(store):
    async with Registry(store) as registry, registry.subscribe(KEY) as stream:
        with pytest.raises(RuntimeError, match="subscribe"):
            await stream.open()
        with pytest.raises(NotStarted, match="async with"):
            await registry.subscribe(KEY).next()
        assert stream.cursor


# -- threads ----------------------------------------------------------------------------------------


@on_reactor
async def test_a_verb_in_another_thread_says_what_to_call_instead(store):
    async with Registry(store) as registry, Notifier(store) as notifier:
        verbs = [
            lambda: registry.register(KEY, print),
            lambda: registry.notify(KEY, 1),
            lambda: registry.subscribe(KEY),
            lambda: registry.stop(),
            lambda: notifier.notify(KEY, 1),
            lambda: notifier.submit(KEY, 1),
        ]
        for verb in verbs:
            with pytest.raises(RuntimeError, match="blockingCallFromThread"):
                await in_thread(verb)


def test_from_a_thread_a_verb_is_called_by_blocking_call(store):
    notifier = Notifier(store)
    receipt = reactor_thread.call(notifier.notify, KEY, 1)
    reactor_thread.call(notifier.close)
    assert receipt.nobody


@pytest.mark.parametrize("keys", [{}, {"a": object()}, "account=42"])
@on_reactor
async def test_a_bad_key_is_a_failed_deferred(store, keys):
    async with Registry(store) as registry, Notifier(store) as notifier:
        for verb in (registry.cursor, lambda k: registry.notify(k, 1), lambda k: notifier.notify(k, 1)):
            failed = verb(keys)
            assert isinstance(failed, Deferred)
            with pytest.raises(ValueError):  # noqa: PT011 - the rows differ
                await failed


@pytest.mark.parametrize("client", [object(), "http://a/"])
def test_what_is_no_client_is_refused_at_once(store, client):
    for kind in (Registry, Notifier):
        with pytest.raises(TypeError, match="HTTPClient"):
            kind(store, client=client)


@on_reactor
async def test_many_registries_share_a_reactor():
    store = f"memory://{uuid4().hex}"
    registries = [Registry(store, reactor=reactor) for _ in range(5)]
    heard = []

    async def begin(registry):
        await registry.start()
        await registry.register(KEY, heard.append)

    await gather(*map(begin, registries))
    async with Notifier(store, reactor=reactor) as notifier:
        receipt = await notifier.notify(KEY, 1)
        await until(lambda: len(heard) == 5)
    await gather(*(_awaited(registry.stop()) for registry in registries))
    assert receipt.reached == 5


async def _awaited(deferred):
    return await deferred


@on_reactor
async def test_coroutines_and_callbacks_see_the_same(store):
    found = []
    async with Registry(store) as registry:
        d = registry.cursor(KEY)
        d.addCallback(lambda cursor: registry.notify(KEY, "hello").addCallback(lambda receipt: (cursor, receipt)))
        d.addCallback(found.append)
        await d
        assert await succeed(1) == 1
    [(cursor, receipt)] = found
    assert cursor
    assert receipt.nobody


def test_nothing_of_a_registry_is_logged_as_unhandled(store, caplog):
    async def body():
        async with Registry(store) as registry:
            await registry.register(KEY, print)

    with caplog.at_level(logging.WARNING):
        reactor_thread.run(body())
    assert not caplog.records
