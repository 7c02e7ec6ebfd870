"""What may go wrong between two sockets, as the fault that a job is told: mapped once, for every client of ours."""

from __future__ import annotations

import socket
import ssl

from ._values import Answer, Fault


def fault_of(error: OSError | UnicodeError) -> Answer:
    """Tell what an attempt ended with; the text is for people and holds nothing of what was sent."""
    fault = _kind(error)
    detail = getattr(error, "verify_message", None) or getattr(error, "strerror", None) or type(error).__name__
    return Answer(fault=fault, error=f"{fault.value}: {detail}")


def timed_out(what: str) -> Answer:
    """Tell that time ran out, and over what."""
    return Answer(fault=Fault.TIMEOUT, error=f"{Fault.TIMEOUT.value}: {what}")


def blocked(problem: str) -> Answer:
    """Tell that nothing was sent, and must not be."""
    return Answer(fault=Fault.BLOCKED, error=problem)


def _kind(error: OSError | UnicodeError) -> Fault:
    if isinstance(error, (socket.gaierror, UnicodeError)):  # a label too long or empty is a UnicodeError
        return Fault.DNS
    if isinstance(error, (ssl.SSLEOFError, ConnectionResetError, ConnectionAbortedError, BrokenPipeError)):
        return Fault.RESET
    if isinstance(error, ssl.SSLError):
        return Fault.TLS
    if isinstance(error, TimeoutError):
        return Fault.TIMEOUT
    return Fault.REFUSED  # unreachable hosts and networks too: there was no connection
