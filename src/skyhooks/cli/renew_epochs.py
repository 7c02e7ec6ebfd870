"""`skyhooks store renew-epochs`: what a restored backup needs."""

from __future__ import annotations

import argparse

from .exits import Exit
from .inputs import make_store
from .output import print_line


def run(options: argparse.Namespace) -> Exit:
    """Do what the words say, and count it."""
    store = make_store(options, existing=True)
    try:
        logs = store.renew_epochs()
    finally:
        store.close()
    if options.json:
        print_line({"logs": logs})
    else:
        print(f"gave a new epoch to {logs} log{'s' * (logs != 1)}")
    return Exit.OK
