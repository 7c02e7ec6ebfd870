"""The core of a registry: an instance's life, its registrations, its heartbeat. Names no loop and no framework."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ._callbacks import Callbacks
from ._cursor import decode_cursor, encode_cursor, key_hash
from ._fetcher import Fetcher
from ._heartbeat import Heartbeat
from ._hooks import Hooks
from ._http import Response
from ._identity import Identity
from ._inbox import Headers, Inbox
from ._keys import canonical_keys
from ._lease import Lease, Tell
from ._notification import Notification
from ._ping import prove_url
from ._registration import START, Registration
from ._signing import bears_mac
from ._stream import Stream
from ._track import Event, Outbox, Track
from ._values import Entry, Page, Position
from .abc import Callback, GapCallback, Runtime, Store, Task
from .exceptions import ForkedRegistry, NotStarted, SkyhooksError, UnverifiedEntry

__all__ = ["Event", "RegistryCore"]

log = logging.getLogger("skyhooks")


class Outlet(Protocol):
    """Where a registry's calls go: an outbox, and somebody who empties it."""

    @property
    def outbox(self) -> Outbox:
        """Where tracks put what is to be called."""

    def dispatch(self) -> None:
        """Start the calls that are due."""

    def afterwards(self, work: Callable[[], None]) -> None:
        """Do this as soon as no call is under way."""

    async def emptied(self, seconds: float) -> None:
        """Wait until every call that is due has started, but no longer than this."""


