"""Checks what constructors are given, once for all worlds; touches nothing."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from typing import Literal

import msgspec

from ._notifier import NotifierCore
from ._signing import parse_secrets
from ._stores import open_store
from ._urls import UrlPolicy, parse_url
from .abc import Runtime, Store
from .exceptions import UrlUnreachable

Secret = str | Sequence[str] | None
Listen = tuple[str, int] | Literal["auto"] | None

SECRET_VARIABLE = "SKYHOOKS_SECRET"  # noqa: S105 - the name of the variable that holds it
MIN_BODY_BYTES = 4096


class RegistrySettings(msgspec.Struct, frozen=True):
    """What a registry was told, checked; its secrets are kept out of `repr`."""

    store: Store
    url: str | None
    listen: Listen
    advertise: str | None
    secrets: tuple[bytes, ...]
    lease_seconds: float
    heartbeat_seconds: float
    max_body_bytes: int
    url_policy: UrlPolicy
    allow_unsigned: bool
    legacy: bool
    certfile: str | None
    keyfile: str | None
    cafile: str | None

    def __repr__(self) -> str:
        return f"RegistrySettings(url={self.url!r}, listen={self.listen!r}, advertise={self.advertise!r})"

    @property
    def scheme(self) -> str:
        """How the own listener is spoken to."""
        return "https" if self.certfile else "http"


def registry_settings(
    *,
    store: str | Store | None,
    url: str | None,
    listen: str | None,
    advertise: str | None,
    secret: Secret,
    lease_seconds: float,
    heartbeat_seconds: float,
    max_body_bytes: int,
    url_policy: UrlPolicy | None,
    allow_unsigned: bool,
    legacy: bool,
    certfile: str | None,
    keyfile: str | None,
    cafile: str | None,
) -> RegistrySettings:
    """Check a registry's arguments.

    Raises:
        ValueError: with what to give instead. `UnknownStore` is one.
    """
    if url is not None:
        parse_url(url)
        if advertise is not None or listen != "auto":
            raise ValueError("url= says that you mount the handler yourself; leave out listen= and advertise=")
    if advertise is not None:
        parse_url(advertise.replace("{port}", "1"))
    if not 0 < heartbeat_seconds < lease_seconds:
        raise ValueError("heartbeat_seconds must be above 0 and below lease_seconds; 10 and 30 are good")
    if max_body_bytes < MIN_BODY_BYTES:
        raise ValueError(f"max_body_bytes must be {MIN_BODY_BYTES} at least")
    if keyfile is not None and certfile is None:
        raise ValueError("keyfile= goes with certfile=")
    return RegistrySettings(
        store=open_store(store),
        url=url,
        listen=None if url is not None else _parse_listen(listen),
        advertise=advertise,
        secrets=secrets_from(secret),
        lease_seconds=lease_seconds,
        heartbeat_seconds=heartbeat_seconds,
        max_body_bytes=max_body_bytes,
        url_policy=url_policy or UrlPolicy(),
        allow_unsigned=allow_unsigned,
        legacy=legacy,
        certfile=certfile,
        keyfile=keyfile,
        cafile=cafile,
    )


class NotifierSettings(msgspec.Struct, frozen=True):
    """What a notifier was told, checked; its secrets are kept out of `repr`."""

    store: Store
    secrets: tuple[bytes, ...]
    timeout_seconds: float
    url_policy: UrlPolicy
    max_connections: int
    max_pending_bytes: int
    cafile: str | None

    def __repr__(self) -> str:
        return f"NotifierSettings(timeout_seconds={self.timeout_seconds!r}, max_connections={self.max_connections!r})"

    def core(self, runtime: Runtime) -> NotifierCore:
        """Make a notifier's core in a world."""
        return NotifierCore(
            self.store,
            runtime,
            secrets=self.secrets,
            timeout_seconds=self.timeout_seconds,
            max_pending_bytes=self.max_pending_bytes,
        )


def notifier_settings(
    *,
    store: str | Store | None,
    secret: Secret,
    timeout_seconds: float,
    url_policy: UrlPolicy | None,
    max_connections: int,
    max_pending_bytes: int,
    cafile: str | None,
) -> NotifierSettings:
    """Check a notifier's arguments.

    Raises:
        ValueError: with what to give instead. `UnknownStore` is one.
    """
    check_positive(
        timeout_seconds=timeout_seconds, max_connections=max_connections, max_pending_bytes=max_pending_bytes
    )
    return NotifierSettings(
        store=open_store(store),
        secrets=secrets_from(secret),
        timeout_seconds=timeout_seconds,
        url_policy=url_policy or UrlPolicy(),
        max_connections=max_connections,
        max_pending_bytes=max_pending_bytes,
        cafile=cafile,
    )


def secrets_from(secret: Secret) -> tuple[bytes, ...]:
    """Read the secret that was given, else the one in `$SKYHOOKS_SECRET` (several, while rotating, with spaces between)."""
    if secret is None:
        secret = os.environ.get(SECRET_VARIABLE, "").split() or None
    return parse_secrets(secret)


def check_positive(**values: float) -> None:
    """Refuse what is not above 0.

    Raises:
        ValueError: naming the argument.
    """
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be above 0, not {value!r}")


def listen_address(settings: RegistrySettings, local_address: str | None) -> tuple[str, int] | None:
    """Say where the own listener binds: on loopback where the store is on this machine, else towards the store."""
    if settings.listen == "auto":
        return (local_address or "127.0.0.1", 0)
    return settings.listen


def advertised_url(settings: RegistrySettings, address: tuple[str, int], local_address: str | None) -> str:
    """Say by which URL others reach a listener.

    Raises:
        UrlUnreachable: it would be loopback, and the store is on another machine.
    """
    host, port = address
    if settings.advertise is not None:
        return settings.advertise.replace("{port}", str(port))
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 - asked for by the user
        host = local_address or ("::1" if host == "::" else "127.0.0.1")
    url = f"{settings.scheme}://[{host}]:{port}/" if ":" in host else f"{settings.scheme}://{host}:{port}/"
    if local_address is not None and (host == "localhost" or host.startswith("127.") or host == "::1"):
        raise UrlUnreachable(url, "it is a loopback address, and the store is on another machine")
    return url


def label(framework: str) -> str:
    """Name this process for people."""
    return f"{framework} {socket.gethostname()}:{os.getpid()} {os.path.basename(sys.argv[0] or 'python')}"[:200]


def _parse_listen(listen: str | None) -> Listen:
    if listen is None:
        return None
    if listen == "auto":
        return "auto"
    host, colon, port = listen.rpartition(":") if isinstance(listen, str) else ("", "", "")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError(f'listen={listen!r} is not "HOST:PORT"; use "auto", "10.0.0.5:8001", "[::1]:0" or None')
    return (host.removeprefix("[").removesuffix("]"), int(port))
