"""TLS on Twisted, for the own listener and the own client; what the store says cannot weaken it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import Certificate, load_pem_x509_certificates
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet import ssl

_TLS = {"raiseMinimumTo": ssl.TLSVersion.TLSv1_2}


def server_options(certfile: str | None, keyfile: str | None) -> ssl.CertificateOptions | None:
    """Make what a listener shows, with all of the chain that the file has; None where it speaks plain HTTP.

    Raises:
        ValueError: the files cannot be loaded.
    """
    if certfile is None:
        return None
    try:
        # Certificates and keys of pyOpenSSL's own kind, which Twisted (26.10) asks for, are deprecated by pyOpenSSL 25.
        own, *chain = _certificates(certfile)
        key: Any = load_pem_private_key(Path(keyfile or certfile).read_bytes(), None)
        options = ssl.CertificateOptions(privateKey=key, certificate=own, extraCertChain=chain, **_TLS)
        options.getContext()  # where a key that does not fit is found out
    except (OSError, ValueError, TypeError, SSL.Error) as error:
        raise ValueError(f"certfile={certfile!r}, keyfile={keyfile!r} cannot be loaded: {error}") from error
    return options


class ClientTls:
    """Makes what a client shakes hands with: names, addresses too, and chains are verified, always.

    Raises:
        ValueError: `cafile` cannot be loaded.
    """

    def __init__(self, cafile: str | None) -> None:
        try:
            self._trust = ssl.platformTrust() if cafile is None else _trust(cafile)
        except (OSError, ValueError) as error:
            raise ValueError(f"cafile={cafile!r} cannot be loaded: {error}") from error

    def creator(self, host: str) -> Any:
        """Make the creator of connections to that name or address."""
        return ssl.optionsForClientTLS(host, trustRoot=self._trust, extraCertificateOptions=dict(_TLS))


def _trust(cafile: str) -> Any:
    found = [ssl.Certificate(X509.from_cryptography(one)) for one in _certificates(cafile)]
    return ssl.trustRootFromCertificates(found)


def _certificates(path: str) -> list[Any]:
    found: list[Certificate] = load_pem_x509_certificates(Path(path).read_bytes())
    return found
