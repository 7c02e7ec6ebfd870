"""What happens in a schedule: each scenario aims at one race and leaves the rest to chance."""

from __future__ import annotations

from ._runtime import Weather
from ._world import Scenario, World

SCENARIOS: dict[str, Scenario] = {}


def scenario(work: Scenario) -> Scenario:
    """Add a scenario under its function's name."""
    SCENARIOS[work.__name__] = work
    return work


@scenario
async def weather(w: World) -> None:
    """Two processes, two jobs, and everything fails now and then."""
    draw = w.scheduler.between
    w.weather = Weather(
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
    )
    webs = [await w.started(), await w.started()]
    jobs = [w.job(), w.job()]
    listeners = [webs[0].register("1"), webs[1].register("1", "2")]
    for _ in range(6):
        await w.moments(0.03 if w.chance(0.8) else 4)
        job = jobs[w.scheduler.pick(2)]
        job.notify("1") if w.chance(0.6) else job.notify("2", "1")
        if w.chance(0.2):
            listeners.append(webs[w.scheduler.pick(2)].register("1"))
        if w.chance(0.1):
            await w.sleep(10)
