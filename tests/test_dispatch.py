"""Dispatch: calls start in order, one after the other, and never for who has left."""

from __future__ import annotations

import pytest

from skyhooks._dispatch import Dispatcher
from skyhooks._notification import Notification
from skyhooks._registration import Registration, Seat
from skyhooks._track import Track


def seat(name):
    registration = Registration(("k=a",), name, None)
    return Seat(registration, Track("k=a", []))


def notification(name):
    return Notification(name, "k=a", (), b"1", 0.0)


class Desk:
    """A dispatcher whose calls are recorded, and may do something of their own."""

    def __init__(self):
        self.calls = []
        self.during = {}
        self.dispatcher = Dispatcher(self._invoke)

    def put(self, seats, name, count=None):
        self.dispatcher.outbox.append((seats, len(seats) if count is None else count, notification(name)))

    def _invoke(self, registration, n):
        self.calls.append((registration.callback, n.id))
        self.during.get((registration.callback, n.id), lambda: None)()


def test_calls_everyone_in_order_and_leaves_nothing_over():
    desk = Desk()
    a, b = seat("a"), seat("b")
    desk.put([a, b], "n1")
    desk.put([a], "n2")
    desk.dispatcher.dispatch()
    assert desk.calls == [("a", "n1"), ("b", "n1"), ("a", "n2")]
    assert not desk.dispatcher.outbox


def test_calls_only_as_many_as_sat_there():
    desk = Desk()
    desk.put([seat("a"), seat("late")], "n1", count=1)
    desk.dispatcher.dispatch()
    assert desk.calls == [("a", "n1")]


def test_trace_11_a_callback_that_comes_back_leaves_the_rest_to_the_drainer():
    desk = Desk()
    a, b = seat("a"), seat("b")

    def come_back():
        desk.put([a, b], "n2")
        desk.dispatcher.dispatch()

    desk.during["a", "n1"] = come_back
    desk.put([a, b], "n1")
    desk.dispatcher.dispatch()
    assert desk.calls == [("a", "n1"), ("b", "n1"), ("a", "n2"), ("b", "n2")]


def test_trace_12_who_is_unregistered_during_a_dispatch_is_not_called_any_more():
    desk = Desk()
    a, b = seat("a"), seat("b")
    desk.during["a", "n1"] = lambda: setattr(b.registration, "closed", True)
    desk.put([a, b], "n1")
    desk.put([b], "n2")
    desk.dispatcher.dispatch()
    assert desk.calls == [("a", "n1")]


def test_work_for_afterwards_is_done_at_once_where_nobody_is_called():
    done = []
    Desk().dispatcher.afterwards(lambda: done.append(1))
    assert done == [1]


def test_work_for_afterwards_is_done_when_all_calls_are_made_and_may_bring_more():
    desk = Desk()
    a = seat("a")
    seen = []

    def work():
        seen.append(list(desk.calls))
        desk.put([a], "n3")

    desk.during["a", "n1"] = lambda: desk.dispatcher.afterwards(work)
    desk.put([a], "n1")
    desk.put([a], "n2")
    desk.dispatcher.dispatch()
    assert seen == [[("a", "n1"), ("a", "n2")]]
    assert desk.calls[-1] == ("a", "n3")


def test_an_interrupted_dispatch_can_be_taken_up_again():
    desk = Desk()
    a = seat("a")

    def interrupt():
        raise KeyboardInterrupt

    desk.during["a", "n1"] = interrupt
    desk.put([a], "n1")
    desk.put([a], "n2")
    with pytest.raises(KeyboardInterrupt):
        desk.dispatcher.dispatch()
    desk.dispatcher.dispatch()
    assert desk.calls == [("a", "n1"), ("a", "n2")]
