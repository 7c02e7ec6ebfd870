"""A crowd that comes at once: nobody is told that the store is away while it is not, and everybody while it is."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import pytest

from skyhooks import StoreUnavailable
from skyhooks._asyncio.registry import Registry
from skyhooks._asyncio.runtime import AsyncioRuntime
from skyhooks._bridge.door import MAX_INSIDE, TRIES, Door
from skyhooks._bridge.options import BridgeOptions
from skyhooks._hooks import MAX_KEYS_PER_TRIP
from skyhooks._stores import open_store
from skyhooks.abc import STORE_SECONDS

CROWD = 2 * MAX_INSIDE


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


class Entrance:
    """A door, and visitors who stay inside until they are told to go, or what they do fails."""

    def __init__(self):
        self.door = Door(AsyncioRuntime(None, open_store("memory://door")), lambda: self.answers)
        self.answers = 0
        self.inside = []

    def come(self):
        return asyncio.create_task(self.door.through(self._stay))

    async def come_all(self, count):
        visitors = [self.come() for _ in range(count)]
        await self.turn()
        return visitors

    async def turn(self):
        for _ in range(3):
            await asyncio.sleep(0)

    async def _stay(self):
        going = asyncio.get_running_loop().create_future()
        self.inside.append(going)
        return await going


def at_an_entrance(body):
    async def bounded():
        async with asyncio.timeout(20):
            await body(Entrance())

    def test():
        asyncio.run(bounded())

    return test


async def full(entrance):
    await entrance.come_all(MAX_INSIDE)
    assert len(entrance.inside) == MAX_INSIDE


@at_an_entrance
async def test_who_goes_makes_room_for_the_one_who_has_waited_longest(entrance):
    await full(entrance)
    first, second = await entrance.come_all(2)
    assert len(entrance.inside) == MAX_INSIDE
    entrance.inside[0].set_result(1)
    await entrance.turn()
    entrance.inside[MAX_INSIDE].set_result(2)
    assert await first == 2
    await entrance.turn()
    assert (len(entrance.inside), second.done()) == (MAX_INSIDE + 2, False)


@at_an_entrance
async def test_who_gives_up_while_waiting_or_just_when_let_in_takes_nobody_s_place(entrance):
    await full(entrance)
    first, second, third = await entrance.come_all(3)
    first.cancel()
    await entrance.turn()
    entrance.inside[0].set_result(None)
    await asyncio.sleep(0)
    second.cancel()
    await entrance.turn()
    entrance.inside[-1].set_result(3)
    assert await third == 3
    assert (first.cancelled(), second.cancelled()) == (True, True)


@at_an_entrance
async def test_where_the_store_answers_nobody_those_who_wait_are_told_so_too(entrance):
    await full(entrance)
    waiting = await entrance.come_all(2)
    gives_up = entrance.come()
    await entrance.turn()
    entrance.inside[0].set_exception(StoreUnavailable("it is away"))
    await asyncio.sleep(0)
    gives_up.cancel()  # before it knows
    for visitor in waiting:
        with pytest.raises(StoreUnavailable):
            await visitor
    await entrance.turn()
    assert gives_up.cancelled()
    (late,) = await entrance.come_all(1)
    entrance.inside[-1].set_result("in")
    assert await late == "in"


@at_an_entrance
async def test_where_the_store_answers_others_it_is_tried_again(entrance):
    (late,) = await entrance.come_all(1)
    tried = entrance.inside[0]
    for _ in range(1, TRIES):
        entrance.answers += 1
        tried.set_exception(StoreUnavailable("it took too long"))
        await entrance.turn()
        tried = entrance.inside[-1]
    tried.set_result("in")
    assert await late == "in"


@at_an_entrance
async def test_it_is_not_tried_for_ever(entrance):
    (late,) = await entrance.come_all(1)
    for _ in range(TRIES):
        entrance.answers += 1
        entrance.inside[-1].set_exception(StoreUnavailable("it took too long"))
        await entrance.turn()
    with pytest.raises(StoreUnavailable):
        await late
    assert len(entrance.inside) == TRIES
