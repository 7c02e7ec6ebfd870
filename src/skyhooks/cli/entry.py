"""From the command line's words to an exit status; a command's own module is imported when it is asked for."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from ..exceptions import InvalidCursor, InvalidData, InvalidKey, SkyhooksError, UnknownStore
from .exits import BadInput, Exit
from .output import printable
from .parser import make_parser

_BAD_INPUT = (BadInput, InvalidKey, InvalidData, InvalidCursor, UnknownStore)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Raises:
        SystemExit: after `--help`, `--version`, and for words that make no command.
    """
    parser = make_parser()
    if not (sys.argv[1:] if arguments is None else arguments):
        parser.print_help(sys.stderr)
        return Exit.USAGE
    options = parser.parse_args(arguments)
    _log_in_lines(options.command)
    try:
        status = _run(options)
        sys.stdout.flush()
    except _BAD_INPUT as error:
        return _complain(options.command, error, Exit.USAGE)
    except SkyhooksError as error:
        return _complain(options.command, error, Exit.TROUBLE)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        status = Exit.BROKEN_PIPE
    if status is Exit.BROKEN_PIPE:
        _abandon_output()
    return status


def _run(options: argparse.Namespace) -> Exit:
    status: Exit = import_module(options.module, __package__).run(options)
    return status


def _complain(command: str, error: Exception, status: Exit) -> Exit:
    text = printable(" ".join(str(error).split()))
    print(f"skyhooks {command}: {text}", file=sys.stderr)
    return status


def _log_in_lines(command: str) -> None:
    """Show what the library warns of, a line each, without the traces that its log would have."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Line(f"skyhooks {command}: %(message)s"))
    log = logging.getLogger("skyhooks")
    log.addHandler(handler)
    log.propagate = False


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        record.exc_info = record.exc_text = record.stack_info = None
        return printable(" ".join(super().format(record).split()))


def _abandon_output() -> None:
    # The interpreter flushes standard output once more when it ends, and would complain then.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
