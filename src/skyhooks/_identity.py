"""Who this process is to the others: its present incarnation, those it was before, and those it displaced."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ._signing import Key, instance_key, row_mac
from ._values import Instance
from .exceptions import BodyRejected

RETRY_AFTER_SECONDS = 1


class Identity:
    """The instance ids that this process answers to, and the keys that go with the present one (PROTOCOL 8, 20)."""

    def __init__(self, secrets: Sequence[bytes], *, max_body_bytes: int, label: str) -> None:
        self.secrets = tuple(secrets)
        self.legacy_keys = tuple(Key(secret) for secret in secrets)
        self.joined = False
        self.closed = False
        self.instance = Instance("", None, 0)
        self.keys: tuple[Key, ...] = ()
        self._max_body_bytes = max_body_bytes
        self._label = label
        self._gone: set[str] = set()
        self._drawn: set[str] = set()
        self._next: str | None = None

    @property
    def instance_id(self) -> str:
        """The present id, drawn anew at every join; empty before the first."""
        return self.instance.instance_id

    def draw(self, instance_id: str, key: bytes, url: str | None, joined_at_ms: int) -> Instance:
        """Make the next incarnation; it becomes the present one with `assume`. `key` signs where there is no secret."""
        if self._next is not None:
            self._gone.add(self._next)
        self._next = instance_id
        self._drawn.add(instance_id)
        return Instance(
            instance_id=instance_id,
            url=url,
            joined_at_ms=joined_at_ms,
            max_body_bytes=self._max_body_bytes,
            signing_key=None if self.secrets else key,
            mac=row_mac(self.secrets[0], instance_id, url, joined_at_ms) if self.secrets else None,
            label=self._label,
        )

    def assume(self, instance: Instance) -> None:
        """Become this incarnation; the one before is gone."""
        if self.instance_id and self.instance_id != instance.instance_id:
            self._gone.add(self.instance_id)
        self._next = None
        self.instance = instance
        keys = [instance_key(secret, instance.instance_id) for secret in self.secrets]
        if instance.signing_key is not None:
            keys.append(instance.signing_key)
        self.keys = tuple(Key(key) for key in keys)

    def displaces(self, instance_ids: Iterable[str]) -> None:
        """Remember whose place this instance has taken: their mail is answered 410."""
        self._gone.update(instance_ids)

    def is_taken(self, holders: Sequence[str]) -> bool:
        """Tell, of the live instances that have this one's URL, whether another process is among them.

        A join that was given up may take effect after all: such an id is this process's own. Where nobody is live, it is
        that if there was such a join.
        """
        return any(one not in self._drawn for one in holders) if holders else self._next is None

    def admit(self, audience: str, *, ping: bool = False) -> None:
        """Judge whom a request is meant for.

        Raises:
            BodyRejected: 410 for one that is dead for good, 421 for a stranger, 503 while it is not known which.
        """
        if self.closed:
            raise BodyRejected(503, "draining")
        if audience == self.instance_id:
            if not self.joined and not ping:
                raise BodyRejected(503, "draining")
        elif audience in self._gone:
            raise BodyRejected(410, "gone", instance=audience)
        elif not self.joined or audience == self._next:
            raise BodyRejected(503, "draining")
        else:
            raise BodyRejected(421, "not_this_instance")
