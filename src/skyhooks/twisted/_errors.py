"""What Twisted, pyOpenSSL and service_identity raise when an attempt fails, as the errors that `fault_of` names."""

from __future__ import annotations

import errno
import os
import socket
import ssl

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import CancelledError
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    ConnectionDone,
    DNSLookupError,
)
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.web.client import RequestGenerationFailed, RequestTransmissionFailed, ResponseFailed

from .._faults import no_connection

_Cancelled = (CancelledError, ConnectingCancelledError)
_Wrapped = (ResponseFailed, RequestTransmissionFailed, RequestGenerationFailed)


class NotHttp(Exception):
    """What came was no answer."""


def is_cancelled(error: Exception) -> bool:
    """Tell whether an attempt failed because it was cancelled; not all of Twisted says so in the same way."""
    if isinstance(error, _Wrapped):
        return any(isinstance(reason.value, _Cancelled) for reason in error.reasons)
    return isinstance(error, _Cancelled)


def os_error(error: Exception, host: str) -> Exception:
    """Translate what ended a connection, or kept it from coming about; raise it `from` the original."""
    if isinstance(error, _Wrapped):
        return os_error(_cause(error), host)
    if isinstance(error, DNSLookupError):
        return socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    if isinstance(error, OSError | ValueError):  # a host that can be no name in a certificate is a ValueError
        return error
    if isinstance(error, ConnectTimeout):
        return no_connection()
    if isinstance(error, ConnectError):
        number = error.osError if isinstance(error.osError, int) else errno.EHOSTUNREACH
        return OSError(number, os.strerror(number))
    if isinstance(error, ConnectionClosed):
        how = "ended" if isinstance(error, ConnectionDone) else "broke"
        return ConnectionResetError(errno.ECONNRESET, f"the connection {how}")
    if isinstance(error, VerificationError):
        return ssl.SSLCertVerificationError(1, f"the certificate is not for {host}")
    if isinstance(error, SSL.Error):
        return ssl.SSLError(1, _reasons(error))
    return NotHttp(type(error).__name__)


def _cause(error: Exception) -> Exception:
    """Return what says most of an error's causes: how TLS failed, or what was wrong with an answer."""
    causes: list[Exception] = [reason.value for reason in getattr(error, "reasons", ())]
    telling = [cause for cause in causes if not isinstance(cause, ConnectionClosed)]
    return (telling or causes or [ConnectionClosed()])[0]


def _reasons(error: SSL.Error) -> str:
    """Say what OpenSSL says, such as "certificate verify failed"."""
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return ", ".join(str(entry[-1]) for entry in queue) or type(error).__name__
