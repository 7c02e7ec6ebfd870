"""The contracts of what others may implement: stores, runtimes, callbacks. The document of record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from ._notification import Gap, Notification
from ._values import (
    Answer,
    Hook,
    Instance,
    Joined,
    Page,
    Position,
    Post,
    Publication,
    Published,
    Reaped,
    Renewal,
)

Callback = Callable[[Notification], Any]
"""Called with each notification. What it returns is the adapter's affair: an awaitable is run, its end not awaited.

Calls start in the order of the key's log. What it raises is logged and told to `on_error`, and stops no other
callback.
"""

GapCallback = Callable[[Gap], Any]
"""Called with each gap, in its place between notifications."""

T = TypeVar("T")
A = TypeVar("A")

STORE_SECONDS = 3.0
"""How long `notify` and `register` may take over the store, queueing included, before `StoreUnavailable`."""


class Store(Protocol):
    """Hooks, logs and leases, in a database that many processes share.

    Blocking, thread-safe, and small. A store is made by its URL and touches nothing until its first operation.
    Each operation is bounded by about 2.5 seconds and raises `StoreUnavailable` (try again later; whether a
    write took effect is unknown, and every write here may be repeated) or `StoreCorrupt` (a person must look).
    Either way nothing is half done *within one key*; with several keys some may be done and others not.

    One record per key holds both its hooks and its log, so that each side of the race is one atomic step:
    either `publish` sees a new hook among its targets, or `add_hooks` answers a head at or behind the
    notification. Time is the store's own clock, never a host's. Keys are canonical (`name=value`, compared as
    exact text); instance ids and notification ids are opaque text. A store never interprets `data`.
    Used after a fork, it opens anew and leaves the parent's connections alone.
    """

    def join(self, instance: Instance, lease_seconds: float) -> Joined:
        """Record an instance under its new id, with a lease from now.

        Rows with the same URL and another id are removed with their hooks, expired ones too, and their ids
        returned; rows without a URL neither displace nor are displaced. The token answers for everything from
        now on: what moves after this is reported by the `renew` that is given it. Repeating it with the same
        id is harmless.
        """

    def renew(self, instance_id: str, lease_seconds: float, token: str) -> Renewal:
        """Extend a lease from now, and say which of the held keys have moved since `token`.

        ALIVE: the row was there, be it past its lease; it is renewed. `moved` has the present head of every
        key with a hook of this id to which something was published, while the hook stood, since the token was
        given out (it may hold more, never less), and the new token takes over from here. DISPLACED: the row is
        gone and another one has its URL (the token says which URL that was). EXPIRED: the row is gone. The cost
        grows with what has moved, not with what is held.
        """

    def add_hooks(self, instance_id: str, keys: Sequence[str], number: int) -> dict[str, Position]:
        """Durably add a hook on each key, and return each log's head as of after that.

        Makes the key's record (a random epoch, seq 0) where there is none. A hook keeps the largest number it
        was ever added with. Looks at no instance row: a hook without a live row is no target, and `reap`
        removes it. A repetition writes nothing where the hook already stands with this number or a larger one.
        """

    def remove_hooks(self, instance_id: str, keys: Sequence[str], number: int) -> None:
        """Remove this id's hooks on these keys, where they were added with a smaller number than this one.

        So a remove that is carried out late takes away neither a newer add nor another incarnation's hook.
        """

    def leave(self, instance_id: str) -> None:
        """Remove the row and all hooks of exactly that id; an unknown id is no error."""

    def positions(self, keys: Sequence[str]) -> dict[str, Position]:
        """Return the head of each key's log, making the record where there is none."""

    def targets(self, keys: Sequence[str]) -> dict[str, tuple[Instance, ...]]:
        """Return, for every key given, the instances with a hook on it whose lease runs."""

    def instances(self) -> list[Instance]:
        """Return all instances whose lease runs, oldest first, `lease_left_seconds` filled in."""

    def hooks(self, keys: Sequence[str] | None = None) -> Iterator[Hook]:
        """Yield the hooks of live instances by key and instance id: on these keys, or page by page on all."""

    def read(self, key: str, after: Position | None, limit: int) -> Page | None:
        """Return what a key's log has behind `after`, at most `limit` entries, in order and without holes.

        None for `after` is the start: everything kept. A position of another epoch, or one that lies before the
        floor, reads from the floor; one past the head brings no entries. Epoch, floor and head are always
        those of the log as it is, in the same snapshot as the entries. At least one entry is returned where
        there is one to return. None: the store has no record of that key.
        """

    def publish(self, publications: Sequence[Publication]) -> list[Published]:
        """Durably append, in the order given, and say for each its position and the live targets after that.

        Each key's `seq` grows by one per entry, without holes; a log is created with a random epoch. An id that
        the key's log keeps, or that it was told to `remember` within `dedupe_seconds` (the last
        `dedupe_ids` of them), is not appended again: the stored entry is returned where it is still kept, and
        `duplicate` says whether its nonce differs. The same holds between the publications of one call.
        Trims what the retention no longer keeps from the logs it appends to: a prefix, by the store's own time
        of append; entries younger than `keep_min_seconds` go only past `keep_bytes` (which counts all that was
        given with them), and the newest entry always stays.
        """

    def reap(self) -> Reaped:
        """Remove what has expired, and count it. Safe to run anywhere, by many at once.

        Instances past their lease (the row first, and only if it still is; then the hooks of exactly that id);
        hooks older than a minute without a row; entries past the retention; forgotten ids; keys without hook and
        entry that nobody has touched for the longest of 1 h, `keep_seconds` and `dedupe_seconds`.
        """

    def renew_epochs(self) -> int:
        """Give every log a new epoch, as a restored backup needs; return how many. seqs and entries stay."""

    def close(self) -> None:
        """End threads and connections; twice is fine. Using the store afterwards opens it again."""

    def local_address(self) -> str | None:
        """Return this machine's address towards the store, or None where the store is on this machine."""


class Future(Protocol[T]):
    """A value that arrives once. In blocking worlds it may be set from another thread."""

    def set(self, value: T) -> None:
        """Let the value arrive; a second time changes nothing."""

    async def wait(self, timeout_seconds: float | None) -> bool:
        """Wait until the value is there; False when the time ran out first."""

    @property
    def value(self) -> T:
        """The value; an error before it has arrived."""


class Task(Protocol):
    """Something that runs beside its maker."""

    def cancel(self) -> object:
        """Stop it at its next await; where a thread runs it, let it end by itself."""


class Runtime(Protocol):
    """What the core needs of a framework. Every method that is awaited is a switching point, or simply blocks."""

    def now(self) -> float:
        """Monotonic seconds."""

    def time(self) -> float:
        """Unix seconds by this host's clock."""

    def random(self) -> float:
        """Draw a number from 0 up to 1, for jitter."""

    def token(self) -> str:
        """Draw 32 hexadecimal digits that nobody can guess."""

    async def call(self, function: Callable[..., T], /, *args: object) -> T:
        """Run a store's blocking operation without blocking the loop.

        Raises:
            StoreUnavailable: also when it takes longer than `STORE_SECONDS`; it may still take effect.

        """

    async def post(self, post: Post) -> Answer:
        """Make one attempt. Whatever happens on the network is a value, never an exception."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> Task:
        """Run a coroutine beside this one; what it raises is logged."""

    def future(self) -> Future[Any]:
        """Make a future of this world."""

    async def fan_out(self, function: Callable[[A], Awaitable[None]], items: Sequence[A]) -> None:
        """Run the function on all items at once and wait for all; the function never raises."""
