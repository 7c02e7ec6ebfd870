"""A job, as a team would run it: makes a notifier, notifies, says what the receipts say. May be told to die early."""

from __future__ import annotations

import json
import os
import signal
import sys
from itertools import count

from skyhooks import Notifier, SkyhooksError
from talking import say, say_receipt


def die_at_connection(number):
    """Be killed, by nothing that could be caught, when the so-and-so-many-th connection is about to be opened."""
    connections = count(1)

    def hook(event, _):
        if event == "socket.connect" and next(connections) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def main(store, items, options, die_at=None):
    if die_at:
        die_at_connection(die_at)
    say("started")
    with Notifier(store, **options) as notifier:
        for keys, data, more in items:
            try:
                receipt = notifier.notify(keys, data, **more)
            except SkyhooksError as error:
                say("refused", error=type(error).__name__)
                continue
            say_receipt(receipt)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
