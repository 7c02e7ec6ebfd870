"""One of the demo's processes, seen from its parent: started, killed, started anew, ended with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec

from ..cli.inputs import STORE_VARIABLE
from ..exceptions import SkyhooksError
from .frameworks import module_of
from .orders import GOODBYE, GRACE_SECONDS, JobOrder, Ready, WebOrder

START_SECONDS = 30.0


class ProcessFailed(SkyhooksError):
    """One of the demo's processes did not start, or did not end as it should."""


class Child:
    """One process, which ends when its standard input does; what it complains of goes to a log."""

    def __init__(self, process: Process, log: Path) -> None:
        self._process = process
        self._log = log

    @classmethod
    async def start(cls, module: str, order: WebOrder | JobOrder, store: str, paths: Sequence[str] = ()) -> Self:
        """Start `python -m module`, out of reach of the terminal's Ctrl-C, which is for the parent."""
        log = Path(order.scratch) / f"{secrets.token_hex(4)}.log"
        with log.open("wb") as complaints:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-P", "-m", module, msgspec.json.encode(order).decode(), *paths),
                stdin=PIPE,
                stdout=PIPE,
                stderr=complaints,
                env={**os.environ, STORE_VARIABLE: store},
                start_new_session=True,
            )
        return cls(process, log)

    @property
    def pid(self) -> int:
        """The system's number of it."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet, as far as is known."""
        return self._process.returncode is None

    async def line(self) -> bytes:
        """Read what it says.

        Raises:
            ProcessFailed: it has nothing to say, and ends.
        """
        stdout = self._process.stdout
        line = await stdout.readline() if stdout else b""
        if not line:
            status = await self._process.wait()
            raise ProcessFailed(f"process {self.pid} ended with status {status}: {self.last_words()}")
        return line

    def last_words(self) -> str:
        """Return the last line of its log."""
        with contextlib.suppress(OSError):
            return (self._log.read_text(encoding="utf-8", errors="replace").rstrip().splitlines() or [""])[-1]
        return ""

    async def kill(self) -> None:
        """End it as a crash would."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """Let it leave; a process that takes too long is killed."""
        stdin = self._process.stdin
        if stdin is not None and self.running:
            with contextlib.suppress(OSError):
                stdin.write(GOODBYE)
                stdin.close()
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await self._process.wait()
        except TimeoutError:
            await self.kill()


class WebProcess:
    """One of the web processes: always at the same port, however often it is killed."""

    def __init__(
        self, order: WebOrder, store: str, framework: str, transports: Sequence[str], reservation: socket.socket
    ) -> None:
        self.name = order.name
        self.framework = framework
        self.transports = transports
        """By what it can be reached; the first is its pane's."""
        self.instance_ids: list[str] = []
        """Who it has been among the instances, one for each start."""
        self._order = order
        self._store = store
        self._reservation = reservation
        self._child: Child | None = None

    @property
    def port(self) -> int:
        """Where it serves."""
        return self._order.port

    @property
    def pid(self) -> int | None:
        """The system's number of it, while it runs."""
        return self._child.pid if self._child is not None and self._child.running else None

    async def start(self) -> None:
        """Start it, and wait until it serves.

        Raises:
            ProcessFailed: it does not.
        """
        self._child = child = await Child.start(module_of(self.framework), self._order, self._store)
        try:
            async with asyncio.timeout(START_SECONDS):
                ready = msgspec.json.decode(await child.line(), type=Ready)
        except TimeoutError:
            raise ProcessFailed(f"process {self.name} does not start: {child.last_words()}") from None
        self.instance_ids.append(ready.instance_id)

    async def kill(self) -> None:
        """End it as a crash would."""
        if self._child is not None:
            await self._child.kill()

    async def stop(self) -> None:
        """End it, and give its port back."""
        if self._child is not None:
            await self._child.stop()
        self._reservation.close()
