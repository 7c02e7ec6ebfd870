"""The second half of PROTOCOL.md's traces."""

from __future__ import annotations

from ._traces import trace
from ._weather import Weather
from ._web import Web
from ._world import World


@trace
async def t13_cancelled(w: World) -> None:
    """13: fetches, trips and callers are cancelled at an await."""
    web, job = await w.started(), w.job()
    await w.registered(web, "1")
    w.weather = Weather(slow=0.4, post_lost=0.5)
    for _ in range(5):
        call = job.notify("1", timeout_seconds=2.0)
        web.register("1" if w.chance(0.5) else "2", since="start" if w.chance(0.5) else None)
        await w.moments(0.6)
        web.cancel_something()
        if w.chance(0.3):
            call.cancel_now()
        await w.moments(0.6)


@trace
async def t14_dirty_read(w: World) -> None:
    """14: what was appended is read and then taken back by a failover; its seq is given to another."""
    w.server.unsettled = True
    web, jobs = await w.started(), [w.job(), w.job()]
    await w.registered(web, "1")
    w.weather = Weather(in_steps=1.0, slow=0.3, post_lost=0.3)
    for number in range(4):
        jobs[number % 2].notify("1", timeout_seconds=2.0)
        web.register("1", since="start")
        await w.moments(0.7)
        web.beat()
        if w.chance(0.5):
            w.server.fail_over()
    await w.moments(3)


@trace
async def t15_history_rewound(w: World) -> None:
    """15: a backup is restored, and the epochs renewed, before anybody comes back to the store."""
    web, job = await w.started(), w.job()
    await w.registered(web, "1")
    w.weather = Weather(post_lost=0.3, post_late=0.3, post_twice=0.3)
    backup = w.server.backup()
    for number in range(6):
        job.notify("1", timeout_seconds=2.0)
        await w.moments(0.5)
        if number == 1:
            backup = w.server.backup()
        if number == 3:
            w.server.restore(backup)
            w.server.renew_epochs()
    await w.moments(5)


@trace
async def t16_same_id_other_data(w: World) -> None:
    """16: a job runs twice and says something else the second time."""
    web, job, again = await w.started(), w.job(), w.job()
    await w.registered(web, "1", "2")
    w.weather = Weather(post_lost=0.5)
    for caller in (job, again, job):
        caller.notify("2", "1", id="task", timeout_seconds=1.0)
        await w.moments(2)


@trace
async def t17_cursor_before_the_key(w: World) -> None:
    """17: take a cursor, start the job, connect: nobody has used the key before."""
    web, other, job = await w.started(), await w.started(), w.job()
    w.weather = Weather(post_lost=0.3, slow=0.1)
    cursor = await web.cursor("1", "2").wait()
    for _ in range(2):
        job.notify("1")
        await w.moments()
    other.register("1", "2", since=cursor)
    job.notify("2", "1")
    await w.moments(3)


@trace
async def t18_trim_with_a_slow_clock(w: World) -> None:
    """18: the job's clock is slow, and the log is trimmed."""
    web, jobs = await w.started(), [w.job(), w.job()]
    jobs[0].runtime.skew_seconds = -200.0
    w.server.keep = 3
    await w.registered(web, "1")
    w.weather = Weather(post_lost=0.6)
    for _ in range(7):
        jobs[w.scheduler.pick(2)].notify("1", timeout_seconds=1.0)
        await w.moments(0.4)
        if w.chance(0.2):
            web.register("1", since="start")
    await w.moments(3)


@trace
async def t19_one_key_twice(w: World) -> None:
    """19: an ephemeral notification to two keys, with listeners under each."""
    web, job = await w.started(), w.job()
    for keys in (("1",), ("2",), ("1", "2"), ("2", "1")):
        await w.registered(web, *keys)
    w.weather = Weather(post_twice=0.3)
    for _ in range(3):
        note = await job.notify("1", "2", ephemeral=True).wait()
        await w.sleep(0.01)
        _expect_all(w, web, note.id, delivered=note.receipt.reached)
        await w.moments(1.5)


@trace
async def t20_poison_in_a_batch(w: World) -> None:
    """20: something in a batch cannot be taken: it is too large for this instance, or the track is full."""
    w.may_refuse = "too_large"
    small, web, job = await w.started(max_body_bytes=900), await w.started(), w.job()
    await w.registered(small, "1", "2")
    await w.registered(web, "1", "2")
    w.weather = Weather(slow=0.2, reads_fail=0.5, post_lost=0.2, post_held=0.3)
    for _ in range(4):
        for _ in range(3):
            data = "x" * (2000 if w.chance(0.1) else 100)
            job.notify("1" if w.chance(0.7) else "2", data=f"{w.name('d')}{data}")
        await w.moments(0.5)


@trace
async def t21_record_gone(w: World) -> None:
    """21: one key's record is lost, the instance's row stands."""
    w.looks = True
    web, job = await w.started(), w.job()
    await w.registered(web, "1", "2")
    w.weather = Weather(post_lost=0.3)
    for _ in range(2):
        job.notify("1", timeout_seconds=1.0)
        await w.moments(3)
    w.server.vanish("k=1")
    await w.moments(3)
    job.notify("1", timeout_seconds=1.0)
    await w.moments(3)


@trace
async def t22_displaced(w: World) -> None:
    """22: another process has got the URL; the one that had it lives on."""
    w.newest_listens = True
    web, job = await w.started("http://10.0.0.2/"), w.job()
    await w.registered(web, "1")
    w.weather = Weather(in_steps=0.5, slow=0.1)
    await w.moments(3)
    successor = w.web("http://10.0.0.2/")
    successor.start()
    await w.moments(1)
    for _ in range(3):
        job.notify("1")
        (web if w.chance(0.5) else successor).beat()
        await w.moments(8)
    if successor.alive:
        successor.register("1")
    await w.moments(20)


@trace
async def t23_own_retry(w: World) -> None:
    """23: the driver repeats a publish that had taken effect."""
    web, job = await w.started(), w.job()
    await w.registered(web, "1", "2")
    w.weather = Weather(store_again=0.7, post_lost=0.2)
    for _ in range(3):
        note = await job.notify("1", "2", timeout_seconds=1.0).wait()
        if note.receipt is not None and note.receipt.duplicate:
            w.violate(f"{note.id} is called a duplicate, and was published once")
    note = await w.job().notify("1", "2", id=note.id, timeout_seconds=1.0).wait()
    if note.receipt is not None and not note.receipt.duplicate:
        w.violate(f"{note.id} is not called a duplicate, and was published twice")


def _expect_all(w: World, web: Web, id: str, *, delivered: int) -> None:
    missed = [one.name for one in web.listeners if one.open and (id, "") not in one.got]
    if missed and delivered:
        w.violate(f"{missed} were never called with the ephemeral {id}, which was delivered")
