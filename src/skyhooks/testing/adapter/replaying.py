"""Cursors: the late get it too, whichever process they come to, and what is no longer kept is told."""

from __future__ import annotations

from typing import Any

from ..._notification import Gap
from ...abc import Store
from .base import KEY, NAME, QUICK, Adapter, AdapterTests, Heard


class ReplayTests(AdapterTests):
    """`since`, `cursor`, `replayed`, `on_gap`."""

    async def test_from_the_start_all_that_is_kept_comes_first(self, adapter: Adapter) -> None:
        registry, notifier, heard = await adapter.started(), adapter.notifier(), Heard()
        await notifier.notify_many([(KEY, number) for number in range(3)])
        await registry.register(KEY, heard, since="start")
        await notifier.notify(KEY, 3)
        await adapter.until(lambda: len(heard) >= 4)
        assert [(n.data, n.replayed) for n in heard] == [(0, True), (1, True), (2, True), (3, False)]

    async def test_without_since_it_begins_now(self, adapter: Adapter) -> None:
        registry, notifier, heard = await adapter.started(), adapter.notifier(), Heard()
        await notifier.notify(KEY, "before")
        await registry.register(KEY, heard)
        await notifier.notify(KEY, "after")
        await adapter.until(lambda: heard)
        assert heard.data == ["after"]

    async def test_a_job_that_is_faster_than_the_browser_loses_nothing(self, adapter: Adapter) -> None:
        registry, other, notifier, heard = await adapter.started(), await adapter.started(), adapter.notifier(), Heard()
        await notifier.notify(KEY, "before")
        cursor = await registry.cursor(KEY)
        await notifier.notify(KEY, "fast")
        await other.register(KEY, heard, since=cursor)
        await adapter.until(lambda: heard)
        assert [(n.data, n.replayed) for n in heard] == [("fast", True)]

    async def test_a_cursor_can_be_had_before_the_key_exists(self, adapter: Adapter) -> None:
        registry, notifier, heard, gaps = await adapter.started(), adapter.notifier(), Heard(), list[Gap]()
        cursor = await registry.cursor({"never": "heard of"})
        await notifier.notify({"never": "heard of"}, 1)
        await registry.register({"never": "heard of"}, heard, since=cursor, on_gap=gaps.append)
        await adapter.until(lambda: heard.data == [1])
        assert not gaps

    async def test_each_notification_says_where_to_go_on_elsewhere(self, adapter: Adapter) -> None:
        registry, other, notifier = await adapter.started(), await adapter.started(), adapter.notifier()
        heard = Heard()
        await registry.register(KEY, heard)
        await notifier.notify_many([(KEY, number) for number in range(5)])
        await adapter.until(lambda: len(heard) == 5)
        for place, n in enumerate(heard, 1):
            rest = Heard()
            registration = await other.register(KEY, rest, since=n.cursor)
            await adapter.until(lambda place=place, rest=rest: place == 5 or rest.data[-1:] == [4])  # type: ignore[misc]  # mypy: defaults of lambdas
            assert [*heard.data[:place], *rest.data] == [0, 1, 2, 3, 4]
            await other.unregister(registration)

    async def test_a_cursor_of_several_keys_holds_the_place_in_each(self, adapter: Adapter) -> None:
        registry, other, notifier = await adapter.started(), await adapter.started(), adapter.notifier()
        keys = {"a": [1, 2]}
        first, rest = Heard(), Heard()
        await registry.register(keys, first)
        await notifier.notify({"a": 1}, "one")
        await notifier.notify({"a": 2}, "two")
        await adapter.until(lambda: len(first) == 2)
        await notifier.notify_many([({"a": 1}, "three"), ({"a": 2}, "four")])
        await other.register(keys, rest, since=first[1].cursor)
        await adapter.until(lambda: len(rest) >= 2)
        assert sorted(map(str, rest.data)) == ["four", "three"]

    async def test_a_cursor_of_other_keys_means_from_now(self, adapter: Adapter) -> None:
        registry, notifier, heard, gaps = await adapter.started(), adapter.notifier(), Heard(), list[Gap]()
        foreign = await registry.cursor({"other": 1})
        await notifier.notify(KEY, "before")
        await registry.register(KEY, heard, since=foreign, on_gap=gaps.append)
        await notifier.notify(KEY, "after")
        await adapter.until(lambda: heard)
        assert (heard.data, gaps) == (["after"], [])

    async def test_replay_and_what_is_sent_meanwhile_meet_without_gap_or_double(self, adapter: Adapter) -> None:
        registry, notifier = await adapter.started(), adapter.notifier()
        callbacks = [Heard() for _ in range(10)]

        async def send() -> None:
            for number in range(200):
                await notifier.notify(KEY, number)

        async def come() -> None:
            for callback in callbacks:
                await registry.register(KEY, callback, since="start")
                await adapter.sleep(0.005)

        await adapter.gather(send(), come())
        await adapter.until(lambda: all(len(callback) >= 200 for callback in callbacks))
        assert all(callback.data == list(range(200)) for callback in callbacks)

    async def test_more_than_a_page_is_replayed_in_order(self, adapter: Adapter) -> None:
        registry, notifier, heard = await adapter.started(), adapter.notifier(), Heard()
        await notifier.notify_many([(KEY, number) for number in range(900)])
        await registry.register(KEY, heard, since="start")
        await adapter.until(lambda: len(heard) >= 900)
        assert heard.data == list(range(900))

    async def test_what_the_log_no_longer_keeps_is_told_as_a_gap(self, adapter: Adapter) -> None:
        store = adapter.store_with(keep=3, keep_min_seconds=0)
        registry, notifier = await adapter.started(store), adapter.notifier(store)
        cursor = await registry.cursor(KEY)
        await notifier.notify_many([(KEY, number) for number in range(5)])
        got: list[Any] = []
        await registry.register(KEY, got.append, since=cursor, on_gap=got.append)
        await adapter.until(lambda: len(got) >= 4)
        gap = got[0]
        assert isinstance(gap, Gap)
        assert (gap.key, gap.reason, [n.data for n in got[1:]]) == (NAME, "trimmed", [2, 3, 4])
        again = Heard()
        await registry.register(KEY, again, since=gap.cursor, on_gap=got.append)
        await adapter.until(lambda: again.data == [2, 3, 4])
        assert len(got) == 4

    async def test_the_start_is_never_told_a_gap(self, adapter: Adapter) -> None:
        store = adapter.store_with(keep=3, keep_min_seconds=0)
        registry, notifier = await adapter.started(store), adapter.notifier(store)
        await notifier.notify_many([(KEY, number) for number in range(5)])
        heard, gaps = Heard(), list[Gap]()
        await registry.register(KEY, heard, since="start", on_gap=gaps.append)
        await adapter.until(lambda: heard.data == [2, 3, 4])
        assert not gaps

    async def test_a_log_that_begins_anew_is_told_as_a_gap_to_cursors_and_to_the_living(
        self, adapter: Adapter, store: Store
    ) -> None:
        registry, notifier = await adapter.started(**QUICK), adapter.notifier()
        living: list[Any] = []
        coming: list[Any] = []
        await registry.register(KEY, living.append, on_gap=living.append)
        cursor = await registry.cursor(KEY)
        await adapter.in_thread(store.renew_epochs)
        await notifier.notify(KEY, "new")
        await registry.register(KEY, coming.append, since=cursor, on_gap=coming.append)
        await adapter.until(lambda: len(living) >= 2 and len(coming) >= 2)
        for got in (living, coming):
            gap, n = got
            assert isinstance(gap, Gap)
            assert (gap.reason, n.data) == ("restarted", "new")

    async def test_a_gap_that_nobody_asked_for_is_counted(self, adapter: Adapter) -> None:
        store = adapter.store_with(keep=1, keep_min_seconds=0)
        registry, notifier, heard = await adapter.started(store), adapter.notifier(store), Heard()
        cursor = await registry.cursor(KEY)
        await notifier.notify_many([(KEY, 1), (KEY, 2)])
        await registry.register(KEY, heard, since=cursor)
        await adapter.until(lambda: heard.data == [2])
        assert registry.counts["gaps"] == 1

    async def test_an_on_gap_that_raises_stops_nothing(self, adapter: Adapter) -> None:
        told: list[BaseException] = []
        store = adapter.store_with(keep=1, keep_min_seconds=0)
        registry = await adapter.started(store, on_error=lambda error, _: told.append(error))
        notifier, heard = adapter.notifier(store), Heard()
        cursor = await registry.cursor(KEY)
        await notifier.notify_many([(KEY, 1), (KEY, 2)])

        def broken(gap: Gap) -> None:
            raise RuntimeError(gap.reason)

        await registry.register(KEY, heard, since=cursor, on_gap=broken)
        await adapter.until(lambda: heard.data == [2])
        assert [str(error) for error in told] == ["trimmed"]
