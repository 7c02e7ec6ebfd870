"""Reads from the log what tracks owe their seats: one fetch per track, a few at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from ._callbacks import Callbacks
from ._notification import Notification
from ._track import Track
from ._values import Entry, Page, Position
from .abc import Runtime, Store
from .exceptions import SkyhooksError

PAGE_ENTRIES = 500
MAX_FETCHES = 8
LINGER_SECONDS = 0.02
"""How long a skipped seq is waited for: two busy notifiers otherwise cost one read per POST (PROTOCOL 28)."""

Convert = Callable[[Track, Page, Entry], Notification | None]


class Fetcher:
    """Starts a fetch for every track that needs one; `look` and `known` stay in the track (PROTOCOL 6)."""

    def __init__(
        self,
        runtime: Runtime,
        store: Store,
        callbacks: Callbacks,
        *,
        convert: Convert,
        vanished: Callable[[str], None],
        dispatch: Callable[[], None],
    ) -> None:
        self._runtime = runtime
        self._store = store
        self._callbacks = callbacks
        self._convert = convert
        self._vanished = vanished
        self._dispatch = dispatch
        self._owing: dict[str, Track] = {}
        self._queue: deque[Track] = deque()
        self._lingering: set[str] = set()
        self._workers = 0

    def attend(self, track: Track) -> None:
        """Look after a track that something has happened to; call it whenever a track's state may have changed."""
        if not track.needy:
            return
        self._owing[track.key] = track
        if track.urgent:
            self._start(track)
        elif not track.fetching and track.key not in self._lingering:
            self._lingering.add(track.key)
            self._runtime.spawn(self._linger(track))

    def note(self, heads: Mapping[str, Position]) -> None:
        """Take note of where logs are now, and look after the tracks that are behind."""
        for key, head in heads.items():
            track = self._callbacks.get(key)
            if track is not None:
                track.note(head)
                self.attend(track)

    def attend_all(self) -> None:
        """Start a fetch for every track that needs one, as each heartbeat does."""
        for track in list(self._owing.values()):
            if self._callbacks.get(track.key) is not track:
                del self._owing[track.key]
            elif track.needy:
                self._start(track)
            elif not track.fetching:
                # While a read is under way nothing seems to be owed; it may yet fail.
                del self._owing[track.key]

    # -- inside -----------------------------------------------------------------------------------

    async def _linger(self, track: Track) -> None:
        try:
            await self._runtime.sleep(LINGER_SECONDS)
        finally:
            self._lingering.discard(track.key)
        if track.needy:
            self._start(track)

    def _start(self, track: Track) -> None:
        if track.fetching:
            return
        track.fetching = True
        self._queue.append(track)
        if self._workers < MAX_FETCHES:
            self._workers += 1
            self._runtime.spawn(self._work())

    async def _work(self) -> None:
        try:
            while self._queue:
                await self._fetch(self._queue.popleft())
        finally:
            self._workers -= 1
            if self._queue and self._workers == 0:
                self._workers += 1
                self._runtime.spawn(self._work())

    async def _fetch(self, track: Track) -> None:
        try:
            while track.needy and self._callbacks.get(track.key) is track:
                if not await self._turn_page(track):
                    break
        finally:
            track.fetching = False

    async def _turn_page(self, track: Track) -> bool:
        plan = track.plan()
        page = None
        try:
            page = await self._runtime.call(self._store.read, track.key, plan.after, PAGE_ENTRIES)
        except SkyhooksError:
            return False
        finally:
            if page is None:
                track.failed()
        if page is None:
            self._vanished(track.key)
            return False
        track.judge(plan, page, [(entry.seq, self._convert(track, page, entry)) for entry in page.entries])
        self._dispatch()
        return True
