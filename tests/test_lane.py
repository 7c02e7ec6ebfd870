"""Lanes, in a world of coroutines and in one of threads: one trip in flight, order kept, nothing lost."""

from __future__ import annotations

import asyncio
import threading

import pytest

from skyhooks._driver import run
from skyhooks._lane import Lane

LIMIT_SECONDS = 10


class ThreadEvent:
    def __init__(self):
        self._event = threading.Event()
        self.set = self._event.set

    async def wait(self):
        assert self._event.wait(LIMIT_SECONDS)


class ThreadWorld:
    """Everything that is awaited blocks; what is spawned is a thread."""

    event = ThreadEvent

    def __init__(self):
        self._threads = []

    def run(self, body):
        run(body)

    def spawn(self, coroutine):
        thread = threading.Thread(target=run, args=(coroutine,))
        self._threads.append(thread)
        thread.start()

    async def join(self):
        for thread in self._threads:  # the list grows while it is walked
            thread.join(LIMIT_SECONDS)
            assert not thread.is_alive()


class LoopEvent:
    def __init__(self):
        self._event = asyncio.Event()
        self.set = self._event.set

    async def wait(self):
        await asyncio.wait_for(self._event.wait(), LIMIT_SECONDS)


class LoopWorld:
    """An asyncio loop; what is spawned is a task."""

    event = LoopEvent

    def __init__(self):
        self.tasks = []

    def run(self, body):
        asyncio.run(body)

    def spawn(self, coroutine):
        self.tasks.append(asyncio.create_task(coroutine))
        return self.tasks[-1]

    async def join(self):
        for task in self.tasks:  # the list grows while it is walked
            await asyncio.wait((task,), timeout=LIMIT_SECONDS)
            assert task.done()


@pytest.fixture(params=[LoopWorld, ThreadWorld], ids=["coroutines", "threads"])
def world(request):
    return request.param()


class Trips:
    """Records trips; the first one waits for `go`, so that others pile up behind it."""

    def __init__(self, world):
        self.carried = []
        self.begun = world.event()
        self.go = world.event()
        self.in_flight = 0
        self.most_in_flight = 0

    async def __call__(self, items):
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.carried.append(list(items))
        try:
            if len(self.carried) == 1:
                self.begun.set()
                await self.go.wait()
        finally:
            self.in_flight -= 1


async def busy(world, **limits):
    """Return a lane whose first trip, with item 0, is on its way."""
    trips = Trips(world)
    lane = Lane(world, trips, **{"max_items": 100, **limits})
    assert lane.put(0)
    leader = world.spawn(lane.lead([0]))
    await trips.begun.wait()
    return lane, trips, leader


def test_the_first_to_come_makes_the_trip_himself_and_leaves_the_lane_idle(world):
    async def body():
        trips = Trips(world)
        trips.go.set()
        lane = Lane(world, trips, max_items=10)
        assert lane.idle
        assert lane.put("mine")
        assert not lane.idle
        await lane.lead(["mine", "mine too"])
        assert lane.idle
        assert trips.carried == [["mine", "mine too"]]

    world.run(body())


def test_what_piles_up_goes_with_the_next_trip_in_order(world):
    async def body():
        lane, trips, _ = await busy(world)
        assert not lane.put(1)
        lane.post(2)
        assert not lane.put(3)
        trips.go.set()
        await world.join()
        assert trips.carried == [[0], [1, 2, 3]]
        assert trips.most_in_flight == 1
        assert lane.idle

    world.run(body())


def test_what_is_posted_to_an_idle_lane_is_carried_without_a_leader(world):
    async def body():
        trips = Trips(world)
        lane = Lane(world, trips, max_items=10)
        lane.post(1)
        await trips.begun.wait()
        lane.post(2)
        assert not lane.put(3)
        trips.go.set()
        await world.join()
        assert trips.carried == [[1], [2, 3]]
        assert lane.idle

    world.run(body())


def test_a_trip_carries_at_most_max_items(world):
    async def body():
        lane, trips, _ = await busy(world, max_items=2)
        for item in (1, 2, 3, 4, 5):
            lane.post(item)
        trips.go.set()
        await world.join()
        assert trips.carried == [[0], [1, 2], [3, 4], [5]]

    world.run(body())


def test_a_trip_carries_at_most_max_bytes_but_always_one_item(world):
    async def body():
        lane, trips, _ = await busy(world, max_bytes=10, size=lambda item: (1, item))
        for item in (4, 6, 1, 11, 2):
            lane.post(item)
        trips.go.set()
        await world.join()
        assert trips.carried == [[0], [4, 6], [1], [11], [2]]

    world.run(body())


def test_an_item_may_count_as_several(world):
    async def body():
        lane, trips, _ = await busy(world, max_items=3, size=lambda item: (item, 0))
        for item in (2, 1, 1, 5):
            lane.post(item)
        trips.go.set()
        await world.join()
        assert trips.carried == [[0], [2, 1], [1], [5]]

    world.run(body())


def test_who_cannot_lead_hands_the_lane_on(world):
    async def body():
        trips = Trips(world)
        trips.go.set()
        lane = Lane(world, trips, max_items=10)
        assert lane.put("not carried")
        lane.post("carried")
        lane.release("not carried")
        await world.join()
        assert trips.carried == [["carried"]]
        assert lane.idle
        assert lane.put("next")
        lane.release("not carried")
        assert not lane.idle
        lane.release("next")
        assert lane.idle

    world.run(body())


class Interrupted(BaseException):
    pass


