"""Brings what skyhooks tells stdlib's logging to twisted.logger, where nobody else would hear it."""

from __future__ import annotations

import logging

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

NAME = "skyhooks"

_LEVELS = (
    (logging.CRITICAL, LogLevel.critical),
    (logging.ERROR, LogLevel.error),
    (logging.WARNING, LogLevel.warn),
    (logging.INFO, LogLevel.info),
)


class TwistedHandler(logging.Handler):
    """A handler of `logging` that emits what it is given as an event of twisted.logger.

    Give it to skyhooks' logger only, as `bridge` does: an observer that publishes Twisted's events to `logging`, as
    `STDLibLogObserver` does, comes back there under another name, and would go round and round at the root.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Emit a record, with what was raised as a Failure."""
        level = next((level for number, level in _LEVELS if record.levelno >= number), LogLevel.debug)
        details = {"text": record.getMessage()}
        if record.exc_info and record.exc_info[1] is not None:
            _, error, traceback = record.exc_info
            Logger(record.name).emit(level, "{text}", log_failure=Failure(error, exc_tb=traceback), **details)
        else:
            Logger(record.name).emit(level, "{text}", **details)


def bridge() -> TwistedHandler | None:
    """Begin to bring skyhooks' records to twisted.logger; None where logging has a handler for them already."""
    logger = logging.getLogger(NAME)
    if logger.hasHandlers():
        return None
    handler = TwistedHandler()
    logger.addHandler(handler)
    logger.propagate = False  # to an observer that publishes to logging, or each would be told twice
    return handler


def unbridge(handler: TwistedHandler) -> None:
    """End that."""
    logger = logging.getLogger(NAME)
    logger.removeHandler(handler)
    logger.propagate = True
