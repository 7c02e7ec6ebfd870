"""`skyhooks demo`: with a page, or once and checked; nothing is left of it when it ends."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import stat
import webbrowser
from collections.abc import Awaitable, Callable

from ..cli.exits import BadInput, Exit
from ..cli.output import Bar, print_line, print_table, style
from .check import Check, Result, Verdict
from .files import choose
from .front import Front
from .processes import Cluster

PAGE_JOB_SECONDS = 15.0
ONCE_JOB_SECONDS = 4.0


def run(options: argparse.Namespace) -> Exit:
    """Do what the words say; `NO` if somebody did not get everything, once and in order."""
    _check(options)
    return asyncio.run(_until_signalled(lambda: _once(options) if options.once else _serve(options)))


async def _until_signalled(work: Callable[[], Awaitable[Exit]]) -> Exit:
    """End on the first signal, in order; those that follow change nothing, or something would be left."""
    task = asyncio.ensure_future(work())
    received: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        if not received:
            task.cancel()
        received.append(number)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end, number)
    try:
        return await task
    except asyncio.CancelledError:
        return Exit.INTERRUPTED if received[:1] == [signal.SIGINT] else Exit.TERMINATED


async def _serve(options: argparse.Namespace) -> Exit:
    seconds = options.seconds or PAGE_JOB_SECONDS
    async with Front(options.port, options.paths, files=options.files, seconds=seconds) as front:
        print(f"{style('bold', front.url)}  three web processes, a job, a page; Ctrl-C ends it", flush=True)
        print(
            style("dim", f"listen along: skyhooks listen {front.key} --since start --store '{front.store}'"), flush=True
        )
        if options.open:
            await asyncio.to_thread(webbrowser.open, front.url)
        await front.serve()
    return Exit.OK


async def _once(options: argparse.Namespace) -> Exit:
    bar = Bar("notifications")
    bar.say("starting three web processes and a store")
    async with Cluster(0, ()) as cluster:
        result = await Check(cluster, bar).run(
            options.paths, files=options.files, seconds=options.seconds or ONCE_JOB_SECONDS
        )
    if options.json:
        print_line(result)
    else:
        _print(result)
    return Exit.OK if result.ok else Exit.NO


def _print(result: Result) -> None:
    headers = ("PROCESS", "FRAMEWORK", "RECEIVED", "DUPLICATES", "GAPS", "P50 MS", "P99 MS")
    print_table(headers, [_row(one) for one in result.verdicts], right=headers[2:])
    if result.ok:
        print(
            f"{style('green', 'ok')}: every process got all {result.notifications} notifications of the log, once and"
            f" in order; {result.victim} was killed after {result.killed_after} and went on where it was"
        )
    else:
        print(f"{style('red', 'failed')}: {_fault(result)}")


def _row(verdict: Verdict) -> tuple[str, ...]:
    return (
        verdict.process,
        verdict.framework,
        str(verdict.received),
        str(verdict.duplicates),
        str(verdict.gaps),
        "-" if verdict.p50_ms is None else f"{verdict.p50_ms:.1f}",
        "-" if verdict.p99_ms is None else f"{verdict.p99_ms:.1f}",
    )


def _fault(result: Result) -> str:
    wrong = ", ".join(one.process for one in result.verdicts if not one.ok)
    if result.report is None:
        return f"the time ran out; the log has {result.notifications} notifications, and not all came to {wrong or 'an end'}"
    if wrong:
        return f"{wrong} did not get the {result.notifications} notifications of the log, once and in order"
    if result.report.failed:
        return f"the job could not publish {result.report.failed} notifications"
    return f"the reader of {result.victim} did not go on after the kill"


def _check(options: argparse.Namespace) -> None:
    if options.once and (options.open or options.port):
        raise BadInput("--once shows no page; leave out --open and --port")
    if options.json and not options.once:
        raise BadInput("--json goes with --once")
    for path in options.paths:
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError) as error:
            raise BadInput(f"{path}: {getattr(error, 'strerror', None) or error}") from None
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise BadInput(f"{path} is neither a file nor a directory")
    if options.paths and not choose(options.paths, 1):
        raise BadInput(f"there are no files in {', '.join(options.paths)}")
