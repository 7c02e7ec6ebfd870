"""The job process: reads files, and tells what it finds, through the blocking notifier."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Sequence

import msgspec

from ..blocking import Notifier, Submission
from ..exceptions import SkyhooksError
from .files import Facts, choose, measure, shown
from .orders import JobOrder, JobReport, Progress, say, when_parent_ends

FLUSH_SECONDS = 30.0


def main() -> int:
    """Do what the parent ordered."""
    order = msgspec.json.decode(sys.argv[1], type=JobOrder)
    when_parent_ends(order.scratch, lambda: os._exit(1))
    with Notifier() as notifier:
        report = Job(order, notifier).run(choose(sys.argv[2:], order.files))
    say(report)
    return 1 if report.failed else 0


class Job:
    """One run: "started", a notification for each file, "summary"."""

    def __init__(self, order: JobOrder, notifier: Notifier) -> None:
        self._order = order
        self._notifier = notifier
        self._submitted: list[Submission] = []
        self._started = time.monotonic()
        self._total = {"lines": 0, "words": 0, "bytes": 0, "unreadable": 0}
        self._digest = hashlib.sha256()

    def run(self, files: Sequence[str]) -> JobReport:
        """Read the files; the summary waits for its receipt, everything before is only submitted."""
        self._tell("started", 0, len(files), {})
        for index, (path, name) in enumerate(zip(files, _names(files), strict=True), 1):
            self._wait_for_turn(index, len(files))
            self._tell("file", index, len(files), {"path": name, **self._examine(path)})
        self._notifier.flush(FLUSH_SECONDS)
        return self._summarize(len(files))

    def _tell(self, kind: str, index: int, files: int, facts: dict[str, object]) -> None:
        progress = Progress(kind, self._order.number, index, files, time.time())
        data = {**msgspec.structs.asdict(progress), **facts}
        self._submitted.append(self._notifier.submit(self._order.keys, data, id=progress.id))

    def _examine(self, path: str) -> dict[str, object]:
        try:
            facts = measure(path)
        except OSError as error:
            self._total["unreadable"] += 1
            return {"error": error.strerror}
        self._count(facts)
        return msgspec.structs.asdict(facts)

    def _count(self, facts: Facts) -> None:
        self._total["lines"] += facts.lines
        self._total["words"] += facts.words
        self._total["bytes"] += facts.bytes
        self._digest.update(bytes.fromhex(facts.sha256))

    def _summarize(self, files: int) -> JobReport:
        failed = sum(not _is_published(one) for one in self._submitted)
        progress = Progress("summary", self._order.number, files + 1, files, time.time())
        facts = {
            **self._total,
            "sha256": self._digest.hexdigest(),
            "seconds": round(time.monotonic() - self._started, 3),
        }
        data = {**msgspec.structs.asdict(progress), **facts}
        receipt = self._notifier.notify(self._order.keys, data, id=progress.id)
        outcomes = [delivery.outcome.value for delivery in receipt.deliveries]
        return JobReport(len(self._submitted) + 1, failed, receipt.reached, outcomes)

    def _wait_for_turn(self, index: int, of: int) -> None:
        due = self._started + self._order.seconds * (index - 1) / of
        time.sleep(max(0.0, due - time.monotonic()))


def _is_published(submission: Submission) -> bool:
    try:
        submission.result(0)
    except (SkyhooksError, TimeoutError):
        return False
    return True


def _names(files: Sequence[str]) -> list[str]:
    """Return what to call files by: the page has no room for the directory that all are in."""
    paths = [os.path.normpath(path) for path in files]
    try:
        root = os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # none at all, or some absolute and some not
        return [shown(path) for path in paths]
    return [shown(os.path.relpath(path, root or os.curdir)) for path in paths]


if __name__ == "__main__":
    sys.exit(main())
