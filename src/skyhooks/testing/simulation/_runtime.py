"""The fifth runtime: store calls and POSTs that fail before, after and long after they took effect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ..._values import Answer, Fault, Post
from ...abc import STORE_SECONDS
from ..._wire import problem
from ...exceptions import StoreUnavailable
from ._scheduler import Future, Group, Task, suspend

if TYPE_CHECKING:
    from ._server import Steps
    from ._world import World

A = TypeVar("A")

UNIX_TIME = 1_800_000_000.0
QUICK_SECONDS = 0.01
SLOW_SECONDS = 2.0
LATE_SECONDS = 15.0


@dataclass
class Weather:
    """How often what goes wrong, as shares of all store calls and POSTs."""

    store_before: float = 0.0
    """Fails, and does nothing."""
    store_after: float = 0.0
    """Takes effect, perhaps in part, and the answer is lost."""
    store_late: float = 0.0
    """Takes effect long after the caller was told that it failed."""
    store_again: float = 0.0
    """The driver repeats a publish by itself that had taken effect."""
    store_down: bool = False
    in_steps: float = 0.0
    """Share of operations that are not atomic over several keys."""
    slow: float = 0.0
    slow_only: tuple[str, ...] = ()
    """The operations that are slow; all, and POSTs, if empty."""
    post_lost: float = 0.0
    answer_lost: float = 0.0
    post_twice: float = 0.0
    post_late: float = 0.0
    post_held: float = 0.0
    """Share of POSTs that arrive a little later than the one behind them."""
    only: tuple[str, ...] = ()
    """The operations that fail; all if empty."""
    late_seconds: float = LATE_SECONDS
    reads_fail: float = 0.0
    fine: bool = False


class Runtime:
    """What one process has of `abc.Runtime`."""

    def __init__(self, world: World, group: Group, name: str) -> None:
        self._world = world
        self._scheduler = world.scheduler
        self._group = group
        self._name = name
        self.random = world.scheduler.random
        self.skew_seconds = 0.0
        self.published: dict[str, set[str]] = {}

    def now(self) -> float:
        return self._scheduler.now

    def time(self) -> float:
        return UNIX_TIME + self._scheduler.now + self.skew_seconds

    def token(self) -> str:
        return f"{self._scheduler.rng.getrandbits(128):032x}"

    async def call(self, function: Any, /, *arguments: Any) -> Any:
        me = self._scheduler.current
        if function == "join":
            self._world.joins.append((self._name, arguments[0].url))
        request = Request(self._world, self._name, function, arguments, me, me.ticket)
        request.begin()
        answer = await suspend()
        if isinstance(answer, BaseException):
            raise answer
        if function == "publish":
            self._note_targets(arguments[0], answer)
        return answer

    async def post(self, post: Post) -> Answer:
        me = self._scheduler.current
        Letter(self._world, self._name, post, me, me.ticket).send()
        answer: Answer = await suspend()
        return answer

    async def sleep(self, seconds: float) -> None:
        me = self._scheduler.current
        self._scheduler.at(seconds, me.step, me.ticket)
        await suspend()

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> Task:
        return self._group.spawn(coroutine)

    def future(self) -> Future:
        return Future(self._scheduler)

    async def fan_out(self, function: Callable[[A], Awaitable[None]], items: Sequence[A]) -> None:
        if len(items) == 1:
            await function(items[0])
            return
        tasks = [self._group.spawn(_awaited(function, item)) for item in items]
        try:
            for task in tasks:
                await task.wait()
        except BaseException:
            for task in tasks:
                task.cancel()
            raise

    def _note_targets(self, publications: Sequence[Any], answers: Sequence[Any]) -> None:
        for one, answer in zip(publications, answers, strict=True):
            names = {target.instance_id for target in answer.targets}
            self.published.setdefault(one.nonce, set()).update(names if answer.position is not None else ())


async def _awaited(function: Callable[[A], Awaitable[None]], item: A) -> None:
    await function(item)


class Request:
    """One store operation on its way, with its fate."""

    __slots__ = (
        "_again",
        "_answer_seconds",
        "_arguments",
        "_error",
        "_name",
        "_operation",
        "_stop_after",
        "_task",
        "_ticket",
        "_world",
    )

    def __init__(
        self, world: World, name: str, operation: str, arguments: tuple[Any, ...], task: Task, ticket: int
    ) -> None:
        self._world = world
        self._name = name
        self._operation = operation
        self._arguments = arguments
        self._task = task
        self._ticket = ticket
        self._error: StoreUnavailable | None = None
        self._again = False
        self._stop_after = -1
        self._answer_seconds = 0.0

    def begin(self) -> None:
        """Draw what becomes of it, and send it."""
        world, scheduler = self._world, self._world.scheduler
        weather = world.weather
        delay = scheduler.random() * QUICK_SECONDS
        if weather.fine:
            scheduler.at(delay, self._arrive)
            return
        scheduler.at(STORE_SECONDS, self._task.step, self._ticket, StoreUnavailable("it took too long"))
        if self._is_slow():
            delay = scheduler.random() * SLOW_SECONDS
        fate = scheduler.random()
        if weather.store_down:
            self._fail(delay, "down")
            return
        if self._operation == "read" and scheduler.random() < weather.reads_fail:
            self._fail(delay, "read fails")
            return
        if weather.only and self._operation not in weather.only:
            scheduler.at(delay, self._arrive)
        elif fate < weather.store_before:
            self._fail(delay, "fails before")
        elif fate < weather.store_before + weather.store_after:
            self._error = StoreUnavailable("the answer was lost")
            if scheduler.random() < 0.3:
                self._stop_after = scheduler.pick(3)
            scheduler.at(delay, self._arrive)
        elif fate < weather.store_before + weather.store_after + weather.store_late:
            self._fail(scheduler.random() * STORE_SECONDS, "late")
            late = scheduler.random() * weather.late_seconds
            world.busy_until = max(world.busy_until, scheduler.now + STORE_SECONDS + late + 1)
            scheduler.at(STORE_SECONDS + late, self._arrive_late)
        else:
            self._again = self._operation == "publish" and scheduler.random() < weather.store_again
            scheduler.at(delay, self._arrive)

    def _fail(self, delay: float, why: str) -> None:
        self._world.log(self._name, f"{self._operation}{self._shown()}: {why}")
        self._world.scheduler.at(delay, self._task.step, self._ticket, StoreUnavailable(why))

    def _shown(self) -> str:
        return "(" + ", ".join(_short(one) for one in self._arguments) + ")"

    def _arrive_late(self) -> None:
        self._world.log(self._name, f"{self._operation}{self._shown()}: carried out late")
        self._run(self._world.server.begin(self._operation, self._arguments))

    def _arrive(self) -> None:
        weather = self._world.weather
        steps = self._world.server.begin(self._operation, self._arguments)
        if self._stop_after >= 0 or (weather.in_steps and self._world.scheduler.random() < weather.in_steps):
            self._step(steps)
        else:
            self._run(steps)

    def _run(self, steps: Steps) -> None:
        try:
            while True:
                next(steps)
        except StopIteration as stop:
            self._answer(stop.value)
        except StoreUnavailable as error:
            self._answer(error)

    def _step(self, steps: Steps) -> None:
        if self._stop_after == 0:
            self._answer(None)
            return
        self._stop_after -= 1
        try:
            next(steps)
        except StopIteration as stop:
            self._answer(stop.value)
        except StoreUnavailable as error:
            self._answer(error)
        else:
            scheduler = self._world.scheduler
            pause = SLOW_SECONDS if self._is_slow() else QUICK_SECONDS
            scheduler.at(scheduler.random() * pause, self._step, steps)

    def _answer(self, answer: object) -> None:
        world, scheduler = self._world, self._world.scheduler
        if self._again:
            self._again = False
            scheduler.at(scheduler.random() * QUICK_SECONDS, self._arrive)
            return
        if self._error is not None:
            answer = self._error
        if world.trace is not None:
            world.log(self._name, f"{self._operation}{self._shown()} -> {_short(answer)}")
        delay = scheduler.random() * (SLOW_SECONDS if self._is_slow() else QUICK_SECONDS)
        scheduler.at(delay, self._task.step, self._ticket, answer)

    def _is_slow(self) -> bool:
        weather = self._world.weather
        return (
            weather.slow > 0
            and (not weather.slow_only or self._operation in weather.slow_only)
            and self._world.scheduler.random() < weather.slow
        )


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
                f"POST from {self._name}: {_shown_body(self._post)} -> {response.status} {_shown_answer(response.body)}",
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


def _shown_body(post: Post) -> str:
    return post.body.decode(errors="replace")[:300]


def _shown_answer(body: bytes) -> str:
    return body.decode(errors="replace")[:160]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 240 else text[:237] + "..."


