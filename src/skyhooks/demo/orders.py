"""What the demo's parent tells the processes that it starts, and how these notice that it ends."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from threading import Thread

import msgspec

GOODBYE = b"q"
GRACE_SECONDS = 3.0
"""How long a process may take to leave."""
LEASE_SECONDS = 6.0
HEARTBEAT_SECONDS = 2.0
DRAIN_SECONDS = 0.3
"""Shorter than the defaults: nobody wants to watch a demo for half a minute to see a heartbeat repair something."""


class WebOrder(msgspec.Struct, frozen=True):
    """What a web process is told."""

    scratch: str
    """The demo's own directory."""
    keys: dict[str, str]
    name: str
    host: str
    port: int
    origins: list[str]
    """Where the page comes from, which connects across ports."""


class JobOrder(msgspec.Struct, frozen=True):
    """What a job is told; the paths are arguments of their own, since they may be no text."""

    scratch: str
    keys: dict[str, str]
    number: int
    """Which job of this demo it is."""
    files: int
    """How many to read at most."""
    seconds: float
    """How long to take about it, so that there is something to see."""


class Progress(msgspec.Struct, frozen=True):
    """What every notification of a job says of itself, whatever else it tells."""

    kind: str
    """`started`, `file` or `summary`."""
    job: int
    index: int
    """Which of the job's notifications it is, from 0."""
    files: int
    at: float
    """When it was told, in Unix time."""

    @property
    def of(self) -> int:
        """How many notifications the job makes: one before the files, one behind them."""
        return self.files + 2

    @property
    def id(self) -> str:
        """The notification's id: with one of its own each could be published again, and would reach nobody twice."""
        return f"job-{self.job}:{self.index}"


class Ready(msgspec.Struct, frozen=True):
    """What a web process answers, once it serves."""

    framework: str
    instance_id: str


class JobReport(msgspec.Struct, frozen=True):
    """What a job answers, once it has ended."""

    notifications: int
    failed: int
    reached: int
    outcomes: list[str]


def read_web_order() -> WebOrder:
    """Read what the parent ordered; which store, it says in `$SKYHOOKS_STORE`, since all can see a command line."""
    return msgspec.json.decode(sys.argv[1], type=WebOrder)


def say(report: Ready | JobReport) -> None:
    """Answer the parent."""
    print(msgspec.json.encode(report).decode(), flush=True)


def when_parent_ends(scratch: str, leave: Callable[[], object], *, read: Callable[[int, int], bytes] = os.read) -> None:
    """Call `leave`, in a thread, when the parent says so or is gone; end by force if that does not help.

    The parent holds the other end of standard input: whatever kills it closes that. Then nobody is left to remove
    its directory but its children. Where a thread is a greenlet, `read` is what lets the others go on meanwhile.
    """

    def wait() -> None:
        orphaned = read(sys.stdin.fileno(), 1) != GOODBYE
        leave()
        if orphaned:
            shutil.rmtree(scratch, ignore_errors=True)
        time.sleep(GRACE_SECONDS)
        os._exit(1)

    Thread(target=wait, name="skyhooks-demo-parent", daemon=True).start()
