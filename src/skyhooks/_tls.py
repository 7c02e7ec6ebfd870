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
        context.load_cert_chain(certfile, keyfile)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"certfile={certfile!r}, keyfile={keyfile!r} cannot be loaded: {error}") from error
    return context


def client_context(cafile: str | None) -> ssl.SSLContext:
    """Make a client's context: names and chains are verified, against `cafile` where it is given.

    Raises:
        ValueError: the file cannot be loaded.
    """
    try:
        return ssl.create_default_context(cafile=cafile)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"cafile={cafile!r} cannot be loaded: {error}") from error
