"""A receiving process of redis-py: publish/subscribe."""

from __future__ import annotations

import asyncio
import threading

import orjson
import redis.asyncio

from benchmarks.counting import order, serve_until_parent_ends


async def main() -> None:
    where, counter, callbacks = order()
    client = redis.asyncio.Redis.from_url(where)
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    await pubsub.subscribe("account=42")
    await pubsub.get_message(timeout=1)
    threading.Thread(target=serve_until_parent_ends, daemon=True).start()
    while True:
        message = await pubsub.get_message(timeout=None)
        if message is not None:
            data = orjson.loads(message["data"])
            for _ in range(callbacks):
                counter(data)


if __name__ == "__main__":
    asyncio.run(main())
