"""Scenarios that aim at nothing in particular: everything fails now and then."""

from __future__ import annotations

from ... import _delivery, _fetcher, _hooks, _track
from ..._notification import Gap, Notification
from ._weather import Weather
from ._web import Web
from ._world import Scenario, World

STORMS: dict[str, Scenario] = {}


def storm(work: Scenario) -> Scenario:
    """Add a scenario under its function's name."""
    STORMS[work.__name__] = work
    return work


def drawn_weather(w: World) -> Weather:
    """Draw a weather in which a part of everything fails."""
    draw = w.scheduler.between
    w.server.page_entries = 1 + w.scheduler.pick(3) if w.chance(0.5) else 500
    return Weather(
        store_before=draw(0, 0.1),
        store_after=draw(0, 0.1),
        store_late=draw(0, 0.05),
        store_again=draw(0, 0.1),
        in_steps=draw(0, 0.5),
        slow=draw(0, 0.1),
        post_lost=draw(0, 0.3),
        answer_lost=draw(0, 0.1),
        post_twice=draw(0, 0.1),
        post_late=draw(0, 0.1),
        post_held=draw(0, 0.2),
        instant=(0.0, 0.0, 0.0, 0.5, 1.0)[w.scheduler.pick(5)],
    )


@storm
async def foul_weather(w: World) -> None:
    """Two processes and two jobs; everything fails now and then."""
    w.looks = w.chance(0.3)
    webs = [await w.started(), await w.started()]
    jobs = [w.job(), w.job()]
    w.weather = drawn_weather(w)
    webs[0].register("1")
    webs[1].register("1", "2")
    for _ in range(6):
        await w.moments(0.03 if w.chance(0.8) else 4)
        job = jobs[w.scheduler.pick(2)]
        job.notify("1") if w.chance(0.6) else job.notify("2", "1")
        if w.chance(0.2):
            webs[w.scheduler.pick(2)].register("1")
        if w.chance(0.1):
            await w.sleep(10)


@storm
async def poor_network(w: World) -> None:
    """POSTs and answers are lost, doubled, late; retained and ephemeral ones to several keys."""
    webs = [await w.started(), await w.started()]
    jobs = [w.job(), w.job()]
    await w.registered(webs[0], "1", "2")
    await w.registered(webs[0], "2")
    await w.registered(webs[1], "2", "3")
    w.weather = Weather(post_lost=0.2, answer_lost=0.3, post_twice=0.3, post_late=0.2, post_held=0.2)
    for _ in range(6):
        job = jobs[w.scheduler.pick(2)]
        keys = [("1", "2"), ("2",), ("3", "2", "1")][w.scheduler.pick(3)]
        job.notify(*keys, ephemeral=w.chance(0.5))
        await w.moments(1.5)


@storm
async def stuck_store(w: World) -> None:
    """The store does not answer in time, and several wait in one lane."""
    web, job = await w.started(), w.job()
    await w.registered(web, "1")
    w.weather = Weather(store_late=0.7, slow=0.3)
    for _ in range(5):
        web.register("1" if w.chance(0.3) else "2")
        job.notify("1", timeout_seconds=4.0)
        if w.chance(0.3):
            job.notify_many([("1", False), ("2", True)])
        await w.moments(1.5)
    await w.sleep(5)


@storm
async def cursors(w: World) -> None:
    """Browsers come back to another process with the cursor they have."""
    webs = [await w.started(), await w.started()]
    job = w.job()
    listener = await w.registered(webs[0], "1", "2", since="start" if w.chance(0.5) else None)
    w.weather = drawn_weather(w)
    for number in range(6):
        job.notify(*[("1",), ("2",), ("2", "1")][w.scheduler.pick(3)], timeout_seconds=3.0, ephemeral=w.chance(0.1))
        await w.moments(0.3 if w.chance(0.8) else 6)
        if w.chance(0.4):
            web = webs[number % 2]
            listener.web.unregister(listener)
            keys = ("1", "2") if w.chance(0.8) else ("2",)
            since = listener.cursor
            listener = await web.register(*keys, since=since).done()
            if not listener.open:
                listener = await w.registered(web, *keys, since=since)


