"""Long connections: silence, clients that go, clients that are slow, and the end of a process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from ...abc import Store
from ..adapter.base import NAME, AwaitedNotifier
from .base import KEY, QUICK, BridgeAdapter, BridgeTests, Distant, Tab, data_of, each_transport
from .clients import Ended, Item, Transport, with_query
from .crowds import Crowd
from .sockets import Socket

PIECE = "x" * 100_000
PIECES = 100
"""10 MB in all: more than what kernels keep on the way."""
ROOMY: dict[str, float] = {"keep_bytes": 64 << 20}
QUICK_COMMENTS: dict[str, Any] = {"comment_seconds": 0.3}

streams = pytest.mark.parametrize("transport", ["events", "socket"])


class LastingTests(BridgeTests):
    """Connections, from their beginning to their end."""

    async def test_in_silence_comments_are_sent(self, adapter: BridgeAdapter) -> None:
        _, notifier, url = await self.mounted(adapter, "events", **QUICK_COMMENTS)
        async with self.tab(adapter, url, "events") as tab:
            events: Any = tab.browser
            while events.comments < 4:
                await adapter.in_thread(events.next_block)
            await notifier.notify(KEY, "still here")
            assert data_of([await tab.next()]) == ["still here"]

    async def test_events_say_when_to_come_again_and_that_nobody_may_buffer(self, adapter: BridgeAdapter) -> None:
        _, _, url = await self.mounted(adapter, "events")
        waits = set()
        for _ in range(5):
            async with self.tab(adapter, url, "events") as tab:
                events: Any = tab.browser
                waits.add(events.retry_ms)
        assert all(1000 <= wait <= 4000 for wait in waits)
        assert len(waits) > 1
        assert events.headers["content-type"].startswith("text/event-stream")
        assert "no-store" in events.headers["cache-control"]
        assert events.headers["x-accel-buffering"] == "no"

    async def test_in_silence_a_socket_is_pinged_and_kept_while_it_answers(self, adapter: BridgeAdapter) -> None:
        _, notifier, url = await self.mounted(adapter, "socket", **QUICK_COMMENTS)
        async with self.tab(adapter, url, "socket") as tab:
            socket: Any = tab.browser
            while socket.pings < 4:
                await adapter.in_thread(socket.receive_frame)
            await notifier.notify(KEY, "still here")
            assert data_of([await tab.next()]) == ["still here"]

    async def test_a_socket_that_answers_no_ping_is_closed(self, adapter: BridgeAdapter, store: Store) -> None:
        _, _, url = await self.mounted(adapter, "socket", **QUICK_COMMENTS)
        async with self.tab(adapter, url, "socket", answers_pings=False) as tab:
            socket: Any = tab.browser
            assert await adapter.in_thread(socket.ended) == 1013
            assert socket.pings == 2
            await adapter.until_store(lambda: not _is_wanted(store))

    @streams
    async def test_a_client_that_has_gone_leaves_nothing_behind(
        self, adapter: BridgeAdapter, store: Store, transport: Transport
    ) -> None:
        registry, _, url = await self.mounted(adapter, transport)
        async with self.tab(adapter, url, transport) as tab:
            assert await adapter.in_thread(_is_wanted, store)
            await tab.close()
            await adapter.until_store(lambda: not _is_wanted(store))
        await _stops_at_once(registry)

    async def test_a_poll_whose_client_has_gone_is_over(self, adapter: BridgeAdapter, store: Store) -> None:
        registry, _, url = await self.mounted(adapter, "poll")
        crowd = await adapter.in_thread(Crowd, with_query(url, timeout="60"), 1)
        await adapter.until_store(lambda: _is_wanted(store))
        await adapter.in_thread(crowd.close)
        await adapter.until_store(lambda: not _is_wanted(store))
        await _stops_at_once(registry)

    async def test_a_socket_that_says_goodbye_is_answered(self, adapter: BridgeAdapter, store: Store) -> None:
        _, _, url = await self.mounted(adapter, "socket")
        async with self.tab(adapter, url, "socket") as tab:
            socket: Any = tab.browser
            await adapter.in_thread(socket.say_goodbye, 1000)
            assert await adapter.in_thread(socket.ended) == 1000
            await adapter.until_store(lambda: not _is_wanted(store))

    @streams
    async def test_a_client_that_goes_amid_a_flood_leaves_nothing_behind(
        self, adapter: BridgeAdapter, store: Store, transport: Transport
    ) -> None:
        registry, notifier, url = await self.mounted(adapter, transport)
        async with self.tab(adapter, url, transport, receive_bytes=4096) as tab:
            await notifier.notify_many([(KEY, PIECE)] * PIECES)
            await tab.close()
            await adapter.until_store(lambda: not _is_wanted(store))
        await _stops_at_once(registry)

    @streams
    async def test_what_a_slow_client_has_not_read_waits_in_the_log_and_not_in_memory(
        self, adapter: BridgeAdapter, transport: Transport
    ) -> None:
        few = adapter.store_with(keep=4, keep_min_seconds=0)
        _, notifier, url = await self.mounted(adapter, transport, store=few, max_pending=4)
        async with self.tab(adapter, url, transport, receive_bytes=4096) as tab:
            for number in range(PIECES):
                await notifier.notify(KEY, [number, PIECE])
            items = [await tab.next()]
            while items[-1].kind == "gap" or items[-1].data[0] < PIECES - 1:
                items.append(await tab.next())
        numbers = [item.data[0] for item in items if item.kind == "notification"]
        assert "gap" in [item.kind for item in items]
        assert numbers == sorted(set(numbers))

    @streams
    async def test_a_slow_client_that_reads_on_has_lost_nothing(
        self, adapter: BridgeAdapter, transport: Transport
    ) -> None:
        _, notifier, url = await self.mounted(adapter, transport, store=adapter.store_with(**ROOMY), max_pending=4)
        async with self.tab(adapter, url, transport, receive_bytes=4096) as tab:
            for number in range(PIECES):
                await notifier.notify(KEY, [number, PIECE])
            items = await tab.read(PIECES)
        assert [item.data[0] for item in items] == list(range(PIECES))

    @streams
    async def test_a_client_that_reads_nothing_is_closed_and_resumes_without_loss(
        self, adapter: BridgeAdapter, transport: Transport
    ) -> None:
        roomy = adapter.store_with(**ROOMY)
        _, notifier, url = await self.mounted(adapter, transport, store=roomy, **QUICK_COMMENTS)
        _, _, elsewhere = await self.mounted(adapter, transport, store=roomy)
        async with self.tab(adapter, url, transport, receive_bytes=4096) as tab:
            for number in range(PIECES):
                await notifier.notify(KEY, [number, PIECE])
            got = await _read_until_closed(adapter, notifier, tab)
            async with self.tab(adapter, elsewhere, transport, tab.cursor) as again:
                got += await again.read(PIECES - len(got))
        assert [item.data[0] for item in got] == list(range(PIECES))

    @streams
    async def test_where_only_the_newest_counts_a_slow_client_skips_to_it(
        self, adapter: BridgeAdapter, transport: Transport
    ) -> None:
        _, notifier, url = await self.mounted(
            adapter, transport, {"account": [42, 43]}, store=adapter.store_with(**ROOMY), policy="latest"
        )
        async with self.tab(adapter, url, transport, receive_bytes=4096) as tab:
            for number in range(PIECES):
                await notifier.notify({"account": 42 + number % 2}, [number, PIECE])
            last: list[int] = []
            while set(last[-2:]) != {PIECES - 2, PIECES - 1}:
                last.append((await tab.next()).data[0])
        assert len(last) < PIECES
        assert [n for n in last if n % 2] == sorted(n for n in last if n % 2)

    @streams
    async def test_a_stop_tells_whoever_reads_to_go_elsewhere_with_its_cursor(
        self, adapter: BridgeAdapter, transport: Transport
    ) -> None:
        registry, notifier, url = await self.mounted(adapter, transport)
        _, _, elsewhere = await self.mounted(adapter, transport)
        async with self.tab(adapter, url, transport) as tab:
            await notifier.notify(KEY, "before")
            assert data_of([await tab.next()]) == ["before"]
            _, last = await adapter.gather(_stop(registry, 1), tab.next())
            assert last is not None
            assert (last.kind, last.cursor) == ("reconnect", tab.cursor)
            if isinstance(tab.browser, Socket):
                assert await adapter.in_thread(tab.browser.ended) == 1001
        await notifier.notify(KEY, "meanwhile")
        async with self.tab(adapter, elsewhere, transport, last.cursor) as tab:
            assert data_of([await tab.next()]) == ["meanwhile"]

    @streams
    async def test_a_stop_spreads_the_ends_over_the_time_given(
        self, adapter: BridgeAdapter, transport: Transport
    ) -> None:
        registry, _, url = await self.mounted(adapter, transport)
        crowd = await adapter.in_thread(Crowd, url, 16, transport)
        await adapter.in_thread(crowd.connected)
        began = time.monotonic()
        _, ends = await adapter.gather(_stop(registry, 2.0), adapter.in_thread(crowd.ends))
        await adapter.in_thread(crowd.close)
        assert ends is not None
        assert len(ends) == 16
        assert max(ends) - min(ends) > 0.4
        assert max(ends) - began < 2.0 + 1.0

    async def test_a_stop_answers_polls_within_the_time_given(self, adapter: BridgeAdapter) -> None:
        registry = await adapter.started(**QUICK)
        asked: list[object] = []
        url = await adapter.serve(registry, "poll", keys=_noting(asked, adapter.allows(KEY)))
        crowd = await adapter.in_thread(Crowd, with_query(url, timeout="60"), 8)
        await adapter.until(lambda: len(asked) == 8)  # who asks while it stops is sent elsewhere
        began = time.monotonic()
        _, ends = await adapter.gather(_stop(registry, 1.0), adapter.in_thread(crowd.ends))
        assert ends is not None
        assert max(ends) - began < 1.0 + 1.0
        assert await adapter.in_thread(crowd.statuses) == [204] * 8
        await adapter.in_thread(crowd.close)

    @each_transport
    async def test_a_thousand_that_connect_at_once_take_few_transactions(
        self, adapter: BridgeAdapter, store: Store, transport: Transport
    ) -> None:
        distant = Distant(store)
        distant.seconds = 0.05
        registry, notifier, url = await self.mounted(adapter, transport, store=distant)
        asked = with_query(url, timeout="60", since=await registry.cursor(KEY))
        crowd = await adapter.in_thread(Crowd, asked, 1000, transport)
        await adapter.until_store(lambda: _is_wanted(store))
        await notifier.notify(KEY, "for all")
        assert await adapter.in_thread(crowd.heard, b"for all") == 1000
        assert distant.calls["add_hooks"] + distant.calls["remove_hooks"] <= 50
        await adapter.in_thread(crowd.close)


def _is_wanted(store: Store) -> bool:
    return bool(store.targets([NAME])[NAME])


def _noting(asked: list[object], keys: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Note each request that is asked about."""

    def noted(request: Any) -> Any:
        asked.append(request)
        return keys(request)

    return noted


async def _read_until_closed(adapter: BridgeAdapter, notifier: AwaitedNotifier, tab: Tab) -> list[Item]:
    """Read nothing until the server has had enough, and then what was on the way."""
    while await notifier.interest(KEY):
        await adapter.sleep(0.02)
    items: list[Item] = []
    try:
        while True:
            items.append(await tab.next())
    except Ended:
        return items


async def _stop(registry: Any, drain_seconds: float) -> None:
    await registry.stop(drain_seconds=drain_seconds)


async def _stops_at_once(registry: Any) -> None:
    """Stop, and see that no stream is waited for."""
    began = time.monotonic()
    await registry.stop(drain_seconds=8)
    assert time.monotonic() - began < 4
