"""Tracks: any interleaving of pushes, pages, joins and restarts calls everyone once, in order, or tells the gap."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from logs import MARK, Log, fetch
from skyhooks import _track
from skyhooks._callbacks import Callbacks
from skyhooks._cursor import decode_cursor, key_hash
from skyhooks._dispatch import Dispatcher
from skyhooks._notification import Gap, Notification
from skyhooks._registration import START, Registration
from skyhooks._track import Track
from skyhooks._values import Position

A, B = "k=a", "k=b"
KEYS = st.sampled_from([(A,), (B,), (A, B), (B, A)])
SINCE = st.sampled_from(["now", "start", "cursor", "cursor", "ahead", "strange"])
INDEX = st.integers(0, 1_000)
STRANGE = Position("f" * 16, 4)


@dataclass
class Member:
    """A registration, what its seats were promised, and what it was called with."""

    registration: Registration
    since: dict
    heads: dict = field(default_factory=dict)
    answered: bool = False
    heard: list = field(default_factory=list)
    parked: bool = False

    def start(self, key):
        since = self.since.get(key)
        return self.heads[key] if since is None else since


@dataclass
class Fetch:
    """A read that is on its way: planned, then carried out by the store, then answered."""

    track: Track
    plan: _track.Plan
    page: object = None


class Tracks(RuleBasedStateMachine):
    """Everything that may happen to the tracks of two keys, in any order."""

    stormy = True
    max_held = _track.MAX_HELD

    def __init__(self):
        super().__init__()
        self._standing_limit, _track.MAX_HELD = _track.MAX_HELD, self.max_held
        self.logs = {key: Log(key) for key in (A, B)}
        self.dispatcher = Dispatcher(self._hear)
        self.callbacks = Callbacks(self.dispatcher.outbox)
        self.members = []
        self.posts = []
        self.heads = []
        self.fetches = []
        self.counted = []
        self.ids = 0

    # -- jobs and the store

    @initialize(before=st.integers(0, 2), keys=KEYS, since=SINCE, after=st.integers(0, 2))
    def begin(self, before, keys, since, after):
        self.publish(keys, before, 1)
        self.register(keys, since, 0, prompt=True)
        self.publish(keys, after, 1)

    @rule(keys=KEYS, count=st.integers(1, 3), copies=st.integers(0, 2))
    def publish(self, keys, count, copies):
        for _ in range(count):
            self.ids += 1
            for key in keys:
                n = self.logs[key].append(f"n{self.ids}", keys if len(keys) > 1 else ())
                self.posts += [n] * copies

    @rule(key=st.sampled_from([A, B]))
    def plant(self, key):
        self.logs[key].append("planted", mac=MARK)

    @precondition(lambda self: self.stormy)
    @rule(key=st.sampled_from([A, B]), count=st.integers(1, 4))
    def trim(self, key, count):
        self.logs[key].trim(self.logs[key].floor + count)

    @precondition(lambda self: self.stormy)
    @rule(key=st.sampled_from([A, B]), keeping=st.booleans(), entries=st.integers(0, 2))
    def restart(self, key, keeping, entries):
        self.logs[key].restart(keeping=keeping)
        self.publish((key,), entries, 0)

    # -- what comes in

    @precondition(lambda self: self.posts)
    @rule(indexes=st.lists(INDEX, min_size=1, max_size=4))
    def post(self, indexes):
        for index in indexes:
            if self.posts:
                self._offer(self.posts.pop(index % len(self.posts)))

    def _offer(self, n):
        track = self.callbacks.get(n.key)
        if track is None:
            return
        held_back = [one for one in self.members if not one.answered]
        seats = [one for one in self.members if not one.registration.closed]
        self.counted.append((n, track.count(n), seats, held_back))
        track.offer(n)

    @rule(key=st.sampled_from([A, B]))
    def learn(self, key):
        self.heads.append((key, self.logs[key].head))

    @precondition(lambda self: self.heads)
    @rule(index=INDEX)
    def note(self, index):
        key, head = self.heads.pop(index % len(self.heads))
        track = self.callbacks.get(key)
        if track is not None:
            track.note(head)

    @rule()
    def dispatch(self):
        self.dispatcher.dispatch()

    # -- who sits there

    @rule(keys=KEYS, since=SINCE, index=INDEX, prompt=st.booleans())
    def register(self, keys, since, index, prompt):
        registration = Registration(keys, lambda _: None, None)
        one = Member(registration, self._since(keys, since, index))
        self.members.append(one)
        self.callbacks.add(registration)
        if prompt:
            self._add(one)
            self._place(one)

    @rule(index=INDEX)
    def add_hooks(self, index):
        waiting = [one for one in self.members if not one.heads]
        if waiting:
            self._add(waiting[index % len(waiting)])

    @rule(index=INDEX)
    def answer(self, index):
        waiting = [one for one in self.members if one.heads and not one.answered]
        if waiting:
            self._place(waiting[index % len(waiting)])

    @precondition(lambda self: self.stormy and len(self.members) > 2)
    @rule(index=INDEX)
    def leave(self, index):
        self.callbacks.discard(self.members[index % len(self.members)].registration)

    @precondition(lambda self: self.members)
    @rule(index=INDEX)
    def park_or_resume(self, index):
        one = self.members[index % len(self.members)]
        if one.answered:
            one.parked = not one.parked
            for seat in one.registration.seats:
                (seat.track.park if one.parked else seat.track.resume)(seat)

    # -- the one fetch

    @rule(key=st.sampled_from([A, B]))
    def catch_up(self, key):
        track = self.callbacks.get(key)
        if track is not None and not track.fetching:
            fetch(track, self.logs[key])
            self.dispatcher.dispatch()

    @rule()
    def plan(self):
        for track in self.callbacks:
            if track.needy and not track.fetching:
                track.fetching = True
                self.fetches.append(Fetch(track, track.plan()))

    @precondition(lambda self: self.fetches)
    @rule(index=INDEX, limit=st.integers(1, 3))
    def read(self, index, limit):
        one = self.fetches[index % len(self.fetches)]
        if one.page is None:
            one.page = self.logs[one.track.key].read(one.plan.after, limit)

    @precondition(lambda self: self.fetches)
    @rule(index=INDEX, fails=st.sampled_from([False, False, True]))
    def judge(self, index, fails):
        one = self.fetches.pop(index % len(self.fetches))
        one.track.fetching = False
        if fails or one.page is None:
            one.track.failed()
        else:
            one.track.judge(one.plan, one.page, self.logs[one.track.key].converted(one.page))

    # -- the end

    def teardown(self):
        try:
            self._settle()
            for one in self.members:
                if one.answered:
                    self._check(one)
            self._check_counts()
        finally:
            _track.MAX_HELD = self._standing_limit

    def _settle(self):
        for one in self.members:
            if not one.heads:
                self._add(one)
            if not one.answered:
                self._place(one)
            for seat in one.registration.seats:
                seat.track.resume(seat)
        while self.fetches:
            self.judge(0, fails=False)
        for track in self.callbacks:
            track.note(self.logs[track.key].head)
            fetch(track, self.logs[track.key], limit=2)
        self.dispatcher.dispatch()

    def _add(self, one):
        one.heads = {key: self.logs[key].head for key in one.registration.keys}

    def _place(self, one):
        one.answered = True
        one.registration.begin(one.heads, one.since)

    def _since(self, keys, since, index):
        if since == "start":
            return dict.fromkeys(keys, START)
        if since == "ahead" and self.stormy:
            return {key: self.logs[key].at(self.logs[key].head.seq + 2) for key in keys}
        if since == "strange" and self.stormy:
            return dict.fromkeys(keys, STRANGE)
        heard = [what for one in self.members for what in one.heard]
        if since == "cursor" and heard:
            places = decode_cursor(heard[-1 - index % min(len(heard), 4)].cursor)
            return {key: Position(*places[key_hash(key)]) for key in keys if key_hash(key) in places}
        return {}

    def _hear(self, registration, what):
        one = next(one for one in self.members if one.registration is registration)
        one.heard.append(what)

    # -- the promises

    def _check(self, one):
        at = {key: one.start(key) for key in one.registration.keys}
        for what in one.heard:
            if isinstance(what, Gap):
                self._check_gap(what, at[what.key])
                at[what.key] = _places(what)[what.key]
            else:
                self._check_call(one, what, at[what.key])
                at[what.key] = Position(what.epoch, what.seq)
            assert set(_places(what)) == set(at), "a cursor names every key"
            for key, place in _places(what).items():
                self._check_nothing_between(one, key, at[key], place)
        if not one.registration.closed:
            for key, log in self.logs.items():
                if key in at:
                    self._check_nothing_between(one, key, at[key], log.head)

    def _check_call(self, one, n, at):
        assert n.seq > at.seq or at.epoch != n.epoch, "called twice, or out of order"
        self._check_nothing_between(one, n.key, at, Position(n.epoch, n.seq - 1))
        entry = self.logs[n.key].history[n.epoch][n.seq - 1]
        assert (n.id, n.raw) == (entry.id, entry.data)
        limit = one.heads[n.key]
        assert n.replayed == (limit.epoch == n.epoch and n.seq <= limit.seq)

    def _check_gap(self, gap, at):
        log, to = self.logs[gap.key], _places(gap)[gap.key]
        if gap.reason == "restarted":
            assert at == START or to.epoch != at.epoch or to.seq < at.seq
        else:
            assert to.epoch == at.epoch or at == START
            assert at.seq < to.seq <= log.floors[to.epoch]

    def _check_nothing_between(self, one, key, low, high):
        """Nothing that this registration is to hear lies behind `low`, up to `high`."""
        if low == high:
            return
        assert high != START
        log, begin = self.logs[key], low.seq
        if low == START:
            begin = log.floors[high.epoch]
        else:
            assert low.epoch == high.epoch, "the log's new life was not told"
        missed = [
            entry for entry in log.history[high.epoch][begin : high.seq] if _is_heard(one.registration, key, entry)
        ]
        assert not missed

    def _check_counts(self):
        if self.stormy:
            return
        for n, count, seats, unsure in self.counted:
            called = [one for one in seats if any(_same(n, what) for what in one.heard)]
            perhaps = [one for one in seats if one in unsure and one not in called and n.key in one.registration.keys]
            assert len(called) <= count <= len(called) + len(perhaps)


def _places(what):
    places = decode_cursor(what.cursor)
    return {key: Position(*places[key_hash(key)]) for key in (A, B) if key_hash(key) in places}


def _is_heard(registration, key, entry):
    return entry.mac != MARK and (not entry.keys or registration.called_under(entry.keys) == key)


def _same(n, what):
    return isinstance(what, Notification) and (what.key, what.epoch, what.seq) == (n.key, n.epoch, n.seq)


class CalmTracks(Tracks):
    """The same without trimming, restarts and strange cursors: here the counts must agree exactly."""

    stormy = False


class CrampedTracks(Tracks):
    """The same with hardly any room to hold what came early."""

    max_held = 2


BRIEF = settings(max_examples=150, stateful_step_count=40, deadline=None)

TestTracks = Tracks.TestCase
TestTracks.settings = BRIEF
TestCalmTracks = CalmTracks.TestCase
TestCalmTracks.settings = BRIEF
TestCrampedTracks = CrampedTracks.TestCase
TestCrampedTracks.settings = BRIEF
