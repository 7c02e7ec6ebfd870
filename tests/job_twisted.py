"""A job in a Twisted process, as job_blocking.py is one in a plain process."""

from __future__ import annotations

import json
import sys

from twisted.internet.task import react

from skyhooks.twisted import Notifier
from talking import say, say_receipt


async def main(reactor, order):
    say("started")
    async with Notifier(order["store"], reactor=reactor, **order["options"]) as notifier:
        for keys, data, more in order["items"]:
            say_receipt(await notifier.notify(keys, data, **more))


if __name__ == "__main__":
    react(main, [json.loads(sys.argv[1])])
