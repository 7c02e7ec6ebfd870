"""Canonical keys: what may be a key, and that each has one text."""

from __future__ import annotations

import enum
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyhooks._keys import canonical_keys, is_canonical, split_key
from skyhooks.exceptions import InvalidKey

NAMES = st.text("ABCXYZabcxyz0189_.:-", min_size=1, max_size=64)
TEXTS = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=256).filter(
    lambda text: len(text.encode()) <= 256
)
VALUES = TEXTS | st.integers(-(10**250), 10**250) | st.uuids()


class Colour(str, enum.Enum):  # noqa: UP042 - StrEnum formats as its value, this one does not
    RED = "red"

    def __str__(self) -> str:
        return "Colour=RED"

    __format__ = object.__format__


class Level(enum.IntEnum):
    HIGH = 3


@given(st.dictionaries(NAMES, VALUES | st.lists(VALUES, min_size=1, max_size=4), min_size=1, max_size=8))
def test_every_key_of_a_mapping_is_canonical_and_splits_into_what_was_given(keys):
    given_ = [
        (name, str(one)) for name, value in keys.items() for one in (value if isinstance(value, list) else [value])
    ]
    assert [split_key(key) for key in canonical_keys(keys)] == list(dict.fromkeys(given_))
    assert all(is_canonical(key) for key in canonical_keys(keys))


@given(st.text(st.sampled_from("ab=. \x00\x7f\x85é€\U0001f600\ud800\n-"), max_size=70) | st.text(max_size=300))
def test_what_is_canonical_could_have_been_given(key):
    name, _, value = key.partition("=")
    try:
        expected = "=" in key and canonical_keys({name: value}) == (key,)
    except InvalidKey:
        expected = False
    assert is_canonical(key) is expected


def test_values_are_compared_as_text():
    assert canonical_keys({"account": 42}) == canonical_keys({"account": "42"}) == ("account=42",)
    assert canonical_keys({"task": UUID(int=7)}) == ("task=00000000-0000-0000-0000-000000000007",)


def test_repeats_are_one_key_in_the_place_of_the_first():
    assert canonical_keys({"b": ["1", 2, 1], "a": 1}) == ("b=1", "b=2", "a=1")


def test_an_enum_is_the_text_or_number_that_it_holds():
    assert canonical_keys({Colour.RED: Colour.RED, "level": Level.HIGH}) == ("red=red", "level=3")


def test_the_first_equals_sign_divides_since_a_name_holds_none():
    assert split_key(canonical_keys({"a": "b=c"})[0]) == ("a", "b=c")


@pytest.mark.parametrize("value", ["x" * 256, "é" * 128, "\U0001f600" * 64, 10**255, -(10**254), "a b", "\u2028", "="])
def test_values_up_to_256_bytes_are_taken(value):
    (key,) = canonical_keys({"n": value})
    assert is_canonical(key)


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            pytest.param("x" * 257, id="long"),
            "é" * 129,
            "é" * 128 + "x",
            "\x00",
            "a\n",
            "\x1f",
            "\x7f",
            "\x85",
            "\ud800",
            10**256,
            -(10**255),
            pytest.param(10**5000, id="10**5000"),
        ),
        *(True, None, 1.0, b"x", {"a": 1}, ("a",), {"a"}, frozenset({1}), object(), []),
        *([True], [None], [[1]], [b"x"], [""], [1, 1.5]),
    ],
)
def test_any_other_value_is_refused(value):
    with pytest.raises(InvalidKey, match=r"^n: "):
        canonical_keys({"n": value})


@pytest.mark.parametrize("name", ["", "x" * 65, "a=b", "a b", "é", "a\n", "$a", "a/b", "٣", 1, None, b"a"])
def test_a_name_of_other_characters_is_refused(name):
    with pytest.raises(InvalidKey, match="is no key name"):
        canonical_keys({name: 1})


@pytest.mark.parametrize("keys", [None, "a=b", ["a=b"], [("a", 1)], 42, {"a"}])
def test_keys_that_are_no_mapping_are_refused(keys):
    with pytest.raises(InvalidKey, match="a mapping such as"):
        canonical_keys(keys)


def test_no_key_at_all_is_refused():
    with pytest.raises(InvalidKey, match="at least one"):
        canonical_keys({})


def test_64_keys_are_taken_and_65_refused():
    assert len(canonical_keys({"n": list(range(64))})) == 64
    with pytest.raises(InvalidKey, match="65 keys"):
        canonical_keys({"n": list(range(64)), "m": 1})


def test_a_message_shows_only_the_beginning_of_what_was_given():
    with pytest.raises(InvalidKey) as raised:
        canonical_keys({"x" * 100_000: 1})
    assert len(str(raised.value)) < 200


def test_a_message_names_the_kind_of_what_was_given():
    for value, kind in ((None, "None"), (1.5, "float"), ((1,), "tuple")):
        with pytest.raises(InvalidKey, match=f"not {kind}$"):
            canonical_keys({"n": value})
