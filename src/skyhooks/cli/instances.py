"""`skyhooks instances`: who is alive."""

from __future__ import annotations

import argparse
import time

from .._values import Instance
from .exits import Exit
from .inputs import make_store
from .output import print_line, print_table

ID_CHARACTERS = 8
"""As many as people need to tell instances apart."""


def run(options: argparse.Namespace) -> Exit:
    """Do what the words say; `NO` if none is alive."""
    store = make_store(options, existing=True)
    try:
        instances = store.instances()
    finally:
        store.close()
    if options.json:
        for instance in instances:
            print_line(_as_line(instance))
    elif instances:
        print_table(
            ("INSTANCE", "JOINED", "LEASE LEFT", "URL", "PROCESS"), list(map(_row, instances)), right=("LEASE LEFT",)
        )
    else:
        print("no instance is alive")
    return Exit.OK if instances else Exit.NO


def _as_line(instance: Instance) -> dict[str, object]:
    return {
        "instance_id": instance.instance_id,
        "url": instance.url,
        "label": instance.label,
        "joined_at": instance.joined_at_ms / 1000,
        "lease_left_seconds": instance.lease_left_seconds,
        "max_body_bytes": instance.max_body_bytes,
    }


def _row(instance: Instance) -> tuple[str, ...]:
    return (
        instance.instance_id[:ID_CHARACTERS],
        time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(instance.joined_at_ms / 1000)),
        f"{instance.lease_left_seconds or 0:.0f} s",
        instance.url or "(asks the store)",
        instance.label,
    )
