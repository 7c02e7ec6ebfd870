"""What must hold once the faults have ended and a few heartbeats have gone by."""

from __future__ import annotations

from ..._values import Delivery, Outcome
from ._job import Job, Note
from ._listener import Listener
from ._scheduler import Endless
from ._weather import FINE
from ._web import Web
from ._world import World

BEAT_SECONDS = 11.0
CATCH_UP_SECONDS = BEAT_SECONDS + 8.0
PROBE_SECONDS = 2 * BEAT_SECONDS


def settle(world: World) -> None:
    """Let the faults end, and check that everything owed has arrived and everything has come to rest."""
    scheduler = world.scheduler
    world.log("CHECKER", "the faults end")
    world.weather = FINE
    scheduler.run(max(scheduler.now, world.busy_until) + CATCH_UP_SECONDS)
    for web in _running(world):
        _check_owed(web)
    _probe(world)
    scheduler.run(scheduler.now + PROBE_SECONDS)
    _wait_between_beats(world)
    for web in _running(world):
        _check_owed(web)
        _check_rest(web)
    for job in world.jobs:
        _check_job(job)
    for note in world.notes:
        _check_receipt(note)
    _check_joins(world)


def play(world: World, scenario_seconds: float) -> None:
    """Let the scenario run to its end."""
    scheduler = world.scheduler
    while world.director.tasks and scheduler.now < scenario_seconds and world.violation is None:
        scheduler.run(scheduler.now + 0.5)
    if world.director.tasks and world.violation is None:
        world.violate(f"the scenario has not ended after {scenario_seconds:.0f} s")


def endless(world: World, error: Endless) -> None:
    """Note that a schedule went round in circles."""
    world.violate(str(error))


def _running(world: World) -> list[Web]:
    return [web for web in world.webs if web.alive]


def _probe(world: World) -> None:
    """Publish something to every key: a hook that nobody wants is found out by it."""
    job = world.job()
    for key in list(world.server.records):
        job.notify(key[2:])


def _wait_between_beats(world: World) -> None:
    for _ in range(40):
        if not any(web.core._heartbeat.beating for web in _running(world)):
            return
        world.scheduler.run(world.scheduler.now + 0.1)
    world.violate("a heartbeat never ends")


def _check_owed(web: Web) -> None:
    for listener in web.listeners:
        if listener.open:
            for key in listener.keys:
                owed = listener.owed(key)
                if owed:
                    what = "a change of the log's epoch" if owed[0] == 0 else f"seqs {owed}"
                    web.world.violate(f"{listener.name} at {listener.places[key]} was never told of {what} of {key}")


def _check_rest(web: Web) -> None:
    world, core = web.world, web.core
    hooks, fetcher = core._hooks, core._fetcher
    wanted = {track.key for track in core._callbacks}
    stored = world.server.hooked(core.instance_id)
    if wanted != stored:
        world.violate(f"{web.name} wants {sorted(wanted)} and has hooks on {sorted(stored)}")
    if hooks._unsure:
        world.violate(f"{web.name} is still unsure of {sorted(hooks._unsure)}")
    for track in core._callbacks:
        if track.needy or track.fetching:
            world.violate(f"{web.name} is stuck fetching {track.key}")
    if fetcher._workers or fetcher._queue or fetcher._lingering:
        world.violate(f"{web.name} has fetches under way")
    _check_lanes(world, web.name, [hooks._lane])
    left = [task for task in web.group.tasks if task not in core._tasks and task not in web.protected]
    if left:
        world.violate(f"{web.name} has {len(left)} tasks that never end")
    keys = {key for listener in web.listeners if listener.closed_at is None for key in listener.keys}
    if keys != wanted:
        world.violate(f"{web.name} has callbacks for {sorted(keys)} and tracks for {sorted(wanted)}")


def _check_job(job: Job) -> None:
    lanes = [job.core._lane, *(one.lane for one in job.core._targets._lanes.values())]
    _check_lanes(job.world, job.name, lanes)
    if job.group.tasks:
        job.world.violate(f"{job.name} has {len(job.group.tasks)} tasks that never end")


def _check_lanes(world: World, name: str, lanes: list[object]) -> None:
    if any(not lane.idle for lane in lanes):  # type: ignore[attr-defined]
        world.violate(f"a lane of {name} never becomes idle")


def _check_receipt(note: Note) -> None:
    if note.receipt is None:
        return
    for delivery in note.receipt.deliveries:
        web = note.job.world.owner(delivery.instance_id)
        if web is None:
            continue
        if delivery.outcome is Outcome.DELIVERED and delivery.callbacks is not None:
            _check_count(note, web, delivery)
        elif delivery.outcome is Outcome.NO_LISTENER and _certain(note, web):
            web.world.violate(f"{note.id}: {web.name} has said that it has no listener, and it has")


def _check_count(note: Note, web: Web, delivery: Delivery) -> None:
    certain = [one for one in _certain(note, web) if any(name == note.id for name, _ in one.got)]
    possible = [
        one
        for one in web.listeners
        if one.opened_at < note.ended_at
        and (one.closed_at is None or one.closed_at > note.began_at)
        and any(key in one.keys for key in note.keys)
    ]
    counted = delivery.callbacks or 0
    if not len(certain) <= counted <= len(possible):
        web.world.violate(
            f"{note.id}: {counted} callbacks of {web.name} were counted,"
            f" {[one.name for one in certain]} got it, {[one.name for one in possible]} may have"
        )


def _check_joins(world: World) -> None:
    """Check that nobody takes a URL back from who has taken it (PROTOCOL 8)."""
    last: dict[str, str] = {}
    lost: set[tuple[str, str]] = set()
    for name, url in world.joins:
        if url is None:
            continue
        if (name, url) in lost:
            world.violate(f"{name} took {url} back from {last[url]}")
        if last.get(url, name) != name:
            lost.add((last[url], url))
        last[url] = name


def _certain(note: Note, web: Web) -> list[Listener]:
    return [
        one
        for one in web.listeners
        if one.returned_at is not None
        and one.returned_at < note.began_at
        and (one.closed_at is None or one.closed_at > note.ended_at)
        and any(key in one.keys for key in note.keys)
    ]