class RegistryCore:
    """One instance: joins, keeps hooks and tracks, renews its lease, catches up, leaves.

    An adapter gives it a runtime, an outlet that calls callbacks, and `tell` for what the application should hear of; it
    hands it what its listener or handler was POSTed (`receive`), and calls `dispatch` after the answer is on its way.
    """

    def __init__(
        self,
        store: Store,
        runtime: Runtime,
        outlet: Outlet,
        *,
        secrets: Sequence[bytes] = (),
        lease_seconds: float = 30.0,
        heartbeat_seconds: float = 10.0,
        max_body_bytes: int = 1_048_576,
        allow_unsigned: bool = False,
        legacy: bool = True,
        label: str = "",
        tell: Tell,
        counts: Counter[str] | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter() if counts is None else counts
        self.dispatch = outlet.dispatch
        self._outlet = outlet
        self._afterwards = outlet.afterwards
        self._store = store
        self._runtime = runtime
        self._tell = tell
        self._tasks: list[Task] = []
        self._streams: dict[int, Stream] = {}
        self._state = "new"
        self._pid = os.getpid()
        self._identity = Identity(secrets, max_body_bytes=max_body_bytes, label=label)
        self._lease = Lease(store, runtime, self._identity, lease_seconds, tell=tell, counts=self.counts)
        self._callbacks = Callbacks(outlet.outbox)
        self._hooks = Hooks(runtime, store, self._callbacks, self._heads_seen)
        self._fetcher = Fetcher(
            runtime,
            store,
            self._callbacks,
            convert=self._convert,
            vanished=lambda key: self._hooks.doubt((key,)),
            dispatch=self.dispatch,
        )
        self._attend = self._fetcher.attend
        self._heartbeat = Heartbeat(
            runtime,
            store,
            self._lease,
            self._hooks,
            self._fetcher,
            self._callbacks,
            heartbeat_seconds=heartbeat_seconds,
            lease_seconds=lease_seconds,
            counts=self.counts,
            tell=tell,
        )
        self._inbox = Inbox(
            runtime,
            self._identity,
            self._callbacks,
            counts=self.counts,
            attend=self._fetcher.attend,
            unwanted=lambda key: self._hooks.doubt((key,)),
            allow_unsigned=allow_unsigned,
            legacy=legacy,
        )

    @property
    def instance_id(self) -> str:
        """Who this instance is; new at every join."""
        return self._identity.instance_id

    @property
    def url(self) -> str | None:
        """Where this instance is POSTed to; None in pull mode."""
        return self._lease.url

    @property
    def running(self) -> bool:
        """Whether `start` has returned and `stop` has not begun."""
        return self._state == "running"

    @property
    def store_answers(self) -> int:
        """How often the store has confirmed hooks so far: while this grows it is not away, however long one waits."""
        return self._hooks.answers

    def check_process(self) -> None:
        """Make sure that this is not a forked child.

        Raises:
            ForkedRegistry: nothing of the parent's was touched.
        """
        if os.getpid() != self._pid:
            raise ForkedRegistry

    # -- life -------------------------------------------------------------------------------------

    async def start(self, url: str | None) -> None:
        """Prove that the URL reaches this very instance, join, and begin to beat (PROTOCOL 25).

        Raises:
            UrlUnreachable: it does not, or not always.
            UrlShared: it reaches another instance too.
            StoreUnavailable: nothing was joined.
        """
        self.check_process()
        self._lease.url = url
        self._identity.assume(self._lease.draw())
        if url is not None:
            await prove_url(self._runtime, url, self._identity)
        await self._join()
        self._hooks.instance_id = self.instance_id
        self._state = "running"
        self._tasks.append(self._runtime.spawn(self._heartbeat.beat_for_ever()))

    async def _join(self) -> None:
        try:
            await self._lease.join(self._identity.instance)
        except SkyhooksError:
            raise  # of what took effect all the same, the lease ends by itself
        except BaseException:
            await self._lease.leave()  # cancelled: what the store does by now cannot be called back
            raise

    async def stop(self, drain_seconds: float = 10.0) -> None:
        """Refuse new registrations, end the streams within `drain_seconds`, leave, answer 503 from then on (PROTOCOL 27).

        Cancelled, it still leaves.
        """
        if self._state != "running":
            self._state = "stopped"
            return
        self.check_process()
        self._state = "stopping"
        until = self._runtime.now() + drain_seconds
        try:
            await self._drain_streams(drain_seconds)
        finally:
            self._state = "stopped"
            for task in self._tasks:
                task.cancel()
            await self._lease.leave()
            await self._outlet.emptied(until - self._runtime.now())  # what was answered is called
            self._callbacks.close()

    # -- registrations ----------------------------------------------------------------------------

    async def register(
        self,
        keys: Mapping[str, object],
        callback: Callback,
        *,
        since: str | None = None,
        on_gap: GapCallback | None = None,
    ) -> Registration:
        """Bind a callback to keys; returns when the store has confirmed it, replay goes on behind that.

        Raises:
            InvalidKey, InvalidCursor: before anything is touched.
            StoreUnavailable: within 3 s; nothing is registered then.
        """
        names = canonical_keys(keys)
        starts = _starts(names, since)
        if not callable(callback) or not (on_gap is None or callable(on_gap)):
            raise TypeError(
                "callback= and on_gap= take functions; give the function itself, not what a call of it returns"
            )
        self._check_running()
        registration = Registration(names, callback, on_gap)
        await self._seat(registration, starts)
        return registration

    async def unregister(self, registration: Registration) -> None:
        """End a registration: no call starts after this was called. Twice is fine; never raises `StoreUnavailable`."""
        self.check_process()
        if not isinstance(registration, Registration):
            raise TypeError(f"unregister() takes what register() returned, not {type(registration).__name__}")
        if registration.closed:
            return
        if not self._callbacks.holds(registration):
            raise ValueError("this registration was made by another registry; give it back there")
        unwanted = self._callbacks.discard(registration)
        if unwanted and self._state != "stopped":
            await self._hooks.remove(unwanted)

    async def open_stream(
        self, keys: Mapping[str, object], *, since: str | None, max_pending: int, latest: bool = False
    ) -> Stream:
        """Register a stream; close it with `close_stream`."""
        stream = Stream(max_pending, self._attend, self._afterwards, latest=latest)
        names = canonical_keys(keys)
        starts = _starts(names, since)
        self._check_running()
        push = stream.push
        stream.registration = registration = Registration(names, push, push)
        self._streams[id(stream)] = stream
        try:
            await self._seat(registration, starts)
        except BaseException:
            self._streams.pop(id(stream), None)
            raise
        return stream

    async def close_stream(self, stream: Stream) -> None:
        """End a stream and its registration; twice is fine."""
        stream.end()
        self._streams.pop(id(stream), None)
        if stream.registration is not None:
            await self.unregister(stream.registration)

    async def cursor(self, keys: Mapping[str, object]) -> str:
        """Return where the logs of these keys are now; take it before the job is started.

        Raises:
            StoreUnavailable: within 3 s.
        """
        names = canonical_keys(keys)
        self._check_running()
        heads = await self._runtime.call(self._store.positions, names)
        return encode_cursor((key, heads[key].epoch, heads[key].seq) for key in names)

    # -- what comes in ----------------------------------------------------------------------------

    def receive(self, headers: Headers, body: bytes) -> Response:
        """Answer what was POSTed; call `dispatch` once the answer is on its way.

        Raises:
            ForkedRegistry: this process inherited the registry.
        """
        self.check_process()
        return self._inbox.receive(headers, body)

    # -- inside -----------------------------------------------------------------------------------

    def _check_running(self) -> None:
        self.check_process()
        if self._state == "new":
            raise NotStarted("this registry has not been started", "call start() first")
        if self._state != "running":
            raise NotStarted("this registry has been stopped", "make and start a new one")

    async def _seat(self, registration: Registration, starts: Mapping[str, Position | None]) -> None:
        self._callbacks.add(registration)
        try:
            await self._hooks.add(registration, starts)
        except BaseException:
            self._hooks.doubt(self._callbacks.discard(registration))
            raise

    def _heads_seen(self, heads: Mapping[str, Position]) -> None:
        self._fetcher.note(heads)
        self.dispatch()

    def _convert(self, track: Track, page: Page, entry: Entry) -> Notification | None:
        if not bears_mac(self._identity.secrets, track.key, entry):
            self.counts["unverified"] += 1
            self._tell(UnverifiedEntry(track.key, entry.seq), None)
            return None
        return Notification(entry.id, track.key, entry.keys, entry.data, entry.sent_at, page.epoch, entry.seq)

    async def _drain_streams(self, drain_seconds: float) -> None:
        if not self._streams:
            return
        deadline = self._runtime.now() + drain_seconds
        for stream in list(self._streams.values()):
            self._runtime.spawn(self._end_later(stream, drain_seconds * 0.8 * self._runtime.random()))
        while self._streams and self._runtime.now() < deadline:
            await self._runtime.sleep(min(0.05, drain_seconds / 10))
        for stream in list(self._streams.values()):
            stream.end()

    async def _end_later(self, stream: Stream, seconds: float) -> None:
        await self._runtime.sleep(seconds)
        stream.end()


def _starts(keys: Sequence[str], since: str | None) -> dict[str, Position | None]:
    if since is None:
        return {}
    if since == "start":
        return dict.fromkeys(keys, START)
    places = decode_cursor(since)
    return {key: Position(*places[key_hash(key)]) if key_hash(key) in places else None for key in keys}
