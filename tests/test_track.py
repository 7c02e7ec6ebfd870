"""Tracks: any interleaving of pushes, pages, joins and restarts calls everyone once, in order, or tells the gap."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
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
from skyhooks._track import Offer, Track
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


# -- by name: PROTOCOL's traces and the limits


class One:
    """One key's log and track; calls are made at once and heard by name."""

    def __init__(self):
        self.log = Log()
        self.calls = []
        self.dispatcher = Dispatcher(self._hear)
        self.callbacks = Callbacks(self.dispatcher.outbox)

    @property
    def track(self):
        return self.callbacks.get(self.log.key)

    def join(self, name, *keys):
        """Seat a registration; the store has not answered yet."""
        registration = Registration(keys or (self.log.key,), name, None)
        self.callbacks.add(registration)
        return registration

    def answer(self, registration, head, since=None):
        key = self.log.key
        registration.begin(dict.fromkeys(registration.keys, head), {key: since})
        self.dispatcher.dispatch()

    def register(self, name, since=None):
        registration = self.join(name)
        self.answer(registration, self.log.head, since)
        return registration

    def offer(self, n):
        offer = self.track.offer(n)
        self.dispatcher.dispatch()
        return offer

    def fetch(self):
        pages = fetch(self.track, self.log)
        self.dispatcher.dispatch()
        return pages

    def judge(self, plan, page):
        self.track.judge(plan, page, self.log.converted(page))
        self.dispatcher.dispatch()

    def _hear(self, registration, what):
        self.calls.append((registration.callback, what.reason if isinstance(what, Gap) else what.id))


def test_trace_1_answers_that_cross_lose_and_double_nothing():
    one = One()
    first = one.join("first")
    head = one.log.head
    one.log.append("n1")
    second = one.join("second")
    one.answer(second, one.log.head)
    one.answer(first, head)
    one.fetch()
    assert one.calls == [("first", "n1")]


def test_trace_2_a_push_before_the_answer_gives_no_position():
    one = One()
    early = one.join("early")
    head = one.log.head
    one.log.append("n1")
    assert one.offer(one.log.append("n2")) is Offer.TAKEN
    one.answer(early, head)
    one.fetch()
    assert one.calls == [("early", "n1"), ("early", "n2")]


def test_trace_3_a_head_heard_while_joining_is_looked_at():
    one = One()
    early = one.join("early")
    head = one.log.head
    one.log.append("n1")
    one.track.note(one.log.head)
    one.answer(early, head)
    assert one.track.urgent
    one.fetch()
    assert one.calls == [("early", "n1")]


def test_trace_4_a_failed_read_is_still_owed():
    one = One()
    one.register("r")
    one.log.append("n1")
    one.track.note(one.log.head)
    one.track.plan()
    one.track.failed()
    assert one.track.needy
    one.fetch()
    assert one.calls == [("r", "n1")]


def test_trace_10_a_push_of_an_old_epoch_changes_nothing():
    one = One()
    one.register("r")
    late = one.log.append("n1")
    one.log.restart()
    one.track.note(one.log.head)
    one.fetch()
    assert one.offer(late) is Offer.TAKEN
    assert one.track.look
    one.fetch()
    one.offer(one.log.append("n2"))
    assert one.calls == [("r", "restarted"), ("r", "n2")]


def test_trace_10_what_is_heard_during_a_read_is_looked_at_afterwards():
    one = One()
    one.register("r")
    one.track.look = True
    plan, page = one.track.plan(), one.log.read(one.log.head)
    one.log.restart()
    one.track.note(one.log.head)
    one.judge(plan, page)
    assert one.track.needy
    one.fetch()
    assert one.calls == [("r", "restarted")]


def test_trace_10_a_page_older_than_what_was_pushed_meanwhile_resets_nothing():
    one = One()
    one.register("r")
    one.track.look = True
    plan, page = one.track.plan(), one.log.read(one.log.head)
    one.offer(one.log.append("n1"))
    one.judge(plan, page)
    one.fetch()
    assert one.calls == [("r", "n1")]


def test_trace_15_a_head_behind_the_track_tells_a_gap_and_goes_on_from_there():
    one = One()
    one.register("r")
    for name in ("n1", "n2", "n3"):
        one.offer(one.log.append(name))
    del one.log.entries[1:]
    one.track.note(one.log.head)
    one.fetch()
    one.offer(one.log.append("n4"))
    assert one.calls[3:] == [("r", "restarted"), ("r", "n4")]


