"""What a tab is told: live, replayed, resumed elsewhere, each once and in order."""

from __future__ import annotations

import time
from collections.abc import Sequence
from uuid import uuid4

import msgspec
import pytest

from ..._bridge.poll import REPLAY_SECONDS
from ..._values import Publication
from ...abc import Store
from ..adapter.base import NAME
from .base import KEY, BridgeAdapter, BridgeTests, Distant, data_of, each_transport
from .clients import Transport, get, with_query

DATA = [
    None,
    "ünïcödé \U0001f4e1",
    "line\nbreak\r\nand\u2028another\u2029",
    {"rows": [1, 2.5, True, None]},
    "x" * 120_000,
    2**63 - 1,
]


class ReadingTests(BridgeTests):
    """Notifications, in every transport."""

    @each_transport
    async def test_what_comes_is_told_once_and_in_order(self, adapter: BridgeAdapter, transport: Transport) -> None:
        _, notifier, url = await self.mounted(adapter, transport)
        async with self.tab(adapter, url, transport) as tab:
            for number in range(20):
                await notifier.notify(KEY, number)
            items = await tab.read(20)
        assert data_of(items) == list(range(20))
        assert len({item.cursor for item in items}) == 20

    @each_transport
    async def test_two_tabs_are_told_the_same(self, adapter: BridgeAdapter, transport: Transport) -> None:
        _, notifier, url = await self.mounted(adapter, transport)
        async with self.tab(adapter, url, transport) as one, self.tab(adapter, url, transport) as other:
            await notifier.notify_many([(KEY, number) for number in range(5)])
            assert data_of(await one.read(5)) == data_of(await other.read(5)) == list(range(5))

    @each_transport
    async def test_start_replays_all_that_is_kept_and_goes_on_live(
        self, adapter: BridgeAdapter, transport: Transport
    ) -> None:
        _, notifier, url = await self.mounted(adapter, transport)
        await notifier.notify_many([(KEY, number) for number in range(3)])
        async with self.tab(adapter, url, transport, "start") as tab:
            first = await tab.read(3)
            await notifier.notify(KEY, "live")
            assert data_of([*first, await tab.next()]) == [0, 1, 2, "live"]

    @each_transport
    async def test_a_cursor_taken_before_the_job_misses_nothing_of_it(
        self, adapter: BridgeAdapter, transport: Transport
    ) -> None:
        registry, notifier, url = await self.mounted(adapter, transport)
        await notifier.notify(KEY, "before")
        cursor = await registry.cursor(KEY)
        await notifier.notify(KEY, "result")
        async with self.tab(adapter, url, transport, cursor) as tab:
            assert data_of([await tab.next()]) == ["result"]

    @each_transport
    async def test_a_tab_goes_on_at_another_process_without_gap_or_double(
        self, adapter: BridgeAdapter, transport: Transport
    ) -> None:
        _, notifier, url = await self.mounted(adapter, transport)
        _, _, elsewhere = await self.mounted(adapter, transport)
        got, cursor = [], None
        for begin in range(0, 30, 3):
            await notifier.notify_many([(KEY, number) for number in range(begin, begin + 3)])
            async with self.tab(adapter, (url, elsewhere)[begin % 2], transport, cursor or "start") as tab:
                got += await tab.read(2)  # and so it leaves something behind, each time a little more
                cursor = tab.cursor
        async with self.tab(adapter, url, transport, cursor) as tab:
            got += await tab.read(10)
        assert data_of(got) == list(range(30))

    @each_transport
    async def test_a_tab_that_was_told_nothing_has_a_cursor_all_the_same(
        self, adapter: BridgeAdapter, transport: Transport
    ) -> None:
        _, notifier, url = await self.mounted(adapter, transport)
        async with self.tab(adapter, url, transport) as tab:
            cursor = tab.cursor
        await notifier.notify(KEY, "meanwhile")
        async with self.tab(adapter, url, transport, cursor) as tab:
            assert data_of([await tab.next()]) == ["meanwhile"]

    @each_transport
    async def test_a_cursor_that_does_not_know_a_key_is_completed_at_once(
        self, adapter: BridgeAdapter, transport: Transport
    ) -> None:
        registry, notifier, url = await self.mounted(adapter, transport, {"account": [42, 43]})
        async with self.tab(adapter, url, transport, await registry.cursor(KEY)) as tab:
            cursor = tab.cursor
        await notifier.notify({"account": 43}, "meanwhile")
        async with self.tab(adapter, url, transport, cursor) as tab:
            assert data_of([await tab.next()]) == ["meanwhile"]

    @each_transport
    async def test_several_keys_come_in_one_stream(self, adapter: BridgeAdapter, transport: Transport) -> None:
        _, notifier, url = await self.mounted(adapter, transport, {"account": [42, 43], "team": "a"})
        async with self.tab(adapter, url, transport) as tab:
            each: list[dict[str, object]] = [{"account": 42}, {"account": 43}, {"team": "a"}]
            for number in range(9):
                await notifier.notify(each[number % 3], number)
            await notifier.notify({"account": [43, 42], "team": "a"}, "all")
            got = data_of(await tab.read(10))
        assert sorted(got, key=str) == [*range(9), "all"]

    @each_transport
    async def test_data_arrives_untouched(self, adapter: BridgeAdapter, transport: Transport) -> None:
        _, notifier, url = await self.mounted(adapter, transport)
        async with self.tab(adapter, url, transport) as tab:
            await notifier.notify_many([(KEY, data) for data in DATA])
            assert data_of(await tab.read(len(DATA))) == DATA

    @each_transport
    @pytest.mark.parametrize("data", [b'{\n "a":\r\n  [1,\r2]\n}', '"\u2028\u2029\x85"'.encode(), b" 1 "])
    async def test_json_of_others_arrives_as_the_same_value(
        self, adapter: BridgeAdapter, store: Store, transport: Transport, data: bytes
    ) -> None:
        _, _, url = await self.mounted(adapter, transport)
        async with self.tab(adapter, url, transport) as tab:
            await adapter.in_thread(_publish, store, [data])
            assert data_of([await tab.next()]) == [msgspec.json.decode(data)]

    @each_transport
    async def test_a_gap_is_told_and_not_twice(self, adapter: BridgeAdapter, transport: Transport) -> None:
        store = adapter.store_with(keep=2, keep_min_seconds=0)
        registry, notifier, url = await self.mounted(adapter, transport, store=store)
        cursor = await registry.cursor(KEY)
        await notifier.notify_many([(KEY, number) for number in range(6)])
        async with self.tab(adapter, url, transport, cursor) as tab:
            gap = await tab.next()
            assert data_of(await tab.read(2)) == [4, 5]
        async with self.tab(adapter, url, transport, gap.cursor) as tab:
            assert data_of(await tab.read(2)) == [4, 5]
        assert (gap.kind, gap.data["key"], gap.data["reason"]) == ("gap", NAME, "trimmed")

    @pytest.mark.parametrize("transport", ["events", "socket"])  # between two polls nobody is there
    async def test_what_was_never_in_the_log_is_told_as_well(
        self, adapter: BridgeAdapter, transport: Transport
    ) -> None:
        _, notifier, url = await self.mounted(adapter, transport)
        async with self.tab(adapter, url, transport) as tab:
            await notifier.notify(KEY, "percent", ephemeral=True)
            assert data_of([await tab.next()]) == ["percent"]

    async def test_last_event_id_counts_more_than_the_query(self, adapter: BridgeAdapter) -> None:
        registry, notifier, url = await self.mounted(adapter, "events")
        await notifier.notify(KEY, "first")
        cursor = await registry.cursor(KEY)
        await notifier.notify(KEY, "second")
        headers = [("Last-Event-ID", cursor)]
        async with self.tab(adapter, url, "events", "start", headers=headers) as tab:
            assert data_of([await tab.next()]) == ["second"]

    async def test_a_socket_tells_id_key_and_time(self, adapter: BridgeAdapter) -> None:
        _, notifier, url = await self.mounted(adapter, "socket")
        await notifier.notify(KEY, 1, id="task-1")
        async with self.tab(adapter, url, "socket", "start") as tab:
            message = await adapter.in_thread(tab.browser.receive)  # type: ignore[attr-defined]  # a socket's own
        told = msgspec.json.decode(message)
        assert (told["type"], told["id"], told["key"], told["replayed"]) == ("notification", "task-1", NAME, True)
        assert told["sent_at"] > 1e9

    async def test_a_socket_takes_its_cursor_from_the_first_message(self, adapter: BridgeAdapter) -> None:
        registry, notifier, url = await self.mounted(adapter, "socket")
        cursor = await registry.cursor(KEY)
        await notifier.notify(KEY, 1)
        for since in (cursor, "start"):
            first = msgspec.json.encode({"since": since})
            async with self.tab(adapter, url, "socket", "", first=first) as tab:
                assert data_of([await tab.next()]) == [1]

    async def test_a_socket_s_first_message_may_have_no_cursor_yet(self, adapter: BridgeAdapter) -> None:
        _, notifier, url = await self.mounted(adapter, "socket")
        await notifier.notify(KEY, "before")
        async with self.tab(adapter, url, "socket", "", first=b'{"since": ""}') as tab:
            await notifier.notify(KEY, "live")
            assert data_of([await tab.next()]) == ["live"]

    async def test_events_have_the_name_that_the_application_gives(self, adapter: BridgeAdapter) -> None:
        registry, notifier, url = await self.mounted(adapter, "events", event="result")
        by_key = await adapter.serve(
            registry, "events", keys=adapter.allows(KEY), event=lambda notification: notification.key
        )
        async with self.tab(adapter, url, "events") as one, self.tab(adapter, by_key, "events") as other:
            await notifier.notify(KEY, 1)
            assert ((await one.next()).name, (await other.next()).name) == ("result", NAME)

    async def test_a_function_that_fails_to_name_one_event_stops_no_other(self, adapter: BridgeAdapter) -> None:
        _, notifier, url = await self.mounted(adapter, "events", event=lambda notification: notification.data["kind"])
        async with self.tab(adapter, url, "events") as tab:
            for data in ({"kind": "a"}, {}, {"kind": "b"}):
                await notifier.notify(KEY, data)
            assert [(await tab.next()).name for _ in range(3)] == ["a", None, "b"]

    async def test_a_poll_brings_at_once_what_the_log_has(self, adapter: BridgeAdapter, store: Store) -> None:
        registry, notifier, url = await self.mounted(adapter, "poll", store=Distant(store))
        cursor = await registry.cursor(KEY)
        await notifier.notify_many([(KEY, 1), (KEY, 2)])
        answer = await adapter.in_thread(get, with_query(url, since=cursor, timeout="0"))
        told = msgspec.json.decode(answer.body)
        assert [one["data"] for one in told["notifications"]] == [1, 2]
        assert told["cursor"] == answer.headers["skyhooks-cursor"] == await registry.cursor(KEY)

    async def test_a_poll_that_is_not_to_wait_does_not_wait_for_an_empty_log(self, adapter: BridgeAdapter) -> None:
        _, _, url = await self.mounted(adapter, "poll")
        began = time.monotonic()
        answer = await adapter.in_thread(get, with_query(url, since="start", timeout="0"))
        assert (answer.status, answer.headers["skyhooks-cursor"]) == (204, "start")
        assert time.monotonic() - began < REPLAY_SECONDS / 2

    async def test_a_poll_to_which_nothing_comes_is_answered_204(self, adapter: BridgeAdapter) -> None:
        registry, _, url = await self.mounted(adapter, "poll")
        answer = await adapter.in_thread(get, with_query(url, timeout="0.2"))
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["skyhooks-cursor"] == await registry.cursor(KEY)


def _publish(store: Store, data: Sequence[bytes]) -> None:
    store.publish([Publication(NAME, uuid4().hex, uuid4().hex, one, 1.5) for one in data])
