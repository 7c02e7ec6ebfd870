"""A receiving process on Twisted."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorCore
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

from benchmarks.counting import order, serve_until_parent_ends
from skyhooks.twisted import Registry


async def main(reactor: IReactorCore) -> None:
    where, counter, callbacks = order()
    async with Registry(where, reactor=reactor) as registry:
        for _ in range(callbacks):
            await registry.register({"account": 42}, lambda n: counter(n.data))
        await deferToThread(serve_until_parent_ends)


if __name__ == "__main__":
    react(main)
