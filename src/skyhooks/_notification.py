"""What callbacks and streams are given: a notification, or the news of a gap."""

from __future__ import annotations

from ._cursor import encode_cursor
from ._json import decode_data
from ._values import Position


class Notification:
    """One message as a callback gets it; shared between callbacks, so treat it and its `data` as read-only.

    `id`, `key` (`"account=42"`), `raw` (the JSON bytes of the data, to forward untouched), `sent_at` (Unix
    seconds by the sender's clock), `replayed` (it was in the log before the registration was made), `data`
    (decoded on first use; raises `InvalidData` where Python cannot hold it), and `cursor` (where this
    registration is after it; hand it to the client, and to `since=` when it comes back).
    """

    __slots__ = (
        "_positions",
        "as_event",
        "cursor",
        "data",
        "epoch",
        "id",
        "key",
        "keys",
        "raw",
        "replayed",
        "sent_at",
        "seq",
    )

    id: str
    key: str
    keys: tuple[str, ...]
    raw: bytes
    sent_at: float
    replayed: bool
    epoch: str
    seq: int
    data: object
    cursor: str

    def __init__(
        self,
        id: str,
        key: str,
        keys: tuple[str, ...],
        raw: bytes,
        sent_at: float,
        epoch: str = "",
        seq: int = 0,
        replayed: bool = False,
        positions: tuple[tuple[str, str, int], ...] | None = None,
    ) -> None:
        self.id = id
        self.key = key
        self.keys = keys
        self.raw = raw
        self.sent_at = sent_at
        self.epoch = epoch
        self.seq = seq
        self.replayed = replayed
        self.as_event: tuple[object, bytes] | None = None
        """What named it as an event, and the event: all clients of a bridge that get this very notification get the same."""
        self._positions = positions

    def variant(self, replayed: bool, positions: tuple[tuple[str, str, int], ...] | None) -> Notification:
        """Return the same notification as another registration gets it."""
        return Notification(
            self.id, self.key, self.keys, self.raw, self.sent_at, self.epoch, self.seq, replayed, positions
        )

    def __getattr__(self, name: str) -> object:
        # Reached only while the slot is empty: a property would cost every later read as well.
        if name == "data":
            self.data = value = decode_data(self.raw)
            return value
        if name == "cursor":
            self.cursor = text = encode_cursor(
                ((self.key, self.epoch, self.seq),) if self._positions is None else self._positions
            )
            return text
        raise AttributeError(name)

    def __repr__(self) -> str:
        return f"Notification(id={self.id!r}, key={self.key!r}, {len(self.raw)} bytes)"


class Gap:
    """Part of a key's log could not be handed over; what follows goes on behind it.

    `reason` is `"trimmed"` (the log no longer keeps what was missed) or `"restarted"` (the log itself is a new
    one); `cursor` lies behind the gap, so that resuming from it does not tell it again.
    """

    __slots__ = ("_positions", "before", "key", "reason")

    def __init__(self, key: str, reason: str, positions: tuple[tuple[str, str, int], ...], before: Position) -> None:
        self.key = key
        self.reason = reason
        self.before = before
        self._positions = positions

    @property
    def cursor(self) -> str:
        """Where the registration is behind the gap."""
        return encode_cursor(self._positions)

    def __repr__(self) -> str:
        return f"Gap(key={self.key!r}, reason={self.reason!r})"
