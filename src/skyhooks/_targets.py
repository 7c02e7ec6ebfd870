"""The ways to all targets: who waits for a key, whether his row can be trusted, and the lane that leads to him."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from threading import Lock

from ._delivery import Names, TargetLane
from ._sending import Parcel
from ._signing import Key, instance_key, row_mac, verify_mac
from ._values import Instance, Outcome
from .abc import Runtime, Store
from .exceptions import SkyhooksError

log = logging.getLogger("skyhooks")

KNOWN_SECONDS = 1.0
"""How long an ephemeral notification may go by targets that were looked up before."""
MAX_KNOWN_KEYS = 10_000
MAX_LANES = 4096


class Targets:
    """Remembers for a second who waits, for ephemeral notifications; keeps a lane for each target."""

    def __init__(self, store: Store, runtime: Runtime, secrets: Sequence[bytes], names: Names) -> None:
        self._store = store
        self._runtime = runtime
        self._secrets = secrets
        self._names = names
        self._lock = Lock()
        self._lanes: dict[str, TargetLane] = {}
        self._known: dict[str, tuple[float, tuple[Instance, ...]]] = {}

    # -- who waits --------------------------------------------------------------------------------

    def knows(self, keys: Sequence[str]) -> bool:
        """Tell whether all these keys were looked up within the last second."""
        now = self._runtime.now()
        return all((known := self._known.get(key)) is not None and known[0] > now for key in keys)

    def known(self, key: str) -> tuple[Instance, ...]:
        """Return who waited for a key when it was looked up last."""
        known = self._known.get(key)
        return () if known is None else known[1]

    async def look_up(self, keys: Sequence[str]) -> None:
        """Ask the store who waits for these keys, as far as that is not known.

        Raises:
            StoreUnavailable: within 3 s.
        """
        if len(self._known) + len(keys) > MAX_KNOWN_KEYS:
            self._known.clear()
        unknown = [key for key in keys if not self.knows((key,))]
        if not unknown:
            return
        found = await self._runtime.call(self._store.targets, unknown)
        until = self._runtime.now() + KNOWN_SECONDS
        for key, targets in found.items():
            self._known[key] = (until, targets)

    # -- how to get there -------------------------------------------------------------------------

    def way(self, parcel: Parcel) -> TargetLane | None:
        """Return the lane to a parcel's target; None where the verdict is clear already, which the parcel then bears."""
        target = parcel.target
        if target.url is None:
            parcel.decide(parcel.overdue_outcome, "it fetches by itself")
            return None
        lane = self._lanes.get(target.instance_id)
        if lane is not None and (lane.target is target or lane.target == target):
            return lane
        key, problem = self._key_for(target)
        if key is None:
            log.warning("%s is not called: %s", target.instance_id, problem)
            parcel.decide(Outcome.BLOCKED, problem)
            return None
        return self._open_lane(target, key)

    def _open_lane(self, target: Instance, key: Key) -> TargetLane:
        lane = TargetLane(self._runtime, target, key, self._names, self._bury)
        with self._lock:
            if len(self._lanes) >= MAX_LANES:
                self._lanes = {name: one for name, one in self._lanes.items() if not one.lane.idle}
            standing = self._lanes.get(target.instance_id)
            if standing is not None and standing.target == target:
                return standing
            self._lanes[target.instance_id] = lane
        return lane

    def _key_for(self, target: Instance) -> tuple[Key | None, str]:
        for secret in self._secrets:
            # While a secret is being replaced, the one that the instance has signed its row with is one that it has.
            if verify_mac((row_mac(secret, target.instance_id, target.url, target.joined_at_ms),), target.mac):
                return Key(instance_key(secret, target.instance_id)), ""
        if self._secrets:
            return None, "its row was not written by a holder of this secret"
        if target.signing_key is None:
            return None, "it asks for a secret that this notifier does not have; give it the same secret="
        return Key(target.signing_key), ""

    async def _bury(self, instance_id: str) -> None:
        with self._lock:
            self._lanes.pop(instance_id, None)
        try:
            await self._runtime.call(self._store.leave, instance_id)
        except SkyhooksError as error:
            log.warning("the hooks of %s, which is gone, stay until its lease ends: %s", instance_id, error)
