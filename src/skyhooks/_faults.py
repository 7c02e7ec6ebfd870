"""What may go wrong between two sockets, as the fault that a job is told: mapped once, for every client of ours."""

from __future__ import annotations

import errno
import socket
import ssl

from ._policy import CONNECT_SECONDS
from ._values import Answer, Fault
from .exceptions import UrlBlocked

AttemptError = OSError | ValueError | UrlBlocked
"""What ends an attempt without an answer; `ValueError` and `UrlBlocked` before anything was sent."""


def fault_of(error: AttemptError) -> Answer:
    """Tell what an attempt ended with; the text is for people and holds nothing of what was sent."""
    fault = _kind(error)
    if fault is Fault.BLOCKED:
        return Answer(fault=fault, error=str(error))
    detail = getattr(error, "verify_message", None) or getattr(error, "strerror", None) or type(error).__name__
    return Answer(fault=fault, error=f"{fault.value}: {detail}")


def timed_out(timeout_seconds: float) -> Answer:
    """Tell that an attempt's time ran out."""
    return Answer(fault=Fault.TIMEOUT, error=f"{Fault.TIMEOUT.value}: no answer within {timeout_seconds:.3g} s")


def no_connection() -> TimeoutError:
    """Make the error for a connection that did not come about in time."""
    return TimeoutError(errno.ETIMEDOUT, f"no connection within {CONNECT_SECONDS:g} s")


def _kind(error: AttemptError) -> Fault:
    if isinstance(error, (socket.gaierror, UnicodeError)):  # a label too long or empty is a UnicodeError
        return Fault.DNS
    if isinstance(error, (ValueError, UrlBlocked)) and not isinstance(error, OSError):
        return Fault.BLOCKED
    if isinstance(error, (ssl.SSLEOFError, ConnectionResetError, ConnectionAbortedError, BrokenPipeError)):
        return Fault.RESET
    if isinstance(error, ssl.SSLError):
        return Fault.TLS
    if isinstance(error, TimeoutError):
        return Fault.TIMEOUT
    return Fault.REFUSED  # unreachable hosts and networks too: there was no connection
