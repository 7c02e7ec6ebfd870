"""The job: it finishes somewhere, and does not know who waits where. `python job.py 42`."""

from __future__ import annotations

import sys

from skyhooks import Notifier

with Notifier() as notifier:
    receipt = notifier.notify({"account": sys.argv[1]}, {"report": "ready"}, id=f"report:{sys.argv[1]}")
    print("nobody waits now" if receipt.nobody else f"{receipt.reached} callbacks have it")
