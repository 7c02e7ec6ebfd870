"""The fifth runtime: what one simulated process has of `abc.Runtime`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ..._values import Answer, Post
from ._letter import Letter
from ._request import Request
from ._scheduler import Future, Group, Task, suspend

if TYPE_CHECKING:
    from ._world import World

A = TypeVar("A")

UNIX_TIME = 1_800_000_000.0


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
        """The targets that the store named, by the nonce of what was published."""
        self.published_at: dict[str, float] = {}

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
        instant = self._world.weather.instant
        if instant and self.random() < instant:
            answer = request.at_once()
        else:
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
            self.published_at[one.nonce] = self._scheduler.now
            names = {target.instance_id for target in answer.targets}
            self.published.setdefault(one.nonce, set()).update(names if answer.position is not None else ())


async def _awaited(function: Callable[[A], Awaitable[None]], item: A) -> None:
    await function(item)
