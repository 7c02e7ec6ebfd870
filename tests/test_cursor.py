"""Cursors: they hold what was put in, travel anywhere, and nothing else passes for one."""

from __future__ import annotations

import base64
import re
import struct
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skyhooks._cursor import MAX_KEYS, decode_cursor, encode_cursor, key_hash
from skyhooks._keys import canonical_keys
from skyhooks.exceptions import InvalidCursor

EPOCHS = st.text("0123456789abcdef", min_size=16, max_size=16)
SEQS = st.integers(0, 2**63 - 1)
POSITIONS = st.dictionaries(st.text("abc=", min_size=1, max_size=9), st.tuples(EPOCHS, SEQS), max_size=MAX_KEYS)


def made(body: bytes) -> str:
    """Make a cursor with a right check sum, as anybody can."""
    return base64.urlsafe_b64encode(body + struct.pack(">I", zlib.crc32(body))).rstrip(b"=").decode()


@given(POSITIONS)
def test_a_cursor_holds_the_positions_that_were_put_in(positions):
    cursor = encode_cursor((key, *position) for key, position in positions.items())
    assert decode_cursor(cursor) == {key_hash(key): position for key, position in positions.items()}


def test_the_longest_cursor_fits_a_header_and_a_url():
    keys = canonical_keys({"n" * 64: [f"{number:03}" + "é" * 126 for number in range(MAX_KEYS)]})
    cursor = encode_cursor((key, "f" * 16, 2**63 - 1) for key in keys)
    assert len(cursor) < 3000
    assert re.fullmatch(r"[A-Za-z0-9_-]+", cursor)
    assert len(decode_cursor(cursor)) == MAX_KEYS


@given(st.text(max_size=80) | st.text("AQab-_=", max_size=80) | st.binary(max_size=60).map(made))
@example("")
@example("start")
@example("=")
@example("A")
@example("\ud800")
@example(made(b""))
def test_whatever_is_decoded_was_made_by_encode(text):
    try:
        places = decode_cursor(text)
    except InvalidCursor:
        return
    assert len(places) <= MAX_KEYS


@given(POSITIONS, st.data())
def test_a_changed_character_is_noticed(positions, data):
    cursor = encode_cursor((key, *position) for key, position in positions.items())
    index = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.sampled_from("ABCDxyz019-_+/=. é").filter(lambda one: one != cursor[index]))
    with pytest.raises(InvalidCursor):
        decode_cursor(cursor[:index] + other + cursor[index + 1 :])


def test_one_position_has_one_text():
    cursor = encode_cursor([("a=1", "0123456789abcdef", 3)])
    for other in (cursor + "=", cursor + "==", cursor + "\n", " " + cursor):
        with pytest.raises(InvalidCursor):
            decode_cursor(other)


def test_the_standard_alphabet_is_not_taken_for_the_url_safe_one():
    cursor = encode_cursor([("a=1", "ff" * 8, seq) for seq in (2**62, 2**61 + 0xFBEFBE)])
    assert "-" in cursor or "_" in cursor
    with pytest.raises(InvalidCursor, match="not a cursor"):
        decode_cursor(cursor.replace("-", "+").replace("_", "/"))


def test_a_seq_that_no_store_can_hold_is_refused():
    place = struct.pack(">8s8sQ", b"k" * 8, b"e" * 8, 2**63)
    with pytest.raises(InvalidCursor, match="damaged"):
        decode_cursor(made(b"\x01" + place))


@pytest.mark.parametrize("body", [b"", b"\x02", b"\x01x", b"\x01" + b"p" * 24 * (MAX_KEYS + 1), b"\x01" + b"p" * 23])
def test_another_layout_is_refused(body):
    with pytest.raises(InvalidCursor, match="another version"):
        decode_cursor(made(body))


@pytest.mark.parametrize("cursor", [None, b"AQ", 1, ("a", 1)])
def test_what_is_no_text_is_refused(cursor):
    with pytest.raises(InvalidCursor, match="a cursor is a str"):
        decode_cursor(cursor)


def test_the_error_says_where_a_cursor_comes_from():
    with pytest.raises(InvalidCursor, match=r"registry\.cursor\(\)"):
        decode_cursor("nonsense")