def test_trace_18_an_entry_that_is_passed_over_is_not_fetched_for_ever():
    one = One()
    one.register("r")
    one.log.append("planted", mac=MARK)
    one.offer(one.log.append("n2"))
    assert one.fetch() == 1
    assert one.calls == [("r", "n2")]


def test_a_cursor_past_the_head_tells_a_gap_and_goes_on_from_the_head():
    one = One()
    one.register("r", since=one.log.at(7))
    one.fetch()
    one.offer(one.log.append("n1"))
    assert one.calls == [("r", "restarted"), ("r", "n1")]


def test_a_cursor_of_another_epoch_tells_a_gap_and_reads_from_the_floor():
    one = One()
    for name in ("n1", "n2"):
        one.log.append(name)
    one.log.trim(1)
    one.register("r", since=STRANGE)
    one.fetch()
    assert one.calls == [("r", "restarted"), ("r", "n2")]


def test_the_start_is_told_no_gap():
    one = One()
    for name in ("n1", "n2"):
        one.log.append(name)
    one.log.trim(1)
    one.register("r", since=START)
    one.fetch()
    assert one.calls == [("r", "n2")]


def test_a_trimmed_log_tells_those_who_were_there_a_gap():
    one = One()
    live = one.register("live")
    late = one.register("late", since=None)
    one.track.park(late.seats[0])
    for name in ("n1", "n2", "n3"):
        one.log.append(name)
    one.log.trim(2)
    one.track.note(one.log.head)
    one.fetch()
    assert one.calls == [("live", "trimmed"), ("live", "n3")]
    assert live.places() == ((one.log.key, one.log.epoch, 3),)
    one.track.resume(late.seats[0])
    one.fetch()
    assert one.calls[2:] == [("late", "trimmed"), ("late", "n3")]


def test_replay_is_marked_also_where_the_epoch_changed_under_a_cursor():
    one = One()
    one.register("r")
    one.offer(one.log.append("n1"))
    cursor = one.log.head
    one.log.restart()
    one.log.append("n2")
    late = one.join("late")
    late.begin({one.log.key: one.log.head}, {one.log.key: cursor})
    one.log.append("n3")
    fetch(one.track, one.log)
    heard = [what for seats, count, what in one.dispatcher.outbox if late.seats[0] in list(seats)[:count]]
    assert [(n.id, n.replayed) for n in heard[1:]] == [("n2", True), ("n3", False)]


def test_a_repeated_push_is_a_duplicate():
    one = One()
    one.register("r")
    n1 = one.log.append("n1")
    assert [one.offer(n1), one.offer(n1)] == [Offer.TAKEN, Offer.DUPLICATE]
    one.log.append("n2")
    n3 = one.log.append("n3")
    assert [one.offer(n3), one.offer(n3)] == [Offer.TAKEN, Offer.DUPLICATE]


def test_a_push_that_skips_waits_without_urgency_for_the_missing_one():
    one = One()
    one.register("r")
    n1, n2 = one.log.append("n1"), one.log.append("n2")
    one.offer(n2)
    assert (one.track.needy, one.track.urgent, one.calls) == (True, False, [])
    one.offer(n1)
    assert not one.track.needy
    assert one.calls == [("r", "n1"), ("r", "n2")]


@pytest.mark.parametrize("placed", [False, True], ids=["before the answer", "after it"])
def test_holds_at_most_1000_early_notifications_but_fetches_all(placed):
    one = One()
    registration = one.join("r")
    head = one.log.head
    if placed:
        one.answer(registration, head)
    one.log.append("n1")
    offers = [one.offer(one.log.append(f"n{i}")) for i in range(2, _track.MAX_HELD + 4)]
    assert offers == [Offer.TAKEN] * _track.MAX_HELD + [Offer.FULL] * 2
    if not placed:
        one.answer(registration, head)
    one.fetch()
    assert one.calls == [("r", f"n{i}") for i in range(1, _track.MAX_HELD + 4)]


