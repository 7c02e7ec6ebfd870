"""Names by the resolver that the reactor has."""

from __future__ import annotations

import socket

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IHostResolution, IResolutionReceiver
from zope.interface import implementer

from .._resolver import Addresses
from ._deferred import inside
from ._reactor import Reactor


async def resolve(reactor: Reactor, host: str) -> Addresses:
    """Return a name's addresses, in the resolver's order, without repeats.

    Raises:
        OSError, UnicodeError: it has none.
    """
    host.encode("idna")  # what can be no name raises here; of it, Twisted's own resolver (26.10) never tells the end
    found = _Addresses()
    reactor.nameResolver.resolveHostName(found, host)
    addresses = await inside(found.complete)
    if not addresses:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return addresses


@implementer(IResolutionReceiver)
class _Addresses:
    """Collects what a name resolves to."""

    def __init__(self) -> None:
        self.complete: Deferred[Addresses] = Deferred()
        self._found: dict[str, None] = {}

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Do nothing: what is late is not waited for."""

    def addressResolved(self, address: IAddress) -> None:
        if isinstance(address, IPv4Address | IPv6Address):
            self._found[address.host] = None

    def resolutionComplete(self) -> None:
        self.complete.callback(list(self._found))