@storm
async def streams(w: World) -> None:
    """Slow readers with next to no room, who come back to another process with the cursor of what they have read."""
    webs, job = [await w.started(), await w.started()], w.job()
    if w.chance(0.3):
        w.server.keep = 4
    w.weather = drawn_weather(w)
    for keys in (("1",), ("1", "2"), ("2",)):
        _open_stream(w, webs[0], keys, "start" if w.chance(0.5) else None)
    for _ in range(10):
        job.notify("1" if w.chance(0.7) else "2", timeout_seconds=3.0, ephemeral=w.chance(0.1))
        await w.moments(0.05 if w.chance(0.8) else 2)
        open_ones = [one for web in webs for one in web.listeners if one.open]
        if open_ones and w.chance(0.2):
            one = open_ones[w.scheduler.pick(len(open_ones))]
            one.web.unregister(one)
            _open_stream(w, webs[w.scheduler.pick(2)], tuple(key[2:] for key in one.keys), one.cursor)
        if w.chance(0.03):
            w.server.renew_epochs()
    await w.sleep(5)


@storm
async def outage(w: World) -> None:
    """The store is away for longer than a lease, comes back as it was, or empty; writes of before are carried out after it."""
    webs = [await w.started(), await w.started()]
    job = w.job()
    await w.registered(webs[0], "1", "2")
    await w.registered(webs[1], "2")
    w.weather = Weather(store_late=0.3, store_after=0.3)
    webs[1].register("1")
    job.notify("2", timeout_seconds=2.0)
    await w.moments(0.1)
    w.weather = Weather(store_down=True)
    await w.moments(60)
    if w.chance(0.3):
        w.server.wipe()
    w.weather = drawn_weather(w)
    w.weather.store_late = 0.2
    for _ in range(4):
        webs[0].beat() if w.chance(0.5) else webs[1].reap()
        job.notify("2", timeout_seconds=2.0)
        await w.moments(4)


@storm
async def late_joins(w: World) -> None:
    """A lease has ended, and the joins that repair it fail after they took effect, or take effect late."""
    web, other, job = await w.started(), await w.started(), w.job()
    await w.registered(web, "1")
    w.weather = Weather(store_down=True)
    await w.sleep(41)
    w.weather = Weather(fine=True)
    await other.reap().wait()
    w.weather = Weather(store_late=0.4, store_after=0.4, only=("join",))
    for _ in range(4):
        web.beat()
        job.notify("1", timeout_seconds=2.0)
        await w.moments(6)
    await w.sleep(10)


@storm
async def kills(w: World) -> None:
    """Processes and jobs are killed; the jobs run again under the same id, the processes under the same URL."""
    # An instance knows whom it displaced, not whom that one had displaced.
    w.may_refuse = "not_this_instance"
    urls = ["http://10.0.0.3/", "http://10.0.0.4/"]
    webs = [await w.started(url) for url in urls]
    for web in webs:
        await w.registered(web, "1")
    w.weather = drawn_weather(w)
    for number in range(5):
        job = w.job()
        job.notify("1", id=f"task-{number}")
        await w.moments(0.03 if w.chance(0.7) else 3)
        if w.chance(0.5):
            job.kill()
            w.job().notify("1", id=f"task-{number}")
        if w.chance(0.3):
            which = w.scheduler.pick(2)
            webs[which].kill()
            await w.moments(40 if w.chance(0.2) else 1)
            webs[which] = w.web(urls[which])
            await webs[which].start().wait()
            if webs[which].alive:
                webs[which].register("1", since="start" if w.chance(0.5) else None)


@storm
async def stopping(w: World) -> None:
    """Processes stop while much is under way, streams open."""
    webs = [await w.started(), await w.started()]
    job = w.job()
    w.weather = drawn_weather(w)
    for web in webs:
        web.register("1")
        web.register("1", stream=2, reader_seconds=0.3)
    for number in range(5):
        job.notify("1", timeout_seconds=3.0)
        await w.moments(0.2)
        if number == 2:
            webs[0].stop()
            webs[0].register("1")
    await w.sleep(3)


@storm
async def pulling(w: World) -> None:
    """An instance without a URL polls."""
    web, other, job = await w.started(None), await w.started(), w.job()
    await w.registered(web, "1")
    w.weather = drawn_weather(w)
    web.register("1", since="start")
    other.register("1")
    for _ in range(4):
        job.notify("1", timeout_seconds=3.0, ephemeral=w.chance(0.1))
        await w.moments(3)


