"""`skyhooks listen`: join as an instance, and print what arrives."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import stat
import sys

from .._asyncio.registry import Registry
from .._keys import canonical_keys
from .._notification import Gap, Notification
from .exits import BadInput, Exit
from .inputs import make_store, read_keys, read_secret
from .output import clock, compact, print_line, printable, style


def run(options: argparse.Namespace) -> Exit:
    """Do what the words say; `NO` if the time ran out before enough had arrived."""
    return asyncio.run(_Listening(options).run())


class _Listening:
    """One wait for some keys."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._keys = read_keys(options.keys)
        self._registry = _make_registry(options)
        self._wanted = options.count
        self._arrived = 0
        self._ended_by: Exit | None = None

    async def run(self) -> Exit:
        """Wait until enough has arrived, the time is up, or a signal ends it; leave in any case."""
        self._watch()
        try:
            async with asyncio.timeout(self._options.timeout), self._registry:
                await self._print_all()
        except TimeoutError:
            return Exit.NO if self._arrived < (self._wanted or 1) else Exit.OK
        except asyncio.CancelledError:
            if self._ended_by is None:
                raise
            return self._ended_by
        return Exit.OK

    async def _print_all(self) -> None:
        async with self._registry.subscribe(self._keys, since=self._options.since) as stream:
            self._greet()
            async for what in stream:
                (_print_as_json if self._options.json else _print)(what)
                self._arrived += isinstance(what, Notification)
                if self._arrived == self._wanted:
                    return

    def _greet(self) -> None:
        keys = printable(" ".join(canonical_keys(self._keys)))
        where = self._registry.url or "nowhere: it asks the store"
        print(f"listening for {keys} on {where}, as {self._registry.instance_id}; Ctrl-C ends it", file=sys.stderr)

    def _watch(self) -> None:
        """Leave on SIGTERM, and when whoever reads the output has gone away, even while nothing arrives."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()

        def end(status: Exit) -> None:
            loop.remove_reader(output)
            if self._ended_by is None and task is not None:
                self._ended_by = status
                task.cancel()

        output = sys.stdout.fileno()
        loop.add_signal_handler(signal.SIGTERM, end, Exit.TERMINATED)
        if stat.S_ISFIFO(os.fstat(output).st_mode):
            loop.add_reader(output, end, Exit.BROKEN_PIPE)


def _make_registry(options: argparse.Namespace) -> Registry:
    store = make_store(options)
    secret = read_secret(options)
    try:
        return Registry(store, listen=None if options.pull else options.listen, secret=secret)
    except ValueError as error:
        raise BadInput(str(error)) from None


def _print(what: Notification | Gap) -> None:
    if isinstance(what, Gap):
        print(
            style("yellow", f"{'':12}  {what.key}  gap: the log no longer has what was here ({what.reason})"),
            flush=True,
        )
        return
    when = style("dim", clock(what.sent_at))
    print(f"{when}  {style('bold', printable(what.key))}  {printable(bytes(compact(what.raw)).decode())}", flush=True)


def _print_as_json(what: Notification | Gap) -> None:
    if isinstance(what, Gap):
        print_line({"type": "gap", "key": what.key, "reason": what.reason, "cursor": what.cursor})
        return
    print_line(
        {
            "type": "notification",
            "key": what.key,
            "id": what.id,
            "sent_at": what.sent_at,
            "replayed": what.replayed,
            "cursor": what.cursor,
            "data": compact(what.raw),
        }
    )
