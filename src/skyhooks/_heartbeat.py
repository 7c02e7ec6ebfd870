"""An instance's heartbeat: its lease, a slice of its hooks, what its tracks are owed, and the reaping. Names no loop."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from ._callbacks import Callbacks
from ._fetcher import Fetcher
from ._hooks import Hooks
from ._lease import Lease, Tell
from ._policy import heartbeat_delay
from .abc import Runtime, Store
from .exceptions import StoreCorrupt, StoreUnavailable

log = logging.getLogger("skyhooks")

POLL_SECONDS = 1.0
"""How often an instance without a URL asks for what it missed."""
BEATS_PER_ROUND = 360
MIN_SLICE, MAX_SLICE = 100, 1000


class Heartbeat:
    """Beats until it is cancelled; whatever fails is made up for by the next beat."""

    def __init__(
        self,
        runtime: Runtime,
        store: Store,
        lease: Lease,
        hooks: Hooks,
        fetcher: Fetcher,
        callbacks: Callbacks,
        *,
        heartbeat_seconds: float,
        lease_seconds: float,
        counts: Counter[str],
        tell: Tell,
    ) -> None:
        self.beating = False
        """Whether a beat is under way; there are never two."""
        self._runtime = runtime
        self._store = store
        self._lease = lease
        self._hooks = hooks
        self._fetcher = fetcher
        self._callbacks = callbacks
        self._heartbeat_seconds = heartbeat_seconds
        self._lease_seconds = lease_seconds
        self._counts = counts
        self._tell = tell
        self._beats = 0
        self._store_is_away = False

    async def beat_for_ever(self) -> None:
        """Beat at the pace of the instance, and reap once in a lease."""
        while True:
            await self._runtime.sleep(heartbeat_delay(self._interval(), self._runtime.random()))
            await self._try(self.beat())
            if self._beats % max(1, round(self._lease_seconds / self._interval())) == 0:
                await self._try(self.reap())

    async def beat(self) -> None:
        """Renew the lease, join again where it is gone, and see to everything that is owed.

        Raises:
            StoreUnavailable: nothing is lost by it, the next one does it all.
        """
        if self.beating:
            return
        self.beating = True
        try:
            await self._renew()
            self._beats += 1
            await self._look_at_slice()
            await self._hooks.settle()
            self._fetcher.attend_all()
        finally:
            self.beating = False

    async def reap(self) -> None:
        """Remove from the store what has expired.

        Raises:
            StoreUnavailable: somebody else will.
        """
        await self._runtime.call(self._store.reap)

    async def _renew(self) -> None:
        moved = await self._lease.renew()
        if moved is not None:
            self._fetcher.note(moved)
            return
        self._hooks.instance_id = self._lease.instance_id
        self._hooks.doubt(track.key for track in self._callbacks)
        log.warning(
            "the lease had ended; joined again as %s with %d keys", self._lease.instance_id, len(self._callbacks)
        )

    async def _look_at_slice(self) -> None:
        if self._lease.url is None and self._beats % 10:
            return
        count = min(MAX_SLICE, max(MIN_SLICE, len(self._callbacks) // BEATS_PER_ROUND))
        keys = self._callbacks.rotate(count)
        if keys:
            await self._hooks.refresh(keys)

    async def _try(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (StoreUnavailable, StoreCorrupt) as error:
            self._counts["store_unavailable"] += 1
            if not self._store_is_away:
                log.warning("the store is away (%s); registered callbacks go on being served", error)
            self._store_is_away = True
        except Exception as error:
            log.exception("the heartbeat failed")
            self._tell(error, None)
        else:
            if self._store_is_away:
                log.warning("the store is back")
            self._store_is_away = False

    def _interval(self) -> float:
        return self._heartbeat_seconds if self._lease.url is not None else min(POLL_SECONDS, self._heartbeat_seconds)
