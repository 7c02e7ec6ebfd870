"""The claim of an instance: joining, renewing, joining again under a new id, giving up a URL that is another's now."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping

from ._identity import Identity
from ._notification import Notification
from ._values import Instance, Position, RenewalState
from .abc import Runtime, Store
from .exceptions import SkyhooksError, UrlShared

log = logging.getLogger("skyhooks")

Tell = Callable[[BaseException, Notification | None], None]


class Lease:
    """Keeps an instance's row alive; whoever beats it calls `renew`."""

    def __init__(
        self, store: Store, runtime: Runtime, identity: Identity, seconds: float, *, tell: Tell, counts: Counter[str]
    ) -> None:
        self.url: str | None = None
        """Where this instance is POSTed to; None: pull mode."""
        self._store = store
        self._runtime = runtime
        self._identity = identity
        self._seconds = seconds
        self._tell = tell
        self._counts = counts
        self._token = ""

    @property
    def instance_id(self) -> str:
        """Whose lease it is; another with each join."""
        return self._identity.instance_id

    def draw(self) -> Instance:
        """Draw the next incarnation: a new id at every join, not every start (PROTOCOL 8)."""
        token = self._runtime.token
        key = bytes.fromhex(token())
        return self._identity.draw(token(), key, self.url, int(self._runtime.time() * 1000))

    async def join(self, instance: Instance) -> None:
        """Join, and only then become that incarnation.

        Raises:
            StoreUnavailable: it did not join, as far as is known.
        """
        joined = await self._runtime.call(self._store.join, instance, self._seconds)
        self._identity.displaces(joined.displaced)
        self._identity.assume(instance)
        self._identity.joined = True
        self._token = joined.token

    async def renew(self) -> Mapping[str, Position] | None:
        """Renew, and return the heads that moved since the last time; None: the lease was gone, and it joined again.

        Raises:
            StoreUnavailable: nothing has changed; the next one reports what this one would have.
        """
        renewal = await self._runtime.call(self._store.renew, self._identity.instance_id, self._seconds, self._token)
        if renewal.state is RenewalState.ALIVE:
            self._token = renewal.token
            return renewal.moved
        if renewal.state is RenewalState.DISPLACED and self.url is not None and await self._is_taken(self.url):
            self._give_up_url(self.url)
        await self.join(self.draw())
        self._counts["joined_again"] += 1
        return None

    async def leave(self) -> None:
        """Leave; where that fails, the lease ends by itself."""
        try:
            await self._runtime.call(self._store.leave, self._identity.instance_id)
        except SkyhooksError as error:
            log.warning("could not leave (%s): the lease ends by itself in %g s", error, self._seconds)
        self._identity.closed = True

    async def _is_taken(self, url: str) -> bool:
        # An own join that raised and took effect all the same has this URL as well, and is no stranger.
        instances = await self._runtime.call(self._store.instances)
        return self._identity.is_taken([one.instance_id for one in instances if one.url == url])

    def _give_up_url(self, url: str) -> None:
        self.url = None
        self._counts["displaced"] += 1
        error = UrlShared(url, "another instance has joined with it; this one goes on in pull mode, without it")
        self._tell(error, None)
