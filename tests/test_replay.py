"""Replay windows (RPL): no delivery is fresh twice, none is lost for its shape, and memory is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyhooks._replay import (
    Admission,
    ForeignWindow,
    Replay,
    SenderWindows,
    split,
)

MIB = 1_048_576
SENDER = "0123456789abcdef" * 2
STEPS = st.lists(st.integers(-3000, 3000) | st.integers(-40, 40), max_size=120)


def deliver(windows: SenderWindows, counter: int, now: float = 0.0, sender: str = SENDER) -> Replay:
    """Do what an instance does: ask, and answer what has no answer yet."""
    known = windows.seen(sender, counter, now)
    if known.answer is None:
        windows.remember(sender, counter, b"answer %d" % counter, now)
    return known


# -- whose id it is -----------------------------------------------------------------------------------


@given(st.text("0123456789abcdef", min_size=32, max_size=32), st.integers(0, 10**18 - 1))
def test_rpl_ids_of_ours_are_split(sender, counter):
    assert split(f"{sender}-{counter}") == (sender, counter)


@pytest.mark.parametrize(
    "webhook_id",
    [
        *("", "task-17", "task-2000", "msg_2a", SENDER, f"{SENDER}-", f"-{SENDER}-1", f"{SENDER}-1-1", f"{SENDER}--1"),
        *(
            f"{SENDER}-01",
            f"{SENDER}-00",
            f"{SENDER}-+1",
            f"{SENDER}-1a",
            f"{SENDER}-1\n",
            f"{SENDER}-٣",
            f"{SENDER}_1",
        ),
        *(f"{SENDER.upper()}-1", f"{SENDER}0-1", f"{SENDER[1:]}-1", f"g{SENDER[1:]}-1", f"{SENDER}-{10**18}"),
    ],
)
def test_rpl_ids_of_any_other_shape_are_foreign(webhook_id):
    assert split(webhook_id) is None


# -- our own senders ----------------------------------------------------------------------------------


@given(STEPS)
def test_rpl_what_is_fresh_agrees_with_a_set_of_all_counters(steps):
    windows = SenderWindows()
    had: set[int] = set()
    counter = 5000
    for step in steps:
        counter = max(0, counter + step)
        expected = counter not in had and counter > max(had, default=0) - 1024
        assert (deliver(windows, counter) is Replay.FRESH) is expected
        if expected:
            had.add(counter)


@given(st.permutations(range(60)), st.integers(1, 10**15))
def test_rpl_any_order_within_the_window_is_fresh_once(order, start):
    windows = SenderWindows()
    assert all(deliver(windows, start + counter) is Replay.FRESH for counter in order)
    assert not any(deliver(windows, start + counter) is Replay.FRESH for counter in order)


def test_rpl_the_window_reaches_back_1024_deliveries():
    windows = SenderWindows()
    deliver(windows, 5000)
    assert deliver(windows, 5000 - 1023) is Replay.FRESH
    assert deliver(windows, 5000 - 1024) is Replay.REPEATED


def test_rpl_a_repetition_gets_the_first_answer_again_while_it_is_among_the_last_32():
    windows = SenderWindows()
    for counter in range(33):
        assert deliver(windows, counter) is Replay.FRESH
    assert [deliver(windows, counter).answer for counter in (1, 32)] == [b"answer 1", b"answer 32"]
    assert deliver(windows, 0) is Replay.REPEATED


def test_rpl_the_last_32_are_those_answered_last_whatever_their_counters():
    windows = SenderWindows()
    for counter in range(0, 32 * 20, 20):  # one of 20 targets
        deliver(windows, counter)
    assert deliver(windows, 0).answer == b"answer 0"


def test_rpl_a_second_answer_to_the_same_delivery_changes_nothing():
    windows = SenderWindows()
    windows.remember(SENDER, 7, b"first", 0.0)
    windows.remember(SENDER, 7, b"second", 0.0)
    assert windows.seen(SENDER, 7, 0.0).answer == b"first"


def test_rpl_senders_are_judged_apart():
    windows = SenderWindows()
    deliver(windows, 9000)
    assert deliver(windows, 1, sender="f" * 32) is Replay.FRESH
    assert deliver(windows, 1) is Replay.REPEATED
    assert deliver(windows, 1, sender="f" * 32).answer == b"answer 1"


def test_rpl_asking_leaves_no_trace():
    windows = SenderWindows()
    assert windows.seen(SENDER, 1, 0.0) is windows.seen(SENDER, 1, 0.0) is Replay.FRESH
    assert len(windows) == 0


def test_rpl_a_sender_is_forgotten_when_its_timestamps_are_stale_and_not_before():
    windows = SenderWindows()
    deliver(windows, 7, now=100.0)
    assert deliver(windows, 7, now=700.0).answer == b"answer 7"
    assert deliver(windows, 7, now=1300.0).answer == b"answer 7"
    assert windows.seen(SENDER, 7, 1900.5) is Replay.FRESH
    assert len(windows) == 0


def test_rpl_a_retry_without_a_kept_answer_keeps_its_sender_as_well():
    windows = SenderWindows()
    deliver(windows, 5000, now=0.0)
    assert deliver(windows, 1, now=400.0) is Replay.REPEATED
    assert deliver(windows, 5000, now=900.0).answer == b"answer 5000"


def test_rpl_only_stale_senders_are_forgotten():
    windows = SenderWindows()
    deliver(windows, 1, now=0.0, sender="a" * 32)
    deliver(windows, 1, now=1.0, sender="b" * 32)
    deliver(windows, 2, now=500.0, sender="a" * 32)
    assert windows.seen("b" * 32, 1, 601.5) is Replay.FRESH
    assert windows.seen("a" * 32, 1, 601.5).answer == b"answer 1"


def test_rpl_past_65536_senders_the_one_unheard_for_longest_is_forgotten():
    windows = SenderWindows()
    for number in range(65_536):
        windows.remember(f"{number:032x}", 1, b"a", 0.0)
    windows.seen(f"{0:032x}", 1, 1.0)
    windows.remember("f" * 32, 1, b"a", 1.0)
    assert len(windows) == 65_536
    assert windows.seen(f"{0:032x}", 1, 1.0).answer == b"a"
    assert windows.seen(f"{1:032x}", 1, 1.0) is Replay.FRESH


def test_rpl_past_16_mib_the_oldest_answers_are_dropped_and_their_deliveries_stay_known():
    windows = SenderWindows()
    answer = b"x" * MIB
    for number in range(17):
        windows.remember(f"{number:032x}", 1, answer, 0.0)
    assert windows.seen(f"{0:032x}", 1, 0.0) is Replay.REPEATED
    assert windows.seen(f"{1:032x}", 1, 0.0).answer == answer


def test_rpl_16_mib_of_answers_are_kept_to_the_byte():
    windows = SenderWindows()
    windows.remember(SENDER, 1, b"x" * 8 * MIB, 0.0)
    windows.remember(SENDER, 2, b"x" * 8 * MIB, 0.0)
    assert windows.seen(SENDER, 1, 0.0).answer is not None
    windows.remember(SENDER, 3, b"x", 0.0)
    assert windows.seen(SENDER, 1, 0.0) is Replay.REPEATED


def test_rpl_answers_of_forgotten_senders_make_room():
    windows = SenderWindows()
    answer = b"x" * (8 * MIB)
    for start in range(4):
        now = start * 1000.0
        assert windows.seen(SENDER, 1, now) is Replay.FRESH
        windows.remember(SENDER, 1, answer, now)
        windows.remember(SENDER, 2, answer, now)
        assert windows.seen(SENDER, 1, now).answer == answer


def test_rpl_answers_past_the_32nd_make_room():
    windows = SenderWindows()
    answer = b"x" * (16 * MIB // 33)
    windows.remember("f" * 32, 1, answer, 0.0)
    for counter in range(100):
        windows.remember(SENDER, counter, answer, 0.0)
    assert windows.seen("f" * 32, 1, 0.0).answer == answer


# -- foreign senders ----------------------------------------------------------------------------------


def test_rpl_foreign_ids_are_judged_as_a_whole():
    window = ForeignWindow()
    for webhook_id in ("task-2000", "task-17", "task-017", "Task-17"):
        assert window.admit(webhook_id, 0.0) is Admission.FRESH
        assert window.admit(webhook_id, 0.0) is Admission.SEEN


def test_rpl_a_full_window_admits_nothing_new_rather_than_forget():
    window = ForeignWindow(capacity=2)
    assert [window.admit(one, 0.0) for one in "abc"] == [Admission.FRESH, Admission.FRESH, Admission.FULL]
    assert window.admit("a", 0.0) is Admission.SEEN
    assert window.admit("c", 600.0) is Admission.FULL
    assert len(window) == 2


def test_rpl_a_window_holds_100_000_foreign_ids():
    window = ForeignWindow()
    assert all(window.admit(str(number), 0.0) is Admission.FRESH for number in range(100_000))
    assert window.admit("one more", 0.0) is Admission.FULL


def test_rpl_foreign_ids_are_forgotten_when_their_timestamps_are_stale_and_not_before():
    window = ForeignWindow(capacity=1)
    assert window.admit("a", 0.0) is Admission.FRESH
    assert window.admit("a", 600.0) is Admission.SEEN
    assert window.admit("a", 1200.0) is Admission.SEEN  # as it was sent again at 600, perhaps with a fresh timestamp
    assert window.admit("b", 1800.5) is Admission.FRESH


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0, 400)), max_size=60))
def test_rpl_no_foreign_id_is_fresh_twice_within_600_seconds(deliveries):
    window = ForeignWindow(capacity=3)
    heard: dict[str, float] = {}
    now = 0.0
    for webhook_id, pause in deliveries:
        now += pause
        known = {one for one, at in heard.items() if now - at <= 600.0}
        expected = Admission.SEEN if webhook_id in known else Admission.FULL if len(known) == 3 else Admission.FRESH
        assert window.admit(webhook_id, now) is expected
        if expected is not Admission.FULL:
            heard[webhook_id] = now
        assert len(window) <= 3
