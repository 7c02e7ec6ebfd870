"""What befalls a registry and a notifier on asyncio beside the conformance suite: odd callbacks, odd stops, odd files."""

from __future__ import annotations

import asyncio
from functools import wraps

import pytest

from skyhooks import Notifier as BlockingNotifier
from skyhooks import NotStarted
from skyhooks._asyncio.notifier import Notifier
from skyhooks._asyncio.registry import Registry
from skyhooks._stores import open_store

LIMIT_SECONDS = 20.0


def on_a_loop(test):
    @wraps(test)
    def run(*args, **options):
        async def bounded():
            async with asyncio.timeout(LIMIT_SECONDS):
                await test(*args, **options)

        asyncio.run(bounded())

    return run


@pytest.fixture
def store(tmp_path):
    return f"sqlite:///{tmp_path / 'life.db'}"


@on_a_loop
async def test_a_callback_that_raises_cancelled_error_silences_no_other(store):
    heard, told = asyncio.Queue(), []

    def cancelled(_):
        raise asyncio.CancelledError

    async with Registry(store, on_error=lambda error, notification: told.append((error, notification))) as registry:
        await registry.register({"account": 42}, cancelled)
        await registry.register({"account": 42}, heard.put_nowait)
        receipt = await registry.notify({"account": 42}, "hello")
        assert (await heard.get()).data == "hello"
    assert receipt.reached == 2
    assert [type(error) for error, _ in told] == [asyncio.CancelledError]


@on_a_loop
async def test_an_async_on_error_is_run(store, caplog):
    told = asyncio.Queue()

    async def on_error(error, notification):
        await told.put((error, notification))
        raise RuntimeError("so does this")

    def fails(_):
        raise LookupError("nothing")

    async with Registry(store, on_error=on_error) as registry:
        await registry.register({"account": 42}, fails)
        await registry.notify({"account": 42}, "hello")
        error, notification = await told.get()
    assert isinstance(error, LookupError)
    assert notification.data == "hello"
    assert "on_error itself failed" in caplog.text


@on_a_loop
async def test_stops_at_once_are_one_stop_and_the_instance_is_gone(store):
    registry = Registry(store)
    await registry.start()
    stream = registry.subscribe({"account": 42})
    await stream.__aenter__()
    await asyncio.gather(registry.stop(0.2), registry.stop(0.2))
    await stream.__aexit__(None, None, None)
    assert open_store(store).instances() == []


@on_a_loop
async def test_a_stop_that_is_cancelled_goes_on_and_can_be_waited_for_again(store):
    registry = Registry(store)
    await registry.start()
    stream = registry.subscribe({"account": 42})
    await stream.__aenter__()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(registry.stop(0.5), 0.05)
    await registry.stop()
    assert open_store(store).instances() == []


@on_a_loop
async def test_an_async_callback_that_is_under_way_may_end_before_the_registry_stops(store):
    begun, ended = asyncio.Event(), []

    async def slow(notification):
        begun.set()
        for _ in range(20):
            await asyncio.sleep(0)
        ended.append(notification.data)

    registry = Registry(store)
    await registry.start()
    await registry.register({"account": 42}, slow)
    await registry.notify({"account": 42}, "hello")
    await begun.wait()
    await registry.stop(drain_seconds=5)
    assert ended == ["hello"]


@on_a_loop
async def test_an_async_callback_that_does_not_end_is_cancelled_and_logged(store, caplog):
    begun, ended = asyncio.Event(), []

    async def endless(_):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    registry = Registry(store)
    await registry.start()
    await registry.register({"account": 42}, endless)
    await registry.notify({"account": 42}, "hello")
    await begun.wait()
    await registry.stop(drain_seconds=0)
    assert ended == [True]
    assert "1 async callbacks had not ended" in caplog.text


@on_a_loop
async def test_a_callback_may_stop_the_registry(store):
    stopped = asyncio.Event()
    registry = Registry(store)

    async def stop(_):
        try:
            await registry.stop()
        finally:
            stopped.set()

    await registry.start()
    await registry.register({"account": 42}, stop)
    with BlockingNotifier(store) as notifier:
        await asyncio.to_thread(notifier.notify, {"account": 42}, "the end")
    await stopped.wait()
    await registry.stop()
    assert open_store(store).instances() == []


@on_a_loop
async def test_a_registration_is_given_back_where_it_was_made(store):
    async with Registry(store) as one, Registry(store) as other:
        registration = await one.register({"account": 42}, print)
        with pytest.raises(ValueError, match="another registry"):
            await other.unregister(registration)
        await one.unregister(registration)
        assert (await one.notify({"account": 42}, "hello")).nobody


@pytest.mark.parametrize("callback", [None, 5, "print"])
@on_a_loop
async def test_a_callback_that_cannot_be_called_is_refused_before_the_store_is_asked(store, callback):
    async with Registry(store) as registry:
        with pytest.raises(TypeError, match="function"):
            await registry.register({"account": 42}, callback)
        with pytest.raises(TypeError, match="function"):
            await registry.register({"account": 42}, print, on_gap=5)
        assert list(open_store(store).hooks()) == []


@on_a_loop
async def test_a_subscription_is_opened_once(store):
    async with Registry(store) as registry, registry.subscribe({"account": 42}) as stream:
        with pytest.raises(RuntimeError, match="subscribe"):
            await stream.__aenter__()


@on_a_loop
async def test_a_subscription_that_is_not_open_says_how_to_open_it(store):
    async with Registry(store) as registry:
        with pytest.raises(NotStarted, match="async with"):
            await anext(registry.subscribe({"account": 42}))


@on_a_loop
async def test_a_subscription_knows_its_cursor_before_and_after_it_was_read(store):
    async with Registry(store) as registry:
        async with registry.subscribe({"account": 42}) as stream:
            before = stream.cursor
            await registry.notify({"account": 42}, "hello")
            read = await anext(stream)
            assert stream.cursor == read.cursor
        async with registry.subscribe({"account": 42}, since=before) as again:
            assert again.cursor == before
            assert (await anext(again)).id == read.id


def test_a_notifier_of_another_loop_says_so(store):
    notifier = Notifier(store)

    async def notify():
        return await notifier.notify({"account": 42}, "hello")

    async def main():
        try:
            return await notify()
        finally:
            await notifier._runtime.close()

    assert asyncio.run(main()).nobody
    with pytest.raises(NotStarted, match="another event loop"):
        asyncio.run(notify())


@pytest.mark.parametrize("name", ["certfile", "cafile"])
@on_a_loop
async def test_a_file_that_cannot_be_loaded_is_named(store, tmp_path, name):
    with pytest.raises(ValueError, match=name):
        await Registry(store, **{name: str(tmp_path / "missing.pem")}).start()