@pytest.mark.parametrize("placed", [False, True], ids=["before the answer", "after it"])
def test_holds_at_most_1_mib_of_early_notifications(placed):
    one = One()
    registration = one.join("r")
    if placed:
        one.answer(registration, one.log.head)
    one.log.append("n1")
    offers = [one.offer(one.log.append("x" * (_track.MAX_HELD_BYTES // 4))) for _ in range(4)]
    assert offers == [Offer.TAKEN] * 3 + [Offer.FULL]


def test_room_for_early_notifications_is_free_again_once_they_were_called():
    one = One()
    one.register("r")
    for _ in range(3):
        missing = one.log.append("n1")
        big = one.log.append("x" * (_track.MAX_HELD_BYTES * 3 // 4))
        assert one.offer(big) is Offer.TAKEN
        one.offer(missing)
    assert not one.track.needy


def test_early_pushes_of_another_epoch_and_old_ones_are_not_called():
    one = One()
    stale = one.log.append("stale")
    one.log.restart()
    registration = one.join("r")
    old = one.log.append("old")
    one.offer(stale)
    one.offer(old)
    one.answer(registration, one.log.head)
    assert one.track.look
    one.fetch()
    assert one.calls == []


def test_a_head_that_only_a_push_named_is_not_fetched_for_ever():
    one = One()
    one.register("r")
    lost = one.log.append("lost")
    phantom = one.log.append("phantom")
    one.log.entries.clear()
    one.offer(phantom)
    assert one.fetch() == 1
    one.offer(one.log.append("n1"))
    one.offer(one.log.append("n2"))
    assert one.calls == [("r", "n1"), ("r", "n2")]
    assert lost.seq == 1


def test_a_head_heard_during_the_read_is_believed():
    one = One()
    one.register("r")
    one.track.look = True
    plan, page = one.track.plan(), one.log.read(one.log.head)
    one.log.append("n1")
    one.track.note(one.log.head)
    one.judge(plan, page)
    assert one.track.needy
    one.fetch()
    assert one.calls == [("r", "n1")]


def test_nothing_is_owed_before_the_first_answer():
    one = One()
    one.join("r")
    one.track.note(one.log.head)
    assert (one.track.look, one.track.needy, one.track.urgent) == (True, False, False)


def test_a_seat_that_left_is_neither_placed_nor_resumed_nor_parked():
    one = One()
    stays, leaves = one.register("stays"), one.join("leaves")
    one.callbacks.discard(leaves)
    one.answer(leaves, one.log.head)
    one.track.resume(leaves.seats[0])
    one.track.park(leaves.seats[0])
    one.offer(one.log.append("n1"))
    assert one.track.open_seats() == list(stays.seats)
    assert one.calls == [("stays", "n1")]


def test_leaving_from_every_state_leaves_nothing_behind():
    one = One()
    one.log.append("n1")
    live, lagging, parked, joining = (
        one.register("live"),
        one.register("lagging", since=START),
        one.register("parked"),
        one.join("joining"),
    )
    one.track.park(parked.seats[0])
    track = one.track
    for registration in (live, lagging, parked, joining):
        assert track.wanted
        one.callbacks.discard(registration)
    assert not track.wanted
    assert one.track is None


def test_who_parks_and_resumes_at_once_is_called_once():
    one = One()
    r, other = one.register("r"), one.register("other")
    one.track.park(r.seats[0])
    one.track.resume(r.seats[0])
    one.offer(one.log.append("n1"))
    assert one.calls == [("other", "n1"), ("r", "n1")]
    assert len(one.track.open_seats()) == 2
    assert other.places() == r.places()


def test_who_joins_between_a_push_and_its_dispatch_is_not_called_with_it():
    one = One()
    one.register("r")
    one.track.offer(one.log.append("n1"))
    one.register("late")
    assert one.calls == [("r", "n1")]


def test_a_notification_to_several_keys_calls_under_the_first_that_is_held():
    one = One()
    both = one.join("both", A, B)
    one.answer(both, one.log.head)
    one.register("a")
    one.offer(one.log.append("n1", keys=(B, A)))
    assert one.calls == [("a", "n1")]
    assert both.places()[0] == (A, one.log.epoch, 1)
    one.offer(one.log.append("n2", keys=("k=c", A)))
    assert one.calls[1:] == [("both", "n2"), ("a", "n2")]


def test_a_seat_that_moved_during_the_read_is_not_judged_by_it():
    one = One()
    one.register("live")
    first = one.log.append("n1")
    moves = one.register("moves")
    plan, page = one.track.plan(), one.log.read(one.log.at(0))
    one.offer(first)
    one.offer(one.log.append("n2"))
    one.track.park(moves.seats[0])
    one.offer(one.log.append("n3"))
    one.track.resume(moves.seats[0])
    one.judge(plan, page)
    one.fetch()
    assert [what for name, what in one.calls if name == "moves"] == ["n2", "n3"]


def test_what_waited_for_the_answer_is_called_with_the_places_of_all_keys():
    one = One()
    both = one.join("both", A, B)
    head = one.log.head
    one.offer(one.log.append("n1"))
    both.begin({A: head, B: head}, {})
    ((_, _, n1),) = one.dispatcher.outbox
    assert decode_cursor(n1.cursor) == {key_hash(A): (head.epoch, 1), key_hash(B): (head.epoch, 0)}
    assert not one.track.needy


def test_after_a_gap_only_what_is_still_held_takes_room():
    one = One()
    one.register("r")
    big = "x" * (_track.MAX_HELD_BYTES * 3 // 5)
    sizes = ["n1", "n2", big, "n4", "n5", "n6", "n7", "n8", "n9", big]
    pushes = [one.log.append(text) for text in sizes]
    assert [one.offer(pushes[2]), one.offer(pushes[7])] == [Offer.TAKEN] * 2
    one.log.trim(4)
    one.judge(one.track.plan(), one.log.read(None, limit=1))
    assert one.offer(pushes[9]) is Offer.TAKEN
    one.fetch()
    assert [what for _, what in one.calls] == ["trimmed", *sizes[4:]]


def test_one_event_calls_all_who_are_live_also_in_a_new_epoch():
    one = One()
    for name in ("n1", "n2", "n3"):
        one.log.append(name)
    one.register("a")
    one.register("b")
    one.log.restart()
    one.track.note(one.log.head)
    one.fetch()
    one.track.offer(one.log.append("n4"))
    assert [count for _, count, _ in one.dispatcher.outbox] == [2]


def test_counts_the_seats_that_have_it_or_will():
    one = One()
    one.register("live")
    n1 = one.log.append("n1")
    assert one.track.count(n1) == 1
    one.offer(n1)
    one.register("late")
    assert one.track.count(n1) == 1
    one.register("replays", since=START)
    assert one.track.count(n1) == 2
    one.join("joining")
    assert one.track.count(n1) == 3
    one.register("strange", since=STRANGE)
    assert one.track.count(n1) == 4


def test_counts_all_for_a_notification_of_an_unknown_epoch():
    one = One()
    one.register("live")
    stranger = Notification("n", A, (), b"1", 0.0, STRANGE.epoch, 1)
    assert one.track.count(stranger) == 1


def test_counts_a_parked_seat_only_if_it_is_still_to_get_it():
    one = One()
    one.register("live")
    n1 = one.log.append("n1")
    parked = one.register("parked")
    one.track.park(parked.seats[0])
    assert one.track.count(n1) == 1
    assert one.track.count(one.log.append("n2")) == 2


@pytest.mark.parametrize("keys", [(), (A, B)], ids=["one key", "two keys"])
def test_an_ephemeral_one_calls_all_but_those_still_joining(keys):
    one = One()
    one.register("live")
    one.offer(one.log.append("n1"))
    gone = one.register("gone")
    one.register("replays", since=START)
    one.join("joining")
    one.callbacks.discard(gone)
    assert one.track.ring(Notification("e", A, keys, b"1", 0.0)) == 2
    one.dispatcher.dispatch()
    assert one.calls[1:] == [("live", "e"), ("replays", "e")]


def test_an_ephemeral_one_carries_the_place_where_its_registration_is():
    one = One()
    one.register("live")
    one.offer(one.log.append("n1"))
    one.track.ring(Notification("e", A, (), b"1", 0.0))
    replays = one.register("replays", since=START)
    heard = []
    one.dispatcher._invoke = lambda registration, n: heard.append((registration.callback, n.cursor))
    one.track.ring(Notification("e", A, (), b"1", 0.0))
    one.dispatcher.dispatch()
    assert [(name, _places_of(cursor)) for name, cursor in heard] == [("live", one.log.head), ("replays", START)]
    assert replays.cursor == heard[1][1]


def _places_of(cursor):
    return Position(*decode_cursor(cursor)[key_hash(A)])
