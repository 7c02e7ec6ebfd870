"""Which files the job reads, and what it finds out about them."""

from __future__ import annotations

import hashlib
import os
import stat
import sysconfig
from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec

CHUNK_BYTES = 1 << 20

_PASSED_OVER = frozenset(["__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3"])
"""Of the standard library: what is no part of it, or only repeats itself."""


class Facts(msgspec.Struct, frozen=True):
    """What one file is made of; lines and words as `wc` counts them."""

    lines: int
    words: int
    bytes: int
    sha256: str


def choose(paths: Sequence[str], limit: int) -> list[str]:
    """Return the regular files among and below these paths, or of the standard library, in a stable order."""
    found = (file for path in paths for file in _walk(path)) if paths else _standard_library()
    return list(islice(found, limit))


def measure(path: str) -> Facts:
    """Read a file.

    Raises:
        OSError: it cannot be read, or is not a regular file any more.
    """
    lines = words = size = 0
    digest = hashlib.sha256()
    inside = False
    with open(path, "rb", opener=_open_at_once) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            lines += chunk.count(b"\n")
            words += len(chunk.split()) - (inside and not chunk[:1].isspace())
            inside = not chunk[-1:].isspace()
    return Facts(lines, words, size, digest.hexdigest())


def shown(path: str) -> str:
    """Return a path as text that JSON can hold, whatever bytes its name is made of."""
    return os.fsencode(path).decode(errors="replace")


def _open_at_once(path: str, flags: int) -> int:
    # A pipe that has taken the file's place must not make the job wait for a writer.
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "not a regular file")
    return descriptor


def _walk(path: str) -> Iterator[str]:
    if not os.path.isdir(path):
        yield path
        return
    for directory, names, files in os.walk(path):
        names.sort()
        yield from filter(_is_regular, (os.path.join(directory, name) for name in sorted(files)))


def _standard_library() -> Iterator[str]:
    for directory, names, files in os.walk(sysconfig.get_path("stdlib")):
        names[:] = sorted(set(names) - _PASSED_OVER)
        yield from (os.path.join(directory, name) for name in sorted(files) if name.endswith(".py"))


def _is_regular(path: str) -> bool:
    return os.path.isfile(path) and not os.path.islink(path)
