"""What lies between a pane and its web process: a way that can be cut."""

from __future__ import annotations

import asyncio
import contextlib

from .web import HOST

PIECE_BYTES = 65_536


class Wire:
    """Passes connections on to a port, byte by byte; while it is cut it ends all there are, and all that come."""

    def __init__(self, to_port: int) -> None:
        self.port = 0
        self.is_cut = False
        self._to_port = to_port
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, port: int) -> None:
        """Listen; 0 is a port that the system picks.

        Raises:
            OSError: the port is taken.
        """
        self._server = await asyncio.start_server(self._pass_on, HOST, port, limit=PIECE_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self, seconds: float) -> None:
        """Cut it for so long."""
        self.is_cut = True
        try:
            self._end_all()
            await asyncio.sleep(seconds)
        finally:
            self.is_cut = False

    async def close(self) -> None:
        """End all connections; twice is fine."""
        if self._server is not None:
            self._server.close()
        self._end_all()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _end_all(self) -> None:
        for end in self._ends:
            end.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self.is_cut:
            writer.transport.abort()
            return
        with contextlib.suppress(OSError, asyncio.CancelledError):  # the process is dead, or we go
            await self._connect(reader, writer)
        writer.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.add(writer)
        try:
            to_reader, to_writer = await asyncio.open_connection(HOST, self._to_port, limit=PIECE_BYTES)
            self._ends.add(to_writer)
            try:
                if not writer.transport.is_closing():  # else it was cut meanwhile
                    await asyncio.gather(_pump(reader, to_writer), _pump(to_reader, writer))
            finally:
                self._ends.discard(to_writer)
                to_writer.close()
        finally:
            self._ends.discard(writer)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes in one direction; its end ends both."""
    try:
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    finally:
        writer.close()
