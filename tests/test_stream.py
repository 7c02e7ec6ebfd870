"""Streams: bounded, and lossless as long as the log keeps what a slow reader has put off."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logs import Log, fetch
from skyhooks._callbacks import Callbacks
from skyhooks._cursor import decode_cursor, key_hash
from skyhooks._dispatch import Dispatcher
from skyhooks._notification import Gap, Notification
from skyhooks._registration import LIVE, PARKED, START, Registration
from skyhooks._stream import MAX_PENDING_BYTES, Stream
from skyhooks._values import Position

A, B = "k=a", "k=b"


class Desk:
    """Streams and callbacks on the logs of two keys; `fetch_owed` plays the fetcher."""

    def __init__(self, *keys):
        self.logs = {key: Log(key) for key in keys or (A, B)}
        self.dispatcher = Dispatcher(self._invoke)
        self.callbacks = Callbacks(self.dispatcher.outbox)
        self.attended = []
        self.ids = 0

    def stream(self, *keys, max_pending=4, since=None, latest=False):
        stream = Stream(max_pending, self.attended.append, self.dispatcher.afterwards, latest=latest)
        self.register(*keys, callback=stream.push, since=since, stream=stream)
        return stream

    def register(self, *keys, callback, since=None, stream=None):
        registration = Registration(keys, callback, callback)
        if stream is not None:
            stream.registration = registration
        self.callbacks.add(registration)
        registration.begin({key: self.logs[key].head for key in keys}, dict.fromkeys(keys, since))
        return registration

    def publish(self, *keys, size=0):
        """Publish and push at once, as if no POST were ever lost."""
        self.ids += 1
        for key in keys:
            n = self.logs[key].append(f"n{self.ids}".ljust(size, "."), keys if len(keys) > 1 else ())
            track = self.callbacks.get(key)
            if track is not None:
                track.offer(n)

    def ring(self, key):
        self.callbacks.get(key).ring(Notification("ephemeral", key, (), b"1", 0.0))
        self.dispatcher.dispatch()

    def go(self, *keys, size=0):
        self.publish(*keys, size=size)
        self.dispatcher.dispatch()

    def fetch_owed(self):
        for track in self.callbacks:
            fetch(track, self.logs[track.key], limit=2)
        self.dispatcher.dispatch()

    def read_all(self, stream):
        """Read as a reader does that waits for more: until nothing is pending or owed."""
        read = []
        while stream.pending or any(track.needy for track in self.callbacks):
            self.fetch_owed()
            while stream.pending:
                read.append(stream.take())
        return read

    def _invoke(self, registration, what):
        (registration.on_gap if isinstance(what, Gap) else registration.callback)(what)


def names(items):
    return [what.reason if isinstance(what, Gap) else what.id.rstrip(".") for what in items]


def places(what):
    digests = {key_hash(key): key for key in (A, B)}
    return {digests[digest]: place for digest, place in decode_cursor(what.cursor).items()}


def test_hands_on_what_comes_and_wakes_the_reader_each_time():
    desk, woken = Desk(), []
    stream = desk.stream(A)
    stream.wake = lambda: woken.append(stream.pending)
    desk.go(A)
    assert woken == [True]
    assert names([stream.take()]) == ["n1"]
    assert not stream.pending


def test_holds_no_more_than_max_pending():
    desk = Desk()
    stream = desk.stream(A, max_pending=2)
    for _ in range(5):
        desk.go(A)
    assert names([stream.take(), stream.take()]) == ["n1", "n2"]
    assert not stream.pending


def test_what_found_no_room_comes_from_the_log_in_order():
    desk = Desk()
    stream = desk.stream(A, max_pending=2)
    for _ in range(9):
        desk.go(A)
    assert names(desk.read_all(stream)) == [f"n{i}" for i in range(1, 10)]


def test_one_who_takes_all_at_once_goes_on_from_the_log():
    desk = Desk()
    stream = desk.stream(A, max_pending=2)
    for _ in range(5):
        desk.go(A)
    assert names(stream.take_all()) == ["n1", "n2"]
    assert stream.take_all() == []
    assert names(desk.read_all(stream)) == ["n3", "n4", "n5"]


def test_holds_no_more_than_the_bytes_it_may_but_always_one_item():
    desk = Desk()
    stream = desk.stream(A)
    desk.go(A, size=MAX_PENDING_BYTES + 1)
    desk.go(A, size=1)
    assert names([stream.take()]) == ["n1"]
    assert not stream.pending
    assert names(desk.read_all(stream)) == ["n2"]


def test_is_served_again_only_when_half_is_read():
    desk = Desk()
    stream = desk.stream(A, max_pending=4)
    for _ in range(6):
        desk.go(A)
    stream.take()
    assert desk.attended == []
    stream.take()
    assert [track.key for track in desk.attended] == [A]


def test_is_served_again_only_when_half_of_the_bytes_are_read():
    desk = Desk()
    stream = desk.stream(A, max_pending=100)
    for _ in range(6):
        desk.go(A, size=MAX_PENDING_BYTES // 5)
    stream.take()
    assert desk.attended == []
    stream.take()
    assert [track.key for track in desk.attended] == [A]


def test_a_reader_that_caught_up_is_live_again():
    desk = Desk()
    stream = desk.stream(A, max_pending=2)
    for _ in range(3):
        desk.go(A)
    assert stream.seats[0].state == PARKED
    desk.read_all(stream)
    assert stream.seats[0].state == LIVE
    desk.go(A)
    assert names([stream.take()]) == ["n4"]


def test_a_slow_reader_is_told_a_gap_where_the_log_let_go():
    desk = Desk()
    stream = desk.stream(A, max_pending=1)
    for _ in range(4):
        desk.go(A)
    desk.logs[A].trim(3)
    assert names(desk.read_all(stream)) == ["n1", "trimmed", "n4"]


def test_a_gap_that_found_no_room_is_told_later():
    desk = Desk()
    stream = desk.stream(A, max_pending=1)
    desk.go(A)
    desk.logs[A].restart()
    desk.callbacks.get(A).look = True
    desk.fetch_owed()
    assert names([stream.take()]) == ["n1"]
    assert not stream.pending
    assert names(desk.read_all(stream)) == ["restarted"]


def test_an_ephemeral_notification_that_finds_no_room_is_missed():
    desk = Desk()
    stream = desk.stream(A, max_pending=1)
    desk.go(A)
    desk.ring(A)
    assert stream.seats[0].state == LIVE
    assert names(desk.read_all(stream)) == ["n1"]


def test_an_ephemeral_notification_passes_a_parked_stream_by():
    desk = Desk()
    stream = desk.stream(A, max_pending=1)
    desk.go(A)
    desk.go(A)
    desk.ring(A)
    assert names(desk.read_all(stream)) == ["n1", "n2"]


def test_one_slow_key_puts_off_the_others_so_that_cursors_stay_true():
    desk = Desk()
    stream = desk.stream(A, B, max_pending=1)
    desk.publish(A)
    desk.publish(A)
    desk.publish(B)
    desk.dispatcher.dispatch()
    read = desk.read_all(stream)
    assert sorted(names(read)) == ["n1", "n2", "n3"]
    assert places(read[0])[B][1] == 0


def test_reading_amid_a_dispatch_doubles_nothing():
    desk = Desk()
    slow = desk.stream(A, max_pending=2)
    taken = []

    def read_the_other(_):
        while slow.pending:
            taken.append(slow.take())
        for track in desk.attended:
            fetch(track, desk.logs[track.key])

    desk.register(A, callback=read_the_other)
    for _ in range(6):
        desk.publish(A)
    desk.dispatcher.dispatch()
    assert names(taken + desk.read_all(slow)) == [f"n{i}" for i in range(1, 7)]


def test_a_closed_stream_is_not_served_again():
    desk = Desk()
    stream = desk.stream(A, max_pending=2)
    for _ in range(3):
        desk.go(A)
    desk.callbacks.discard(stream.registration)
    stream.take()
    assert desk.attended == []


def test_ends_with_what_is_pending_still_to_be_read():
    desk, woken = Desk(), []
    stream = desk.stream(A)
    desk.go(A)
    stream.wake = lambda: woken.append(stream.ended)
    stream.end()
    assert woken == [True]
    assert names([stream.take()]) == ["n1"]


def test_where_only_the_latest_counts_it_alone_waits_of_each_key():
    desk = Desk()
    stream = desk.stream(A, B, latest=True)
    for _ in range(5):
        desk.go(A)
    desk.go(B)
    desk.go(A)
    assert names(desk.read_all(stream)) == ["n6", "n7"]


def test_where_only_the_latest_counts_a_reader_that_keeps_up_gets_all():
    desk, woken = Desk(), []
    stream = desk.stream(A, latest=True)
    stream.wake = lambda: woken.append(True)
    read = []
    for _ in range(3):
        desk.go(A)
        read.append(stream.take())
    assert (names(read), len(woken), stream.pending) == (["n1", "n2", "n3"], 3, False)


def test_where_only_the_latest_counts_what_is_in_no_log_and_a_gap_leave_it_standing():
    desk = Desk()
    stream = desk.stream(A, latest=True)
    desk.go(A)
    desk.ring(A)
    desk.ring(A)
    for _ in range(2):
        stream.push(Gap(A, "restarted", (), Position("00" * 8, 0)))
    assert names(desk.read_all(stream)) == ["n1", "ephemeral", "restarted"]


def test_where_only_the_latest_counts_it_outdates_all_before_it():
    desk = Desk()
    stream = desk.stream(A, latest=True)
    desk.ring(A)
    stream.push(Gap(A, "restarted", (), Position("00" * 8, 0)))
    desk.go(A)
    assert names(desk.read_all(stream)) == ["n1"]


def test_where_only_the_latest_counts_what_waits_is_one_long_item_and_never_parked():
    desk = Desk()
    stream = desk.stream(A, max_pending=1, latest=True)
    for _ in range(4):
        desk.go(A, size=MAX_PENDING_BYTES)
    assert stream.seats[0].state == LIVE
    assert names(desk.read_all(stream)) == ["n4"]


@pytest.mark.parametrize(("size", "max_pending"), [(0, 2), (MAX_PENDING_BYTES // 2 - 100, 256)])
def test_where_only_the_latest_counts_the_bounds_are_kept_and_each_key_s_newest_comes(size, max_pending):
    desk = Desk("k=a", "k=b", "k=c", "k=d")
    stream = desk.stream(*desk.logs, max_pending=max_pending, latest=True)
    for _ in range(3):
        for key in desk.logs:
            desk.go(key, size=size)
    held = [stream.take() for _ in range(2)]
    assert not stream.pending
    newest = {what.key: what for what in [*held, *desk.read_all(stream)]}
    assert {key: names([what]) for key, what in newest.items()} == {
        "k=a": ["n9"],
        "k=b": ["n10"],
        "k=c": ["n11"],
        "k=d": ["n12"],
    }


def test_has_no_seats_before_it_is_registered():
    assert Stream(1, print, print).seats == ()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from([(A,), (B,), (A, B), (B, A)])),
        st.tuples(st.just("take"), st.integers(0, 5)),
        st.tuples(st.just("fetch"), st.none()),
        st.tuples(st.just("dispatch"), st.none()),
        st.tuples(st.just("lose"), st.sampled_from([A, B])),
        st.tuples(st.just("amid"), st.integers(0, 3)),
    ),
    max_size=40,
)


@pytest.mark.parametrize("keys", [(A,), (A, B)])
@settings(max_examples=150, deadline=None)
@given(steps=STEPS, max_pending=st.integers(1, 4), start=st.booleans())
def test_no_reader_loses_or_doubles_anything_however_slow(keys, steps, max_pending, start):
    desk, read, amid = Desk(), [], []
    desk.publish(A)
    stream = desk.stream(*keys, max_pending=max_pending, since=START if start else None)

    def take(count):
        read.extend([stream.take() for _ in range(count) if stream.pending] if count else stream.take_all())

    desk.register(A, callback=lambda _: amid and take(amid.pop()))
    for step, what in steps:
        if step == "publish":
            desk.publish(*what)
        elif step == "take":
            take(what)
        elif step == "fetch":
            desk.fetch_owed()
        elif step == "dispatch":
            desk.dispatcher.dispatch()
        elif step == "lose":
            desk.logs[what].append(f"lost{len(desk.logs[what].entries)}")
            desk.callbacks.get(what) and desk.callbacks.get(what).note(desk.logs[what].head)
        else:
            amid.append(what)
    desk.dispatcher.dispatch()
    amid.clear()
    read += desk.read_all(stream)
    for key in keys:
        expected = [entry.id for entry in desk.logs[key].entries if _is_heard(stream, key, entry)]
        assert [n.id for n in read if n.key == key] == (expected if start or key != A else expected[1:])
    _check_cursors(desk, stream, read)


def _is_heard(stream, key, entry):
    return not entry.keys or stream.registration.called_under(entry.keys) == key


def _check_cursors(desk, stream, read):
    """A cursor has nothing behind it that was not read before: resuming from it brings all the rest."""
    so_far = set()
    for n in read:
        so_far.add((n.key, n.seq))
        for key, (epoch, seq) in places(n).items():
            for entry in desk.logs[key].entries[:seq] if epoch == desk.logs[key].epoch else ():
                unread = _is_heard(stream, key, entry) and (key, entry.seq) not in so_far
                assert not unread or (key == A and entry.seq == 1)
