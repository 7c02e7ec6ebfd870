"""A job in a gevent process, as job_blocking.py is one in a plain process."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json
import sys

from skyhooks.gevent import Notifier
from talking import say, say_receipt


def main(store, items, options):
    say("started")
    with Notifier(store, **options) as notifier:
        for keys, data, more in items:
            say_receipt(notifier.notify(keys, data, **more))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
