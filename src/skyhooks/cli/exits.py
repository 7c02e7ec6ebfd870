"""The exit statuses, which scripts may rely on, and what leads to the second."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """How a command ended."""

    OK = 0
    NO = 1
    """It worked, and the answer is no."""
    USAGE = 2
    TROUBLE = 3
    """The store or the network."""
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


class BadInput(ValueError):
    """What was given cannot be used; the message says what can."""


EXITS = """\
exit status:
  0    done
  1    it worked, and the answer is no: nobody listened, nothing arrived in
       time, nothing was found, the demo's check failed
  2    the command line, a key, the data or a cursor makes no sense
  3    the store is away or damaged, or this machine cannot be reached
  130  interrupted by Ctrl-C   143  ended by SIGTERM
  141  whoever read the output has gone away"""
