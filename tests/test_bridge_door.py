"""A crowd that comes at once: nobody is told that the store is away while it is not, and everybody while it is."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import pytest

from skyhooks import StoreUnavailable
from skyhooks._asyncio.registry import Registry
from skyhooks._asyncio.runtime import AsyncioRuntime
from skyhooks._bridge.door import MAX_OPENING, Door
from skyhooks._bridge.options import BridgeOptions
from skyhooks._hooks import MAX_KEYS_PER_TRIP
from skyhooks._stores import open_store
from skyhooks.abc import STORE_SECONDS

CROWD = 2 * MAX_OPENING


class Slow:
    """A store that takes its time over hooks, or is away."""

    instant = False

    def __init__(self, seconds=0.0):
        self.seconds = seconds
        self.is_away = False
        self.trips = 0
        self._store = open_store(f"memory://{uuid4().hex}")

    def __getattr__(self, name):
        return getattr(self._store, name)

    def add_hooks(self, *args):
        self.trips += 1
        time.sleep(self.seconds)
        if self.is_away:
            raise StoreUnavailable("it is away")
        return self._store.add_hooks(*args)


async def open_one(registry, number):
    feed = registry.feed(BridgeOptions())
    try:
        await feed.open({"account": number}, None)
    except StoreUnavailable:
        return False
    return True


async def open_all(store):
    async with Registry(store, listen=None) as registry:
        began = time.monotonic()
        opened = await asyncio.gather(*(open_one(registry, number) for number in range(CROWD)))
        seconds = time.monotonic() - began
        await registry.stop(drain_seconds=0)
        return opened.count(True), seconds


def test_a_crowd_that_takes_longer_than_the_store_may_is_let_in_all_the_same():
    store = Slow(seconds=STORE_SECONDS / 5)
    opened, seconds = asyncio.run(open_all(store))
    assert opened == CROWD
    assert seconds > STORE_SECONDS  # else this has shown nothing
    assert store.trips <= 2 * CROWD / MAX_KEYS_PER_TRIP


def test_a_crowd_before_a_store_that_is_away_is_told_so_together():
    store = Slow(seconds=STORE_SECONDS / 5)
    store.is_away = True
    opened, seconds = asyncio.run(open_all(store))
    assert opened == 0
    assert seconds < 2 * STORE_SECONDS


@pytest.fixture
def door():
    async def made():
        return Door(AsyncioRuntime(None, open_store("memory://door")))

    return made


def test_who_leaves_makes_room_for_the_one_who_has_waited_longest(door):
    async def body():
        entrance, order = await door(), []

        async def visit(number):
            await entrance.enter()
            order.append(number)

        for _ in range(MAX_OPENING):
            await entrance.enter()
        waiting = [asyncio.create_task(visit(number)) for number in range(3)]
        await asyncio.sleep(0)
        assert order == []
        for _ in range(3):
            entrance.leave()
        await asyncio.gather(*waiting)
        assert order == [0, 1, 2]

    asyncio.run(body())


def test_who_goes_while_waiting_or_just_when_let_in_takes_nobody_s_place(door):
    async def body():
        entrance = await door()
        for _ in range(MAX_OPENING):
            await entrance.enter()
        waiting = [asyncio.create_task(entrance.enter()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        entrance.leave()  # lets in the second, who goes before he knows
        waiting[1].cancel()
        await asyncio.wait_for(waiting[2], 5)
        assert [task.cancelled() for task in waiting] == [True, True, False]

    asyncio.run(body())


def test_who_goes_when_everybody_was_sent_home_makes_no_room(door):
    async def body():
        entrance = await door()
        for _ in range(MAX_OPENING):
            await entrance.enter()
        waiting = [asyncio.create_task(entrance.enter()) for _ in range(2)]
        await asyncio.sleep(0)
        entrance.refuse()
        waiting[0].cancel()
        with pytest.raises(StoreUnavailable):
            await waiting[1]
        late = asyncio.create_task(entrance.enter())
        await asyncio.sleep(0)
        assert not late.done()
        entrance.leave()
        await asyncio.wait_for(late, 5)

    asyncio.run(body())