class InterruptedWorld(ThreadWorld):
    """As if a signal handler raised when a thread is to be started: the first time before it, the second time after."""

    def __init__(self):
        super().__init__()
        self._interruptions = ["before", "after"]

    def spawn(self, coroutine):
        moment = self._interruptions.pop(0) if self._interruptions else None
        if moment == "before":
            coroutine.close()
            raise Interrupted
        super().spawn(coroutine)
        if moment == "after":
            raise Interrupted


def test_who_is_interrupted_amid_handing_on_may_do_it_again_and_nothing_is_carried_twice():
    world = InterruptedWorld()

    async def body():
        trips = Trips(world)
        trips.go.set()
        lane = Lane(world, trips, max_items=10)
        assert lane.put("mine")
        lane.post("theirs")
        for verb in (lambda: run(lane.lead(["mine"])), lambda: lane.release("mine")):
            with pytest.raises(Interrupted):
                verb()
        lane.release("mine")
        await world.join()
        assert trips.carried == [["mine"], ["theirs"]]
        assert lane.idle

    world.run(body())


def test_who_is_interrupted_amid_posting_may_release_what_he_posted():
    world = InterruptedWorld()

    async def body():
        trips = Trips(world)
        trips.go.set()
        lane = Lane(world, trips, max_items=10)
        with pytest.raises(Interrupted):
            lane.post("posted")
        with pytest.raises(Interrupted):
            lane.release("posted")
        lane.release("posted")
        await world.join()
        assert trips.carried == [["posted"]]
        assert lane.idle

    world.run(body())


def test_a_cancelled_leader_hands_on():
    world = LoopWorld()

    async def body():
        lane, trips, leader = await busy(world)
        lane.post(1)
        assert not lane.put(2)
        leader.cancel()
        await world.join()
        assert leader.cancelled()
        assert trips.carried == [[0], [1, 2]]
        assert lane.idle

    world.run(body())


def test_a_cancelled_drainer_hands_on():
    world = LoopWorld()

    async def body():
        trips = Trips(world)
        lane = Lane(world, trips, max_items=10)
        lane.post(1)
        await trips.begun.wait()
        lane.post(2)
        world.tasks[0].cancel()
        await world.join()
        assert trips.carried == [[1], [2]]
        assert lane.idle

    world.run(body())


def test_a_leader_whose_trip_raises_hands_on():
    world = LoopWorld()
    carried = []

    async def trip(items):
        carried.append(list(items))
        if len(carried) == 1:
            raise ZeroDivisionError

    async def body():
        lane = Lane(world, trip, max_items=10)
        assert lane.put(0)
        lane.post(1)
        with pytest.raises(ZeroDivisionError):
            await lane.lead([0])
        await world.join()
        assert carried == [[0], [1]]
        assert lane.idle

    world.run(body())


@pytest.mark.parametrize("callers", [16])
def test_nothing_is_lost_doubled_or_overtaken_under_many_callers(world, callers):
    each = 150
    carried = []
    in_flight = []

    async def trip(items):
        in_flight.append(1)
        assert len(in_flight) == 1
        assert len(items) <= 7
        carried.extend(items)
        in_flight.pop()

    async def caller(lane, name):
        for number in range(each):
            item = (name, number)
            if number % 3:
                lane.post(item)
            elif lane.put(item):
                await lane.lead([item])

    async def body():
        lane = Lane(world, trip, max_items=7)
        for name in range(callers):
            world.spawn(caller(lane, name))
        await world.join()
        assert lane.idle

    world.run(body())
    assert len(carried) == callers * each
    for name in range(callers):
        assert [number for one, number in carried if one == name] == list(range(each))


def test_what_a_drained_trip_raises_is_told_with_its_batch_and_the_lane_goes_on():
    world, told, carried = ThreadWorld(), [], []
    release = threading.Event()

    async def trip(batch):
        if batch == ["first"]:
            assert release.wait(LIMIT_SECONDS)
        elif batch == ["bad"]:
            raise LookupError("bad")
        carried.extend(batch)

    lane = Lane(world, trip, max_items=1, failed=lambda batch, error: told.append((list(batch), str(error))))
    for item in ("first", "bad", "last"):
        lane.post(item)
    release.set()
    for thread in world._threads:
        thread.join(LIMIT_SECONDS)
    assert told == [(["bad"], "bad")]
    assert carried == ["first", "last"]
    assert lane.idle


class ShelfWorld:
    """What is spawned waits here until the test runs it."""

    def __init__(self):
        self.spawned = []

    def spawn(self, coroutine):
        self.spawned.append(coroutine)


def test_a_drainer_that_was_overtaken_leaves_the_lane_alone():
    world, carried = ShelfWorld(), []

    async def trip(batch):
        carried.append(list(batch))

    lane = Lane(world, trip, max_items=5)
    lane.post("item")
    lane.release("item")
    for coroutine in world.spawned:
        run(coroutine)
    assert len(world.spawned) == 2
    assert carried == [["item"]]
    assert lane.idle


def test_what_a_drained_trip_raises_is_the_worlds_to_tell_where_nobody_else_asked_for_it():
    world, carried = ShelfWorld(), []

    async def trip(batch):
        if "bad" in batch:
            raise LookupError("bad")
        carried.extend(batch)

    lane = Lane(world, trip, max_items=1)
    lane.post("bad")
    lane.post("good")
    with pytest.raises(LookupError):
        run(world.spawned.pop(0))
    for coroutine in world.spawned:
        run(coroutine)
    assert carried == ["good"]
    assert lane.idle
