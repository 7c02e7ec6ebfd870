"""URLs of instances: read strictly, shown without secrets, and which addresses may be called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import msgspec

from .exceptions import UrlBlocked

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NEVER = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # unspecified: Linux takes it for loopback
        "169.254.0.0/16",  # link-local, with the metadata service of most clouds
        "100.100.100.200/32",  # metadata, Alibaba
        "168.63.129.16/32",  # metadata, Azure
        "192.0.0.192/32",  # metadata, Oracle
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, with broadcast
        "::/128",
        "fe80::/10",
        "fec0::/10",  # site-local, withdrawn by RFC 3879
        "fd00:ec2::/32",  # metadata, Amazon
        "fd20:ce::/32",  # metadata, Google
        "fd00:c1::/32",  # metadata, Oracle
        "ff00::/8",
    )
)
_PRIVATE = tuple(
    ip_network(text)
    for text in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",  # shared (RFC 6598): no public address, and what several clouds number their pods with
        "::1/128",
        "fc00::/7",
    )
)
_MAPPED = IPv6Network("::ffff:0:0/96")
_EMBEDDED_LAST = tuple(
    IPv6Network(text)
    for text in (
        "::/96",  # IPv4-compatible
        "::ffff:0:0:0/96",  # IPv4-translated (RFC 2765)
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64, local use
    )
)
_SIX_TO_FOUR = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


class Endpoint(msgspec.Struct, frozen=True):
    """Where a URL leads: whom to connect to, and what to ask for there."""

    scheme: str
    host: str
    """A name or an address, in lower case, IPv6 without brackets."""
    port: int
    target: str
    """Path and query, as they came."""
    host_header: str

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme == "https"


_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://"
    r"(?:(?P<user>[^/?#]*)@)?"
    r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)"
    r"(?::(?P<port>[0-9]{0,5}))?"
    r"(?P<target>(?:[/?][^#]*)?)"
    r"(?P<fragment>#.*)?",
    re.IGNORECASE,
)
_PORTS = {"http": 80, "https": 443}


@lru_cache(maxsize=1024)
def parse_url(url: str) -> Endpoint:
    """Read the URL of an instance.

    Raises:
        ValueError: with what is wrong, what would be right, and no secret of the URL.

    """
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(
            "a URL is printable ASCII without spaces; write a foreign host name as xn--… and escape the rest with %"
        )
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError(f"{shown_url(url)} is no URL; write http://HOST:PORT/PATH")
    scheme, host = found["scheme"].lower(), found["host"].lower()
    if scheme not in _PORTS:
        raise ValueError(f"{scheme} is not spoken here; use http:// or https://")
    if found["user"] is not None:
        raise ValueError(f"take the user and password out of {shown_url(url)}; bodies are signed instead")
    if found["fragment"] is not None:
        raise ValueError(f"take the part behind # out of {shown_url(url)}; it is never sent")
    port = int(found["port"] or _PORTS[scheme])
    if not 0 < port < 65536:
        raise ValueError(f"{port} is no port; use 1 to 65535")
    return Endpoint(scheme, _host(host), port, _target(found["target"]), _host_header(host, port, scheme))


def shown_url(url: str) -> str:
    """Return a URL for logs and messages: on one line, without user, password, query and fragment."""
    plain = re.sub(r"[?#].*", "", url, flags=re.DOTALL)
    plain = re.sub(r"^([a-zA-Z][a-zA-Z0-9+.-]*:)?(//)?[^/]*@", r"\1\2", plain)
    shown = plain.encode("ascii", "backslashreplace").decode()
    shown = "".join(character if character.isprintable() else "?" for character in shown)
    return shown if len(shown) <= 200 else f"{shown[:199]}…"


def literal_address(host: str) -> str | None:
    """Return the address that a host is written as, or None where it is a name and must be resolved."""
    try:
        return str(ip_address(host))
    except ValueError:
        return None


class UrlPolicy:
    """Which addresses may be called: loopback and private ones, and what is allowed beyond.

    `allow` names networks (`"203.0.113.0/24"`) or hosts (`"hooks.example.com"`). Unspecified, multicast, broadcast,
    link-local and cloud metadata addresses are never called, whatever is allowed, and however they are written:
    it is the address that is judged, not the text. An IPv4 address inside a translated IPv6 one (NAT64, 6to4,
    Teredo, ISATAP, IPv4-compatible) counts as well; such a one is called only where both are public and may be,
    or where its network is allowed.
    """

    def __init__(self, allow_public: bool = False, allow: Sequence[str] = ()) -> None:
        self._allow_public = allow_public
        self._networks: list[Network] = []
        self._hosts: set[str] = set()
        for entry in (allow,) if isinstance(allow, str) else allow:
            self._allow(entry)

    def permits(self, host: str, address: str) -> bool:
        """Tell whether this address, which the host is or resolved to, may be connected to."""
        try:
            judged = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        judged = _plain(judged)
        inner = _embedded(judged)
        if _within(_NEVER, judged) or any(_within(_NEVER, one) for one in inner):
            return False
        if _name(host) in self._hosts or _within(self._networks, judged):
            return True
        if any(_within(_PRIVATE, one) for one in inner):
            return False
        return self._allow_public or (not inner and _within(_PRIVATE, judged))

    def select(self, host: str, addresses: Sequence[str]) -> list[str]:
        """Return those of a host's addresses that may be connected to, in order.

        Raises:
            UrlBlocked: none may.

        """
        permitted = [address for address in addresses if self.permits(host, address)]
        if not permitted:
            raise UrlBlocked(host, f"{', '.join(addresses[:3])} is forbidden by the URL policy")
        return permitted

    def check_url(self, url: str) -> Endpoint:
        """Read a URL, and judge its host where that is an address already.

        Raises:
            ValueError: it is no URL of an instance.
            UrlBlocked: its address may not be called.

        """
        endpoint = parse_url(url)
        address = literal_address(endpoint.host)
        if address is not None and not self.permits(endpoint.host, address):
            raise UrlBlocked(shown_url(url), f"{address} is forbidden by the URL policy")
        return endpoint

    def _allow(self, entry: str) -> None:
        try:
            self._networks.append(ip_network(entry))
        except ValueError as problem:
            if not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?", entry, re.IGNORECASE) or _numeric(entry):
                raise ValueError(
                    f"{entry!r} is neither a network ({problem}) nor a host name; write 203.0.113.0/24 or hooks.example.com"
                ) from None
            self._hosts.add(_name(entry))

    def __repr__(self) -> str:
        allow = sorted(self._hosts) + [str(network) for network in self._networks]
        return f"UrlPolicy(allow_public={self._allow_public}, allow={allow})"


def _name(host: str) -> str:
    return host.lower().removesuffix(".")


def _numeric(entry: str) -> bool:
    return entry.rstrip(".").rpartition(".")[2].isdigit()


def _within(networks: Sequence[Network], address: Address) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _plain(address: Address) -> Address:
    """Return the IPv4 address that a mapped one is: the system connects to it by IPv4."""
    if isinstance(address, IPv6Address) and address in _MAPPED:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _embedded(address: Address) -> tuple[IPv4Address, ...]:
    """Return the IPv4 addresses to which a gateway on the way would pass on what is sent to an IPv6 address."""
    if isinstance(address, IPv4Address):
        return ()
    number = int(address)
    last = IPv4Address(number & 0xFFFF_FFFF)
    if address in _SIX_TO_FOUR:
        return (IPv4Address(number >> 80 & 0xFFFF_FFFF),)
    if address in _TEREDO:
        return IPv4Address(number >> 64 & 0xFFFF_FFFF), IPv4Address(~number & 0xFFFF_FFFF)
    if number >> 32 & 0xFFFF_FFFF in _ISATAP:
        return (last,)
    if number > 1 and any(address in network for network in _EMBEDDED_LAST):
        return (last,)
    return ()


def _host(host: str) -> str:
    if not host.startswith("["):
        return host
    try:
        return str(IPv6Address(host[1:-1]))
    except ValueError:
        raise ValueError(f"{host} is no IPv6 address") from None


def _host_header(host: str, port: int, scheme: str) -> str:
    return host if port == _PORTS[scheme] else f"{host}:{port}"


def _target(text: str) -> str:
    return text if text.startswith("/") else f"/{text}"
