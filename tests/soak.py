"""Endurance (RELIABILITY OPS): a fleet of all frameworks under a steady rate, with processes killed at random.

`python tests/soak.py --seconds 600` says, at the end, what each listener missed, got twice or got out of order (nothing, or
the status is 1), and how memory and descriptors of the processes that were spared have grown. It needs all frameworks, and
what the tests need.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from processes import Web, until
from skyhooks import Notifier, SkyhooksError

FRAMEWORKS = ("tornado", "gevent", "twisted")
KEYS = {"account": 42}
SETTLE_SECONDS = 60.0
REPORT_SECONDS = 10.0


class Listener:
    """One who waits, at one process after the other: it comes back with the cursor of what it got last."""

    def __init__(self, store, framework):
        self.framework = framework
        self.data = []
        self.kills = 0
        self._store = store
        self._cursor = "start"
        self._web = None

    def connect(self):
        self._web = Web(self._store, framework=self.framework, heartbeat_seconds=2.0, lease_seconds=6.0)
        self._web.register("a", since=self._cursor)

    def kill(self):
        """Kill its process, take what that has said to the last, and go to the next one."""
        self._web.kill()
        self.collect()
        self._web.end()
        self.kills += 1
        self.connect()

    def collect(self):
        """Take what its process has said since it was asked last."""
        said = self._web.take("n")
        self.data += [one["data"] for one in said]
        self._cursor = said[-1]["cursor"] if said else self._cursor

    def usage(self):
        """Return the process's memory in KiB and its open descriptors."""
        proc = Path(f"/proc/{self._web.pid}")
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        return int(status["VmRSS"].split()[0]), len(list((proc / "fd").iterdir()))

    def end(self):
        self._web.end()


class Job(threading.Thread):
    """Notifies at a steady rate."""

    def __init__(self, store, rate, seconds):
        super().__init__()
        self.count = 0
        self.refused = 0
        self._store, self._rate, self._seconds = store, rate, seconds

    def run(self):
        began = time.monotonic()
        with Notifier(self._store, timeout_seconds=2.0) as notifier:
            while (due := began + self.count / self._rate) < began + self._seconds:
                time.sleep(max(0.0, due - time.monotonic()))
                try:
                    notifier.notify(KEYS, self.count, id=f"soak-{self.count}")
                except SkyhooksError:
                    self.refused += 1  # it is tried again, under the same id
                else:
                    self.count += 1


def soak(store, options):
    dice = random.Random(options.seed)
    with ExitStack() as stack:
        listeners = [Listener(store, framework) for framework in FRAMEWORKS for _ in range(2)]
        for listener in listeners:
            listener.connect()
            stack.callback(listener.end)
        job = Job(store, options.rate, options.seconds)
        job.start()
        # Of each framework the first is spared, for its memory; the second is killed now and then.
        spared, mortal = listeners[::2], listeners[1::2]
        before = {}
        next_kill = next_report = time.monotonic() + options.kill_every
        while job.is_alive():
            job.join(0.2)
            for listener in listeners:
                listener.collect()
            if time.monotonic() >= next_kill:
                dice.choice(mortal).kill()
                next_kill = time.monotonic() + dice.uniform(0.5, 1.5) * options.kill_every
            if time.monotonic() >= next_report:
                next_report += REPORT_SECONDS
                before = before or {listener: listener.usage() for listener in spared}
                print(f"{job.count} sent, {sum(one.kills for one in listeners)} killed", flush=True)

        def all_have_it():
            for listener in listeners:
                listener.collect()
            return all(len(listener.data) >= job.count for listener in listeners)

        try:
            until(all_have_it, SETTLE_SECONDS)
        except AssertionError:
            print("not everything has arrived")
        return judge(listeners, spared, before, job)


def judge(listeners, spared, before, job):
    whole = list(range(job.count))
    for one in listeners:
        missing, doubled = len(set(whole) - set(one.data)), len(one.data) - len(set(one.data))
        order = "in order" if one.data == sorted(one.data) else "OUT OF ORDER"
        print(
            f"{one.framework:8} {len(one.data)} got, {missing} missing, {doubled} twice, {order}, {one.kills} times killed"
        )
    for one in spared:
        (memory, descriptors), (memory_before, descriptors_before) = one.usage(), before.get(one, one.usage())
        print(
            f"{one.framework:8} RSS {memory_before} -> {memory} KiB, descriptors {descriptors_before} -> {descriptors}"
        )
    print(f"{job.count} sent, {job.refused} tried again")
    return all(one.data == whole for one in listeners)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=100.0, help="notifications a second")
    parser.add_argument("--kill-every", type=float, default=10.0, help="seconds, on the average")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", help="default: a SQLite file of its own")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return not soak(options.store or f"sqlite:///{folder}/skyhooks.db?keep=100000&keep_bytes=100000000", options)


if __name__ == "__main__":
    sys.exit(main())
