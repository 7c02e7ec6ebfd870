"""`skyhooks demo`: with a page, or once and checked; nothing is left of it when it ends."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import stat
import webbrowser
from collections.abc import Awaitable, Callable, Iterable

from ..cli.exits import BadInput, Exit
from ..cli.inputs import make_store
from ..cli.output import Bar, print_line, print_table, style
from .check import Check, Result, Verdict
from .cluster import Cluster
from .files import choose
from .frameworks import notice
from .front import Front

PAGE_JOB_SECONDS = 15.0
ONCE_JOB_SECONDS = 4.0
TRANSPORTS = {"events": "EventSource", "socket": "WebSocket", "poll": "long poll"}


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
    front = Front(options.port, options.paths, files=options.files, seconds=seconds, store_url=options.store)
    async with front:
        print(f"{style('bold', front.url)}  three web processes, a job, a page; Ctrl-C ends it", flush=True)
        print(
            style("dim", f"listen along: skyhooks listen {front.key} --since start --store '{front.store}'"), flush=True
        )
        if notice():
            print(notice(), flush=True)
        if options.open:
            await asyncio.to_thread(webbrowser.open, front.url)
        await front.serve()
    return Exit.OK


async def _once(options: argparse.Namespace) -> Exit:
    bar = Bar("notifications")
    if notice():
        bar.say(notice())
    cluster = Cluster(store_url=options.store)
    bar.say(f"starting three web processes ({', '.join(one.framework for one in cluster.processes)}) and a store")
    async with cluster:
        result = await Check(cluster, bar).run(
            options.paths, files=options.files, seconds=options.seconds or ONCE_JOB_SECONDS
        )
    if options.json:
        print_line(result)
    else:
        _print(result)
    return Exit.OK if result.ok else Exit.NO


def _print(result: Result) -> None:
    headers = (
        "PROCESS",
        "FRAMEWORK",
        "TRANSPORT",
        "KILLED AFTER",
        "RECEIVED",
        "CAUGHT UP",
        "DUPLICATES",
        "GAPS",
        "P50 MS",
        "P99 MS",
    )
    print_table(headers, [_row(one) for one in result.verdicts], right=headers[3:])
    if result.ok:
        print(f"{style('green', 'ok')}: {_praise(result)}")
    else:
        print(f"{style('red', 'failed')}: {_fault(result)}")


def _row(verdict: Verdict) -> tuple[str, ...]:
    return (
        verdict.process,
        verdict.framework,
        TRANSPORTS[verdict.transport],
        "-" if verdict.killed_after is None else str(verdict.killed_after),
        str(verdict.received),
        str(verdict.caught_up),
        str(verdict.duplicates),
        str(verdict.gaps),
        "-" if verdict.p50_ms is None else f"{verdict.p50_ms:.1f}",
        "-" if verdict.p99_ms is None else f"{verdict.p99_ms:.1f}",
    )


def _praise(result: Result) -> str:
    what = f"all {result.notifications} notifications of the log"
    if result.trimmed:
        what += f" (whose store keeps the last {result.notifications - result.trimmed} of them)"
    return f"each process was killed, and its reader went on where it was: everyone got {what}, once and in order"


def _fault(result: Result) -> str:
    wrong = _names(one for one in result.verdicts if not one.ok)
    if result.report is None:
        return f"the time ran out; the log has {result.notifications} notifications, and not all came to {wrong or 'an end'}"
    if wrong and result.trimmed:
        return (
            f"{wrong} did not get all {result.notifications} notifications, of which the store keeps only the last"
            f" {result.notifications - result.trimmed}; give a store that keeps more, or fewer --files"
        )
    if wrong:
        return f"{wrong} did not get the {result.notifications} notifications of the log, once and in order"
    if not result.alike:
        return "the processes' readers did not get the same"
    if result.report.failed:
        return f"the job could not publish {result.report.failed} notifications"
    if spared := _names(one for one in result.verdicts if not one.survived):
        return f"{spared} had no kill to survive, or did not go on after it"
    return f"the job published {result.report.notifications} notifications, and the log has {result.notifications}"


def _names(verdicts: Iterable[Verdict]) -> str:
    return ", ".join(one.process for one in verdicts)


def _check(options: argparse.Namespace) -> None:
    if options.once and (options.open or options.port):
        raise BadInput("--once shows no page; leave out --open and --port")
    if options.json and not options.once:
        raise BadInput("--json goes with --once")
    if options.store:
        make_store(options).close()
    for path in options.paths:
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError) as error:
            raise BadInput(f"{path}: {getattr(error, 'strerror', None) or error}") from None
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise BadInput(f"{path} is neither a file nor a directory")
    if options.paths and not choose(options.paths, 1):
        raise BadInput(f"there are no files in {', '.join(options.paths)}")