@storm
async def leaving_and_joining(w: World) -> None:
    """Registrations come and go; callers are cancelled."""
    web, job = await w.started(), w.job()
    w.weather = drawn_weather(w)
    for _ in range(10):
        keys = [("1",), ("2",), ("1", "2")][w.scheduler.pick(3)]
        joining = web.register(*keys, since="start" if w.chance(0.3) else None)
        await w.moments(0.03 if w.chance(0.7) else 3)
        if w.chance(0.2):
            joining.task.cancel()
        open_ones = [one for one in web.listeners if one.open]
        if open_ones and w.chance(0.6):
            web.unregister(open_ones[w.scheduler.pick(len(open_ones))])
        if w.chance(0.6):
            call = job.notify("1" if w.chance(0.5) else "2", timeout_seconds=3.0)
            if w.chance(0.2):
                await w.moments()
                call.cancel()


@storm
async def little_is_kept(w: World) -> None:
    """Logs are trimmed to a few entries, and much is missed."""
    webs = [await w.started(), await w.started()]
    job = w.job()
    w.server.keep = 1 + w.scheduler.pick(3)
    listener = await w.registered(webs[0], "1", "2")
    webs[1].register("1", since="start")
    w.weather = drawn_weather(w)
    w.weather.post_lost = 0.6
    for _ in range(8):
        job.notify("1" if w.chance(0.7) else "2", timeout_seconds=1.0)
        await w.moments(0.3 if w.chance(0.8) else 6)
        if w.chance(0.2) and listener.open:
            webs[1].register("1", "2", since=listener.cursor)


@storm
async def secrets(w: World) -> None:
    """With a secret: rows and entries carry MACs; and the clocks of the hosts jump."""
    w.secrets = (b"s" * 24,)
    w.may_refuse = "signature"
    webs = [await w.started(), await w.started()]
    job = w.job()
    await w.registered(webs[0], "1")
    await w.registered(webs[1], "1", "2")
    w.weather = drawn_weather(w)
    for _ in range(5):
        job.notify("1" if w.chance(0.6) else "2", timeout_seconds=3.0)
        await w.moments(1)
        runtime = [webs[0].runtime, webs[1].runtime, job.runtime][w.scheduler.pick(3)]
        runtime.skew_seconds += w.scheduler.between(-400, 400) if w.chance(0.3) else w.scheduler.between(-5, 5)


@storm
async def submitting(w: World) -> None:
    """Two jobs submit more than fits into a trip."""
    web, jobs = await w.started(), [w.job(max_pending_bytes=900), w.job()]
    await w.registered(web, "1", "2")
    w.weather = drawn_weather(w)
    for _ in range(5):
        for job in jobs:
            job.submit(["1", "2", "1"])
        await w.moments(0.3)
        if w.chance(0.3):
            jobs[0].notify_many([("1", False), ("2", True), ("1", False)])


@storm
async def narrow_limits(w: World) -> None:
    """Every limit of the core is small: few are held, few keys go with a trip, one fetch at a time."""
    for module, name, value in (
        (_track, "MAX_HELD", 1 + w.scheduler.pick(3)),
        (_hooks, "MAX_KEYS_PER_TRIP", 1 + w.scheduler.pick(2)),
        (_fetcher, "PAGE_ENTRIES", 1 + w.scheduler.pick(3)),
        (_fetcher, "MAX_FETCHES", 1),
        (_delivery, "MAX_NOTIFICATIONS", 2),
    ):
        w.narrow(module, name, value)
    web, jobs = await w.started(max_body_bytes=1200), [w.job(), w.job()]
    w.weather = drawn_weather(w)
    for wanted in (("1", "2", "3"), ("2",), ("3", "4")):
        web.register(*wanted, since="start" if w.chance(0.3) else None)
    for _ in range(12):
        keys = (("1",), ("3", "2"), ("4",))[w.scheduler.pick(3)]
        jobs[w.scheduler.pick(2)].notify(*keys, timeout_seconds=3.0)
        await w.moments(0.02 if w.chance(0.8) else 2)


