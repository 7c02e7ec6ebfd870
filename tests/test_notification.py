"""What callbacks are given: notifications and gaps."""

from __future__ import annotations

import pytest

from skyhooks._cursor import decode_cursor, encode_cursor, key_hash
from skyhooks._notification import Gap, Notification
from skyhooks._values import Position
from skyhooks.exceptions import InvalidData

A, B = "k=a", "k=b"
EPOCH = "0123456789abcdef"


def notification(raw=b'{"rows": [1, 2]}', **given):
    return Notification("n1", A, (), raw, 5.0, EPOCH, 7, **given)


def test_data_is_decoded_once_on_first_use():
    n = notification()
    assert n.data == {"rows": [1, 2]}
    assert n.data is n.data


def test_data_that_python_cannot_hold_raises_whenever_it_is_used():
    n = notification(raw=b"1e999")
    for _ in range(2):
        with pytest.raises(InvalidData):
            _ = n.data
    assert n.raw == b"1e999"


def test_the_cursor_is_its_own_place_where_no_other_is_given():
    n = notification()
    assert decode_cursor(n.cursor) == {key_hash(A): (EPOCH, 7)}
    assert n.cursor is n.cursor


def test_a_variant_is_the_same_notification_elsewhere():
    places = ((A, EPOCH, 7), (B, EPOCH, 3))
    variant = notification().variant(replayed=True, positions=places)
    assert (variant.id, variant.key, variant.keys, variant.raw, variant.sent_at) == (
        "n1",
        A,
        (),
        b'{"rows": [1, 2]}',
        5.0,
    )
    assert (variant.epoch, variant.seq, variant.replayed) == (EPOCH, 7, True)
    assert variant.cursor == encode_cursor(places)
    assert not notification().replayed


def test_an_unknown_attribute_is_an_error_as_everywhere():
    with pytest.raises(AttributeError, match="rows"):
        _ = notification().rows


def test_its_repr_keeps_the_data_out():
    assert repr(notification(raw=b'"secret"')) == "Notification(id='n1', key='k=a', 8 bytes)"


def test_a_gap_says_why_and_where_to_go_on():
    places = ((A, EPOCH, 9),)
    gap = Gap(A, "trimmed", places, Position(EPOCH, 4))
    assert (gap.key, gap.reason, gap.cursor) == (A, "trimmed", encode_cursor(places))
    assert repr(gap) == "Gap(key='k=a', reason='trimmed')"
