"""The callback table: which keys are wanted, by whom."""

from __future__ import annotations

from collections import deque

from logs import Log
from skyhooks._callbacks import Callbacks
from skyhooks._cursor import decode_cursor
from skyhooks._registration import Registration

A, B = "k=a", "k=b"


def seated(callbacks, *keys):
    registration = Registration(keys, print, None)
    callbacks.add(registration)
    return registration


def placed(callbacks, *keys):
    registration = seated(callbacks, *keys)
    registration.begin({key: Log(key).head for key in keys}, {})
    return registration


def test_a_key_is_wanted_from_its_first_registration_to_its_last():
    callbacks = Callbacks(deque())
    first, second = seated(callbacks, A, B), seated(callbacks, A)
    assert [track.key for track in callbacks] == [A, B]
    assert len(callbacks) == 2
    assert callbacks.discard(first) == [B]
    assert callbacks.discard(second) == [A]
    assert (len(callbacks), callbacks.get(A)) == (0, None)


def test_discarding_twice_changes_nothing_even_when_the_key_is_wanted_again():
    callbacks = Callbacks(deque())
    first = seated(callbacks, A)
    callbacks.discard(first)
    again = seated(callbacks, A)
    assert callbacks.discard(first) == []
    assert callbacks.get(A) is again.seats[0].track


def test_discarding_closes_the_registration():
    callbacks = Callbacks(deque())
    registration = seated(callbacks, A)
    assert not registration.closed
    callbacks.discard(registration)
    assert registration.closed


def test_closing_ends_everybody_also_who_is_still_joining():
    callbacks = Callbacks(deque())
    registrations = [placed(callbacks, A, B), seated(callbacks, B)]
    callbacks.close()
    assert all(one.closed for one in registrations)
    assert len(callbacks) == 0


def test_registrations_of_one_key_share_its_track():
    callbacks = Callbacks(deque())
    first, second = seated(callbacks, A), seated(callbacks, A)
    assert first.seats[0].track is second.seats[0].track is callbacks.get(A)


def test_rotation_shows_every_key_once_a_round():
    callbacks = Callbacks(deque())
    keys = {seated(callbacks, f"k={i}").keys[0] for i in range(10)}
    rounds = [sorted(key for _ in range(4) for key in callbacks.rotate(3)) for _ in range(2)]
    assert rounds == [sorted(keys)] * 2


def test_rotation_shows_no_key_that_is_not_wanted_any_more():
    callbacks = Callbacks(deque())
    registrations = [seated(callbacks, f"k={i}") for i in range(4)]
    shown = callbacks.rotate(2)
    for registration in registrations:
        if registration.keys[0] not in shown:
            callbacks.discard(registration)
    assert callbacks.rotate(2) == []
    assert sorted(callbacks.rotate(9)) == sorted(shown)


def test_finds_those_who_hold_any_of_some_keys_each_once():
    callbacks = Callbacks(deque())
    both, b = placed(callbacks, A, B), placed(callbacks, B)
    assert callbacks.registrations((A, B, "k=c")) == [both, b]
    assert callbacks.registrations(("k=c",)) == []


def test_does_not_find_those_who_are_still_joining():
    callbacks = Callbacks(deque())
    seated(callbacks, A)
    assert callbacks.registrations((A,)) == []


def test_a_registration_is_called_under_the_first_key_of_the_notification_that_it_holds():
    registration = Registration((A, B), print, None)
    assert registration.called_under(("k=c", B, A)) == B
    assert registration.called_under(("k=c",)) is None


def test_a_registration_has_no_place_until_the_store_has_answered():
    callbacks = Callbacks(deque())
    registration = seated(callbacks, A, B)
    assert decode_cursor(registration.cursor) == {}
    logs = {key: Log(key) for key in (A, B)}
    logs[B].append("n1")
    registration.begin({key: log.head for key, log in logs.items()}, {A: logs[B].head})
    assert registration.places() == ((A, logs[B].epoch, 1), (B, logs[B].epoch, 1))


def test_a_registration_shows_its_keys_and_whether_it_has_ended():
    assert repr(Registration((A,), print, None)) == "Registration(keys=['k=a'], closed=False)"
