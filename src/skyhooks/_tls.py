"""TLS contexts for the own listener and the own clients; what the store says cannot weaken them."""

from __future__ import annotations

import ssl


def server_context(certfile: str | None, keyfile: str | None) -> ssl.SSLContext | None:
    """Make a listener's context, or None where it speaks plain HTTP.

    Raises:
        ValueError: the files cannot be loaded.
    """
    if certfile is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certfile, keyfile, password=_no_password)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise ValueError(f"certfile={certfile!r}, keyfile={keyfile!r} cannot be loaded: {error}") from error
    return context


def _no_password() -> str:
    # OpenSSL would ask for it on the terminal, and block the loop.
    raise ValueError("the key is encrypted; give one that is not, readable for this process only")


def client_context(cafile: str | None) -> ssl.SSLContext:
    """Make a client's context: names and chains are verified, against `cafile` where it is given.

    Raises:
        ValueError: the file cannot be loaded.
    """
    try:
        return ssl.create_default_context(cafile=cafile)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"cafile={cafile!r} cannot be loaded: {error}") from error
