"""A job in a Tornado process, as job_blocking.py is one in a plain process."""

from __future__ import annotations

import asyncio
import json
import sys

from skyhooks.tornado import Notifier
from talking import say, say_receipt


async def main(store, items, options):
    say("started")
    async with Notifier(store, **options) as notifier:
        for keys, data, more in items:
            say_receipt(await notifier.notify(keys, data, **more))


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))
