"""What both ends of a connection need around httptools: why it stopped, and how much it has been given."""

from __future__ import annotations

import httptools

MAX_HEAD_BYTES = 16_384
MAX_HEADERS = 100
HEADER_OVERHEAD_BYTES = 4
"""The colon, the space and the line's end, which httptools does not report."""
CHUNK_OVERHEAD_BYTES = 8
"""What a byte of body may cost on the wire: chunks of one byte each, and a little more."""


class Stop(Exception):
    """Raised out of a callback to end parsing; httptools hides it as the context of its own error."""


def reason(error: httptools.HttpParserError) -> Stop | None:
    """Return the `Stop` behind a parser's error, or None where the bytes themselves are at fault.

    Whatever else a callback was hit by (a signal handler's exception comes at any line) is raised: httptools
    0.9 catches even `BaseException` there, and an interrupt must not be taken for a peer's mistake.
    """
    cause = error.__context__
    if cause is None or isinstance(cause, Stop):
        return cause
    raise cause


class Overhead:
    """Bounds what is read without being reported: half a header, chunk extensions, a trailer that never ends.

    httptools keeps the unfinished header, so its own callbacks cannot bound it. Only whole reads are counted that
    lie within one part of a message; the one that begins it is bounded by the size of a read.
    """

    __slots__ = ("_bytes",)

    def __init__(self) -> None:
        self._bytes = 0

    def restart(self) -> None:
        """Begin another part of a message."""
        self._bytes = 0

    def exceeded(self, read_bytes: int, body_bytes: int) -> bool:
        """Count a read that brought no news; `body_bytes` is the body so far."""
        self._bytes += read_bytes
        return self._bytes > 2 * MAX_HEAD_BYTES + (1 + CHUNK_OVERHEAD_BYTES) * body_bytes
