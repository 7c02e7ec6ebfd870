"""The traces of PROTOCOL.md's "What goes wrong without them", each aimed at, the rest left to chance."""

from __future__ import annotations

from ..._notification import Gap, Notification
from ._weather import Weather
from ._world import Scenario, World

TRACES: dict[str, Scenario] = {}


def trace(work: Scenario) -> Scenario:
    """Add a scenario under its function's name."""
    TRACES[work.__name__] = work
    return work


@trace
async def t01_answers_crossed(w: World) -> None:
    """1: two registrations of one key, with a notification between their answers."""
    web, job = await w.started(), w.job()
    w.weather = Weather(slow=0.3, post_lost=0.5, post_held=0.3)
    web.register("1")
    for _ in range(3):
        await w.moments()
        job.notify("1")
        await w.moments()
        web.register("1")
    await w.moments(4)


@trace
async def t02_position_from_a_post(w: World) -> None:
    """2: the first POST is lost and the second one is here before the answer of `add_hooks`."""
    web, job = await w.started(), w.job()
    w.weather = Weather(slow=0.5, post_lost=0.4, post_twice=0.2)
    web.register("1")
    await w.moments()
    for _ in range(3):
        job.notify("1")
        await w.moments(0.5)
    await w.moments(4)


@trace
async def t03_heartbeat_while_joining(w: World) -> None:
    """3: a heartbeat hears of a key whose `add_hooks` is not yet answered."""
    web, job = await w.started(), w.job()
    w.weather = Weather(slow=1.0, slow_only=("add_hooks",), post_lost=0.8)
    web.register("1")
    await w.moments(2.5)
    job.notify("1", timeout_seconds=1.0)
    await w.moments(0.1)
    web.beat()
    await w.moments(3)


@trace
async def t04_read_failed(w: World) -> None:
    """4: a heartbeat has learned that a key has moved, and the read fails."""
    web, job = await w.started(), w.job()
    await w.registered(web, "1")
    w.weather = Weather(reads_fail=0.8, post_lost=0.8)
    for _ in range(2):
        job.notify("1", timeout_seconds=2.0)
        await w.moments(3)
        await web.beat().wait()
    await w.moments()


@trace
async def t05_remove_overtakes_add(w: World) -> None:
    """5: the last one leaves and the next one comes."""
    web, job = await w.started(), w.job()
    listener = await w.registered(web, "1", "2")
    w.weather = Weather(slow=0.3, in_steps=0.5)
    for _ in range(3):
        web.unregister(listener)
        await w.moments()
        listener = await web.register("1").done()
        job.notify("1")
        await w.moments(0.3)


@trace
async def t06_late_remove(w: World) -> None:
    """6: a remove that was given up is carried out after the next add."""
    web, job = await w.started(), w.job()
    listener = await w.registered(web, "1")
    w.weather = Weather(store_late=0.8, only=("remove_hooks",), late_seconds=6)
    for _ in range(2):
        web.unregister(listener)
        await w.moments(5)
        listener = await web.register("1").done()
        await w.moments(5)
        job.notify("1")


@trace
async def t07_reap_against_renew(w: World) -> None:
    """7: an instance renews its lease while it is being reaped."""
    web, other, job = await w.started(), await w.started(), w.job()
    await w.registered(web, "1", "2")
    await _expire(w)
    w.weather = Weather(slow=0.1, in_steps=1.0)
    other.reap()
    await w.moments()
    web.beat()
    job.notify("1")
    await w.moments(3)


@trace
async def t08_joined_again(w: World) -> None:
    """8: an instance joins again while the hooks of its last life are being pulled."""
    web, other, job = await w.started(), await w.started(), w.job()
    await w.registered(web, "1", "2", "3")
    await w.registered(web, "2")
    await _expire(w)
    w.weather = Weather(slow=0.3, in_steps=1.0)
    other.reap()
    await w.moments()
    await web.beat().wait()
    job.notify("2")
    await w.moments(3)


@trace
async def t09_joined_half_way(w: World) -> None:
    """9: joined again, and then `add_hooks` fails, perhaps after a part; another `register` is in flight."""
    web, other, job = await w.started(), await w.started(), w.job()
    await w.registered(web, "1", "2", "3")
    await _expire(w)
    await other.reap().wait()
    w.weather = Weather(store_before=0.3, store_after=0.5, slow=0.2, in_steps=0.5, only=("add_hooks",))
    web.register("4")
    await w.moments(1)
    web.beat()
    await w.moments(1)
    job.notify("1")
    job.notify("4")
    await w.moments(4)


@trace
async def t10_epoch_from_a_post(w: World) -> None:
    """10: the log gets a new epoch, and a POST from before arrives after it."""
    w.looks = w.chance(0.5)
    web, job = await w.started(), w.job()
    await w.registered(web, "1")
    w.weather = Weather(post_late=0.4, post_lost=0.2, post_twice=0.2)
    for number in range(4):
        job.notify("1", timeout_seconds=2.0)
        await w.moments(0.5)
        if number == 1:
            w.server.vanish("k=1") if w.looks else w.server.renew_epochs()
            await w.moments(0.2)
            await web.beat().wait()
    await w.moments(15)


@trace
async def t10_flag_cleared_late(w: World) -> None:
    """10: something says "look" while a read is under way that was made before the epoch changed."""
    web, job = await w.started(), w.job()
    await w.registered(web, "1")
    await job.notify("1").wait()
    w.weather = Weather(slow=1.0, slow_only=("read",), post_lost=0.3)
    web.register("1", since="start")
    await w.moments(2)
    w.server.renew_epochs()
    job.notify("1", timeout_seconds=2.0)
    await w.moments(0.2)
    web.beat()
    await w.moments(3)


@trace
async def t10_page_older_than_memory(w: World) -> None:
    """10: a POST comes while a page is on its way that does not have it yet."""
    web, job = await w.started(), w.job()
    await w.registered(web, "1")
    w.weather = Weather(slow=0.5)
    for _ in range(4):
        job.notify("1")
        await w.moments(0.5)
        web.register("1", since="start")
    await w.moments(3)


@trace
async def t11_callbacks_come_back(w: World) -> None:
    """11: while a callback runs, other POSTs are taken and want to be dispatched."""
    web, job = await w.started(), w.job()
    for _ in range(3):
        listener = await w.registered(web, "1")
        listener.on_call = lambda _: _let_others_run(w)
    w.weather = Weather(post_held=0.4)
    for _ in range(4):
        job.notify("1")
        await w.moments(0.02)


@trace
async def t12_unregistered_by_a_callback(w: World) -> None:
    """12: a callback unregisters the one that would be called next."""
    web, job = await w.started(), w.job()
    listeners = [await w.registered(web, "1") for _ in range(3)]

    def leave(_: Notification | Gap) -> None:
        if w.chance(0.5):
            web.unregister(listeners[w.scheduler.pick(3)], eagerly=True)

    listeners[0].on_call = leave
    for _ in range(3):
        job.notify("1")
        await w.moments()


async def _expire(w: World) -> None:
    """Let a lease run out: the instance does not reach the store for longer than that."""
    w.weather = Weather(store_down=True)
    await w.sleep(41)
    w.weather = Weather(fine=True)


def _let_others_run(w: World) -> None:
    if w.chance(0.5):
        w.scheduler.run(w.scheduler.now + 0.01)
