"""`skyhooks reap`: remove what has expired."""

from __future__ import annotations

import argparse

from .exits import Exit
from .inputs import make_store
from .output import print_line


def run(options: argparse.Namespace) -> Exit:
    """Do what the words say, and count it."""
    store = make_store(options, existing=True)
    try:
        reaped = store.reap()
    finally:
        store.close()
    if options.json:
        print_line(reaped)
    else:
        print(
            f"removed: instances {reaped.instances}, hooks {reaped.hooks},"
            f" notifications {reaped.entries}, keys {reaped.keys}"
        )
    return Exit.OK
