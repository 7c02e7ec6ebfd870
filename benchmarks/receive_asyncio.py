"""A receiving process on plain asyncio."""

from __future__ import annotations

import asyncio

from benchmarks.counting import order, serve_until_parent_ends
from skyhooks._asyncio.registry import Registry


async def main() -> None:
    where, counter, callbacks = order()
    async with Registry(where) as registry:
        for _ in range(callbacks):
            await registry.register({"account": 42}, lambda n: counter(n.data))
        await asyncio.to_thread(serve_until_parent_ends)


if __name__ == "__main__":
    asyncio.run(main())
