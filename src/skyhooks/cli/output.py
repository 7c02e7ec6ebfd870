"""What people and pipes see: tables, JSON lines, a progress bar; no colour where nobody looks."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Collection, Sequence
from typing import TextIO
from unicodedata import combining, east_asian_width

import msgspec

_STYLES = {"dim": "2", "bold": "1", "red": "31", "green": "32", "yellow": "33"}
_GAP = "  "
_BAR_CELLS = 28


def print_line(value: object) -> None:
    """Print a value as one line of JSON, at once."""
    print(msgspec.json.encode(value).decode(), flush=True)


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()) -> None:
    """Print aligned columns; those named in `right` are numbers. A terminal's width cuts the last column."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(width, column)) for column in zip(headers, *cells, strict=True)]
    room = _columns(sys.stdout) - sum(widths[:-1]) - len(_GAP) * (len(widths) - 1)
    print(style("dim", _row(headers, headers, widths, right)))
    for row in cells:
        print(_row([*row[:-1], cut(row[-1], max(room, 12))], headers, widths, right))


def style(name: str, text: str, stream: TextIO | None = None) -> str:
    """Return text in a style if the stream is a terminal whose user has not set `NO_COLOR`."""
    stream = stream or sys.stdout
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{_STYLES[name]}m{text}\x1b[0m"


def printable(text: str) -> str:
    """Replace what could steer a terminal: data and labels come from others."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def compact(raw: bytes) -> msgspec.Raw:
    """Return JSON from a log as JSON in one line; what is no JSON, as a string that shows it."""
    try:
        return msgspec.Raw(msgspec.json.format(raw, indent=-1))
    except msgspec.DecodeError:
        return msgspec.Raw(msgspec.json.encode(raw.decode(errors="replace")))


def clock(unix_seconds: float) -> str:
    """Return the local time of day, in milliseconds."""
    whole, milliseconds = divmod(round(unix_seconds * 1000), 1000)
    return f"{time.strftime('%H:%M:%S', time.localtime(whole))}.{milliseconds:03d}"


def width(text: str) -> int:
    """Count the cells that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(one) else 2 if east_asian_width(one) in "WF" else 1 for one in text)


def cut(text: str, cells: int) -> str:
    """Shorten a text to so many cells."""
    if width(text) <= cells:
        return text
    while width(text) > cells - 1:
        text = text[:-1]
    return f"{text}…"


class Bar:
    """A progress bar in the last line of a terminal; anywhere else it is not drawn, and `say` still prints."""

    def __init__(self, label: str, stream: TextIO | None = None) -> None:
        self._label = label
        self._stream = stream or sys.stderr
        self._shown = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._drawn = ""

    def show(self, done: int, of: int, note: str = "") -> None:
        """Draw it anew."""
        filled = _BAR_CELLS * min(done, of) // max(of, 1)
        bar = style("green", "█" * filled, self._stream) + style("dim", "░" * (_BAR_CELLS - filled), self._stream)
        line = f"{self._label} {bar} {done}/{of}"
        room = _columns(self._stream) - len(self._label) - _BAR_CELLS - len(f"{done}/{of}") - 4
        self._draw(f"{line}  {cut(printable(note), room)}" if room > 12 else line)

    def say(self, text: str) -> None:
        """Print a line above it."""
        drawn = self._drawn
        self.clear()
        print(text, file=self._stream, flush=True)
        self._draw(drawn)

    def clear(self) -> None:
        """Take it away."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = ""

    def _draw(self, line: str) -> None:
        if self._shown and line and line != self._drawn:
            self._stream.write(f"\r\x1b[K{line}")
            self._stream.flush()
            self._drawn = line


def _row(cells: Sequence[str], headers: Sequence[str], widths: Sequence[int], right: Collection[str]) -> str:
    parts = []
    for cell, header, cells_wide in zip(cells, headers, widths, strict=True):
        space = " " * (cells_wide - width(cell))
        parts.append(space + cell if header in right else cell + space)
    return _GAP.join(parts).rstrip()


def _columns(stream: TextIO) -> int:
    return shutil.get_terminal_size().columns if stream.isatty() else 10_000
