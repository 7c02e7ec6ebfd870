"""The frozen values that pass between jobs, registries and stores."""

from __future__ import annotations

import enum

import msgspec


class Position(msgspec.Struct, frozen=True, gc=False):
    """A place in one key's log: after entry `seq` (0: before the first) of the log's life `epoch`.

    `epoch` is 16 lower-case hexadecimal digits, drawn at random whenever a log is created.
    """

    epoch: str
    seq: int


class Instance(msgspec.Struct, frozen=True, omit_defaults=True):
    """One running web process, as it stands in the store; its key material is kept out of `repr`."""

    instance_id: str
    url: str | None
    """Where jobs POST to; None: pull mode, it fetches by itself."""
    joined_at_ms: int
    """By the instance's own clock, in Unix milliseconds; part of what `mac` covers."""
    max_body_bytes: int = 1_048_576
    signing_key: bytes | None = None
    """The random key of an instance without a secret; None where the key is derived from one."""
    mac: bytes | None = None
    """Under the shared secret, over id, URL and join time; None without a secret."""
    label: str = ""
    """For people: framework, host and process."""
    lease_left_seconds: float | None = None
    """Filled in by the store when it lists instances; never stored."""

    def __repr__(self) -> str:
        return f"Instance(instance_id={self.instance_id!r}, url={self.url!r}, label={self.label!r})"


class Joined(msgspec.Struct, frozen=True):
    """What `Store.join` answers: the ids that this instance displaced, and its first token."""

    displaced: tuple[str, ...]
    token: str


class RenewalState(enum.Enum):
    """What became of a lease."""

    ALIVE = "alive"
    EXPIRED = "expired"
    DISPLACED = "displaced"


class Renewal(msgspec.Struct, frozen=True):
    """What `Store.renew` answers; `moved` and `token` mean something only when alive."""

    state: RenewalState
    moved: dict[str, Position]
    token: str


class Entry(msgspec.Struct, frozen=True):
    """One notification as a key's log keeps it."""

    seq: int
    id: str
    data: bytes
    """The JSON that was sent, untouched."""
    sent_at: float
    keys: tuple[str, ...] = ()
    """All keys of the notification, in order, where it has more than one."""
    nonce: str = ""
    mac: bytes | None = None


class Page(msgspec.Struct, frozen=True):
    """A piece of one log: entries in order, without holes, the first right behind `after` or the floor.

    It may end before `head`, when `limit` or the store cut it short; the next `read` goes on from there.
    """

    epoch: str
    floor: int
    """seq of the last trimmed entry, 0 when none was."""
    head: int
    """seq of the newest entry, 0 when there was none yet."""
    entries: tuple[Entry, ...]


class Publication(msgspec.Struct, frozen=True):
    """One notification on its way into one key's log."""

    key: str
    id: str
    nonce: str
    """Names the call of `notify`: a repeated publication with the same nonce is that call's own retry."""
    data: bytes
    sent_at: float
    keys: tuple[str, ...] = ()
    mac: bytes | None = None
    remember: bool = False
    """The caller chose the id: remember it for `dedupe_seconds`, past its entry's life."""


class Published(msgspec.Struct, frozen=True):
    """What became of one publication.

    `position` is the entry's own: of the new one, or of the one stored under that id before; None when that
    one is no longer kept. `entry` is the stored one if the id was there before and is still kept.
    """

    position: Position | None
    targets: tuple[Instance, ...]
    """The live instances that hold the key, as of after the append."""
    duplicate: bool = False
    """The id was stored before, by a call with another nonce."""
    entry: Entry | None = None


class Hook(msgspec.Struct, frozen=True):
    """The stored fact that a live instance wants a key."""

    key: str
    instance_id: str


class Reaped(msgspec.Struct, frozen=True):
    """How much `Store.reap` removed."""

    instances: int = 0
    hooks: int = 0
    entries: int = 0
    keys: int = 0


class Retention(msgspec.Struct, frozen=True):
    """How long a store keeps notifications; given in its URL by whoever creates it, kept in it."""

    keep: int = 1000
    keep_seconds: float = 300.0
    keep_min_seconds: float = 30.0
    keep_bytes: int = 1_048_576
    dedupe_seconds: float = 3600.0
    dedupe_ids: int = 10_000


class Outcome(enum.Enum):
    """The verdict on what one target was sent."""

    DELIVERED = "delivered"
    """The instance took it over; `Delivery.callbacks` says for how many."""
    NO_LISTENER = "no_listener"
    """It answered, and no callback has the key any more."""
    DEFERRED = "deferred"
    """Not acknowledged in time, or the target pulls; it is in the log and the instance fetches it."""
    GONE = "gone"
    """That incarnation is dead; its hooks were removed."""
    REFUSED = "refused"
    """A fault of configuration, logged; what is in the log is fetched all the same."""
    BLOCKED = "blocked"
    """The URL policy forbids it, or a secret is missing or does not fit: nothing was sent."""
    LOST = "lost"
    """Ephemeral, and not acknowledged."""


class Delivery(msgspec.Struct, frozen=True):
    """What became of a notification on its way to one target."""

    url: str | None
    instance_id: str
    outcome: Outcome
    callbacks: int | None = None
    """How many callbacks got it or will; None where the answer did not say."""
    attempts: int = 0
    elapsed_seconds: float = 0.0
    error: str | None = None


class Receipt(msgspec.Struct, frozen=True):
    """Who was rung by one `notify`, and with what success."""

    id: str
    deliveries: tuple[Delivery, ...] = ()
    duplicate: bool = False
    """The id had been published before: nothing was appended."""

    @property
    def reached(self) -> int:
        """How many callbacks have got it or will, over all targets that said so."""
        return sum(delivery.callbacks or 0 for delivery in self.deliveries)

    @property
    def nobody(self) -> bool:
        """No target, or none that still listens."""
        nobody = (Outcome.NO_LISTENER, Outcome.GONE)
        return all(delivery.outcome in nobody for delivery in self.deliveries)

    @property
    def ok(self) -> bool:
        """No target refused it, was blocked, or lost it."""
        bad = (Outcome.REFUSED, Outcome.BLOCKED, Outcome.LOST)
        return not any(delivery.outcome in bad for delivery in self.deliveries)


class Post(msgspec.Struct, frozen=True):
    """One attempt to deliver: what a runtime sends to an instance's URL."""

    url: str
    headers: tuple[tuple[str, str], ...]
    """All but Host, Content-Length and Connection, which the client adds; names in lower case."""
    body: bytes
    timeout_seconds: float
    """For the whole attempt: name, connection, TLS, request, answer."""
    fresh: bool = False
    """Use a connection of its own, and close it afterwards."""
    own: bool = False
    """The URL is this process's own: the URL policy is not asked (`start()` pings itself)."""


class Fault(enum.Enum):
    """Why an attempt brought no answer."""

    REFUSED = "connection refused"
    RESET = "connection reset"
    TIMEOUT = "timed out"
    DNS = "name not resolved"
    TLS = "certificate not accepted"
    BLOCKED = "forbidden by the URL policy"
    PROTOCOL = "not an HTTP answer"


class Answer(msgspec.Struct, frozen=True):
    """What one attempt brought: a status with its body, or a fault. Never both, never an exception."""

    status: int | None = None
    body: bytes = b""
    date: str | None = None
    """The `Date` header as it came."""
    retry_after: str | None = None
    """The `Retry-After` header as it came."""
    fault: Fault | None = None
    error: str | None = None
    """For people: what the fault was, without credentials or payload."""
