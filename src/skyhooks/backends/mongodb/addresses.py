"""By which address this machine reaches the servers."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import ip_address


def address_towards(nodes: Iterable[tuple[str, int | None]]) -> str | None:
    """Return this machine's address towards the first server elsewhere; None where all are on loopback.

    Nothing is sent: a datagram socket that is connected only asks the routing table.
    """
    for host, port in nodes:
        address = None if port is None else _own_address(host, port)
        if address is not None and not ip_address(address.partition("%")[0]).is_loopback:
            return address
    return None


def _own_address(host: str, port: int) -> str | None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except OSError:
        return None
    for family, kind, protocol, _, peer in found:
        with socket.socket(family, kind, protocol) as probe:
            try:
                probe.connect(peer)
            except OSError:
                continue  # no route by this family
            address: str = probe.getsockname()[0]
            return address
    return None
