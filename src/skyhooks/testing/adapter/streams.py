"""Subscriptions: a registration that is read, and loses nothing with a slow reader."""

from __future__ import annotations

import pytest

from ..._notification import Gap
from .base import KEY, Adapter, AdapterTests, Heard, data_of, next_of


class StreamTests(AdapterTests):
    """`subscribe`, and how it ends."""

    async def test_a_stream_yields_in_order_what_a_callback_would_get(self, adapter: Adapter) -> None:
        registry, notifier = await adapter.started(), adapter.notifier()
        await notifier.notify(KEY, 0)
        async with registry.subscribe(KEY, since="start") as stream:
            await notifier.notify_many([(KEY, 1), (KEY, 2)])
            items = await next_of(stream, 3)
            assert data_of(items) == [0, 1, 2]
            assert stream.cursor == items[-1].cursor

    async def test_a_stream_that_was_left_is_no_target(self, adapter: Adapter) -> None:
        registry, notifier = await adapter.started(), adapter.notifier()
        async with registry.subscribe(KEY):
            assert (await notifier.notify(KEY, 1)).reached == 1
        assert (await notifier.notify(KEY, 1)).nobody

    async def test_a_stream_that_breaks_is_no_target(self, adapter: Adapter) -> None:
        registry, notifier = await adapter.started(), adapter.notifier()
        with pytest.raises(RuntimeError, match="broken"):
            async with registry.subscribe(KEY):
                raise RuntimeError("broken")
        assert (await notifier.notify(KEY, 1)).nobody

    @pytest.mark.parametrize("max_pending", [1, 2, 7])
    async def test_a_slow_reader_loses_nothing(self, adapter: Adapter, max_pending: int) -> None:
        registry, notifier = await adapter.started(), adapter.notifier()
        async with registry.subscribe({"a": [1, 2]}, max_pending=max_pending) as stream:
            for number in range(60):
                await notifier.notify({"a": 1 + number % 2}, number)
            numbers = [int(str(data)) for data in data_of(await next_of(stream, 60))]
        assert [n for n in numbers if n % 2] == list(range(1, 60, 2))
        assert [n for n in numbers if n % 2 == 0] == list(range(0, 60, 2))

    async def test_a_slow_reader_does_not_slow_others(self, adapter: Adapter) -> None:
        registry, notifier, heard = await adapter.started(), adapter.notifier(), Heard()
        async with registry.subscribe(KEY, max_pending=1):
            await registry.register(KEY, heard)
            receipts = await notifier.notify_many([(KEY, number) for number in range(50)])
            await adapter.until(lambda: heard.data == list(range(50)))
        assert {receipt.reached for receipt in receipts} == {2}

    async def test_a_slow_reader_is_told_what_the_log_let_go_of(self, adapter: Adapter) -> None:
        store = adapter.store_with(keep=2, keep_min_seconds=0)
        registry, notifier = await adapter.started(store), adapter.notifier(store)
        async with registry.subscribe(KEY, max_pending=2) as stream:
            for number in range(10):
                await notifier.notify(KEY, number)
            items = await next_of(stream, 5)
        assert data_of(items) == [0, 1, "trimmed", 8, 9]
        assert isinstance(items[2], Gap)

    async def test_reading_and_sending_at_once_loses_nothing(self, adapter: Adapter) -> None:
        registry, notifier = await adapter.started(), adapter.notifier()
        async with registry.subscribe(KEY, max_pending=3) as stream:

            async def send() -> list[object]:
                for number in range(150):
                    await notifier.notify(KEY, number)
                return []

            async def read() -> list[object]:
                return data_of(await next_of(stream, 150))

            _, read_data = await adapter.gather(send(), read())
        assert read_data == list(range(150))

    async def test_a_stop_ends_streams_and_their_cursor_goes_on_elsewhere(self, adapter: Adapter) -> None:
        registry, other, notifier = await adapter.started(), await adapter.started(), adapter.notifier()
        got: list[object] = []
        cursors: list[str] = []

        async def read() -> None:
            async with registry.subscribe(KEY) as stream:
                ready.append(True)
                got.extend(data_of([item async for item in stream]))
                cursors.append(stream.cursor)

        async def stop() -> None:
            await adapter.until(lambda: ready)
            await notifier.notify(KEY, "before")
            await registry.stop(drain_seconds=2)

        ready: list[bool] = []
        await adapter.gather(read(), stop())
        await notifier.notify(KEY, "meanwhile")
        async with other.subscribe(KEY, since=cursors[0]) as stream:
            assert data_of(await next_of(stream, 1)) == ["meanwhile"]
        assert got == ["before"]

    async def test_a_stream_with_no_room_is_refused(self, adapter: Adapter) -> None:
        registry = await adapter.started()
        with pytest.raises(ValueError, match="max_pending"):
            registry.subscribe(KEY, max_pending=0)
