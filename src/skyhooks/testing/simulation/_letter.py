"""A POST on its way: it is lost, doubled, late, overtaken, or its answer is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._values import Answer, Fault, Post
from ..._wire import problem
from ._scheduler import Task
from ._shown import shown_answer, shown_post
from ._weather import LATE_SECONDS, QUICK_SECONDS, SLOW_SECONDS

if TYPE_CHECKING:
    from ._world import World


class Letter:
    """One POST on its way, with its fate."""

    __slots__ = ("_answered", "_name", "_post", "_task", "_ticket", "_world")

    def __init__(self, world: World, name: str, post: Post, task: Task, ticket: int) -> None:
        self._world = world
        self._name = name
        self._post = post
        self._task = task
        self._ticket = ticket
        self._answered = False

    def send(self) -> None:
        """Draw what becomes of it, and send it."""
        world, scheduler = self._world, self._world.scheduler
        weather = world.weather
        delay = scheduler.random() * QUICK_SECONDS
        if weather.fine or self._post.own:
            scheduler.at(delay, self._arrive, True)
            return
        fate = scheduler.random()
        timeout = self._post.timeout_seconds
        if fate < weather.post_lost:
            world.log(self._name, "POST lost")
            scheduler.at(timeout, self._time_out)
            return
        if fate < weather.post_lost + weather.post_late:
            late = timeout + scheduler.random() * LATE_SECONDS
            world.busy_until = max(world.busy_until, scheduler.now + late)
            scheduler.at(timeout, self._time_out)
            scheduler.at(late, self._arrive, False)
            return
        answered = scheduler.random() >= weather.answer_lost
        if not answered:
            scheduler.at(timeout, self._time_out)
        if scheduler.random() < weather.post_twice:
            scheduler.at(scheduler.random() * SLOW_SECONDS, self._arrive, False)
        if scheduler.random() < weather.post_held:
            delay = scheduler.random() * 0.1
        if weather.slow and not weather.slow_only and scheduler.random() < weather.slow:
            delay = scheduler.random() * SLOW_SECONDS
        scheduler.at(delay, self._arrive, answered)

    def _arrive(self, answered: bool) -> None:
        world, scheduler = self._world, self._world.scheduler
        web = world.listener(self._post.url)
        if web is None:
            self._back(Answer(fault=Fault.REFUSED), answered, "refused")
            return
        if len(self._post.body) > web.max_body_bytes:
            self._back(Answer(status=413, body=problem(413, "too_large")), answered, "too large")
            return
        try:
            response = web.core.receive(self._post.headers, self._post.body)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a defect
            world.violate(f"{web.name} could not take a POST: {error!r}")
            return
        if world.trace is not None:
            world.log(
                web.name,
                f"POST from {self._name}: {shown_post(self._post)} -> {response.status} {shown_answer(response.body)}",
            )
        scheduler.at(scheduler.random() * 0.001 if scheduler.random() < 0.5 else 0.0, web.dispatch)
        retry_after = next((value for name, value in response.headers if name == "retry-after"), None)
        self._back(Answer(status=response.status, body=response.body, retry_after=retry_after), answered, "")

    def _back(self, answer: Answer, answered: bool, what: str) -> None:
        if what:
            self._world.log(self._name, f"POST {what}")
        if answered:
            scheduler = self._world.scheduler
            scheduler.at(scheduler.random() * QUICK_SECONDS, self._task.step, self._ticket, answer)

    def _time_out(self) -> None:
        self._task.step(self._ticket, Answer(fault=Fault.TIMEOUT))