@storm
async def callbacks_do_things(w: World) -> None:
    """Callbacks let others run, register, unregister and notify, at once and before they return."""
    web, job = await w.started(), w.job()
    w.weather = drawn_weather(w)

    def act(_: Notification | Gap) -> None:
        what = w.scheduler.pick(6)
        if what == 0:
            w.scheduler.run(w.scheduler.now + 0.02)
        elif what == 1 and len(web.listeners) < 12:
            since = "start" if w.chance(0.5) else None
            web.register("1", since=since, eagerly=w.chance(0.5)).listener.on_call = act
        elif what == 2:
            open_ones = [one for one in web.listeners if one.open]
            if open_ones:
                web.unregister(open_ones[w.scheduler.pick(len(open_ones))], eagerly=True)

    for number in range(4):
        listener = await w.registered(web, "1", stream=1 if number == 1 else 0, reader_seconds=0.05)
        listener.on_call = act
    for _ in range(6):
        job.notify("1", timeout_seconds=3.0)
        await w.moments(0.05)


@storm
async def both_kinds(w: World) -> None:
    """Retained and ephemeral notifications in one call, and nobody answers."""
    webs, job = [await w.started(), await w.started()], w.job()
    await w.registered(webs[0], "1", "2")
    await w.registered(webs[1], "2")
    w.weather = Weather(post_lost=0.5, answer_lost=0.2, slow=0.1)
    for _ in range(3):
        job.notify_many([("2", True), ("1", False)] if w.chance(0.5) else [("1", False), ("2", True), ("2", False)])
        await w.moments(1.5)


@storm
async def twins(w: World) -> None:
    """Two processes share a URL, and a POST reaches one or the other."""
    w.may_refuse = "not_this_instance"
    webs, job = [await w.started("http://10.0.0.5/"), w.web("http://10.0.0.5/")], w.job()
    await w.registered(webs[0], "1")
    webs[1].start()
    await w.moments(0.1)
    if webs[1].alive:
        webs[1].register("1")
    w.weather = drawn_weather(w)
    w.weather.store_late = 0.0
    for _ in range(4):
        job.notify("1", timeout_seconds=3.0)
        await w.moments(6)


@storm
async def keys_looked_up_apart(w: World) -> None:
    """An ephemeral notification to two keys, of which one was looked up before somebody registered for both."""
    webs, job = [await w.started(), await w.started()], w.job()
    await w.registered(webs[0], "2")
    job.notify("2", ephemeral=True)
    await w.sleep(0.1)
    listener = await w.registered(webs[1], "1", "2")
    note = await job.notify("2", "1", ephemeral=True).wait()
    await w.sleep(0.01)
    if (note.id, "") not in listener.got:
        w.violate(f"{listener.name} was never called with {note.id}, though it has one of its keys")


@storm
async def strangers(w: World) -> None:
    """Somebody without the secret writes into the logs: his entries are passed over, and nothing else is."""
    w.secrets = (b"s" * 24,)
    webs, job, stranger = [await w.started(), await w.started()], w.job(), w.stranger()
    await w.registered(webs[0], "1", "2")
    w.weather = drawn_weather(w)
    webs[1].register("1", since="start")
    for number in range(8):
        caller = stranger if w.chance(0.5) else job
        caller.notify("1" if w.chance(0.7) else "2", id=f"task-{number % 5}", timeout_seconds=2.0)
        await w.moments(0.3)


@storm
async def impatient_callers(w: World) -> None:
    """Many call one notifier at once, and some are cancelled; the others must not feel it."""
    webs, job = [await w.started(), await w.started()], w.job()
    await w.registered(webs[0], "1", "2")
    await w.registered(webs[1], "2", "3")
    w.weather = Weather(slow=0.2, post_lost=0.2, answer_lost=0.1, store_before=0.05)
    calls = []
    for _ in range(12):
        keys = (("1",), ("2",), ("3", "1"))[w.scheduler.pick(3)]
        calls.append(job.notify(*keys, ephemeral=w.chance(0.3), timeout_seconds=4.0))
        await w.moments(0.01 if w.chance(0.8) else 1)
        if w.chance(0.4):
            calls.pop(w.scheduler.pick(len(calls))).cancel_now()


def _open_stream(w: World, web: Web, keys: tuple[str, ...], since: str | None) -> None:
    web.register(*keys, since=since, stream=1 + w.scheduler.pick(3), reader_seconds=w.scheduler.between(0.01, 1))
