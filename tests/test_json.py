"""JSON: nothing travels that would arrive as something else, and nothing is read that has two meanings (JSN)."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime as dt
import decimal
import enum
import json
import math
import uuid

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skyhooks._json import decode_data, decode_strict, encode_data, is_sound
from skyhooks.exceptions import InvalidData

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
DATA = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=12
)
JSON_LIKE = st.text(st.sampled_from('[]{}",:0129-+.eE \n\\u"dDtrueé\x00'), max_size=24).map(str.encode)


class OddList(list):
    pass


def nested(depth: int) -> object:
    data: object = []
    for _ in range(depth - 1):
        data = [data]
    return data


# -- what a sender may send ---------------------------------------------------------------------------


@given(DATA)
def test_data_arrives_as_it_was_sent(data):
    raw = encode_data(data)
    assert decode_data(raw) == json.loads(raw) == decode_strict(raw) == data
    assert is_sound(raw)


def test_tuples_and_odd_containers_arrive_as_plain_ones():
    point = collections.namedtuple("point", "x y")(1, 2.5)
    counts = collections.defaultdict(int, {"é": 1})
    raw = encode_data({"t": (1, (2,)), "p": point, "c": counts, "o": collections.OrderedDict(a=[])})
    assert decode_data(raw) == {"t": [1, [2]], "p": [1, 2.5], "c": {"é": 1}, "o": {"a": []}}


def test_an_odd_container_is_read_by_its_own_methods():
    class Doubled(dict):
        def items(self):
            return [(name, 2 * value) for name, value in super().items()]

    assert encode_data([Doubled(a=1)]) == b'[{"a":2}]'


@given(DATA)
def test_data_in_an_odd_container_becomes_the_same_bytes(data):
    assert encode_data([data]) == encode_data(OddList([data]))


def test_an_odd_container_is_held_to_the_same_limits():
    limits = OddList([2**63 - 1, -(2**63), 1.5, "é", None, True])
    assert encode_data(limits) == encode_data(list(limits))
    lists, dicts = OddList(), collections.OrderedDict()
    for _ in range(63):
        lists, dicts = OddList([lists]), collections.OrderedDict(a=dicts)
    assert encode_data(lists) == encode_data(nested(64))
    assert is_sound(encode_data(dicts))
    for data in ([lists], [dicts]):
        with pytest.raises(InvalidData, match="more than 64 deep"):
            encode_data(data)


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Real(float):
    pass


class Level(enum.IntEnum):
    HIGH = 3


class Colour(enum.StrEnum):
    RED = "red"


class Pair(tuple, enum.Enum):
    ONE = (1, 2)


class Row(msgspec.Struct):
    rows: int = 1


@dataclasses.dataclass
class Plain:
    rows: int = 1


NO_DATA = [
    *(math.nan, math.inf, -math.inf, 2**63, -(2**63) - 1, 2**64, "\ud800", "a\udfff"),
    *(b"x", bytearray(b"x"), memoryview(b"x"), {1}, frozenset("a"), 1j, object(), range(2), iter([1]), ..., int),
    *(dt.date(2026, 1, 1), dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.timedelta(1)),
    *(decimal.Decimal(1), uuid.UUID(int=1), Text("a"), Number(1), Real(1.5), Level.HIGH, Colour.RED, Pair.ONE),
    *(Row(), Plain(), msgspec.Raw(b"1"), msgspec.UNSET, collections.UserDict(a=1), collections.deque([1])),
]


@pytest.mark.parametrize("value", NO_DATA, ids=lambda value: type(value).__name__)
def test_jsn_what_cannot_travel_is_refused_with_its_path(value):
    for data, path in (
        (value, "$"),
        ({"rows": [0, 1, 2, {"at": value}]}, "$.rows[3].at"),
        ([({"odd name": (None, value)},), math.nan], '$[0][0]["odd name"][1]'),
        (collections.OrderedDict({"a": 1, "é": value}), '$["\\u00e9"]'),
    ):
        with pytest.raises(InvalidData) as raised:
            encode_data(data)
        assert raised.value.path == path


@pytest.mark.parametrize("name", [1, None, True, 1.5, b"a", ("a",), Colour.RED, Text("a"), "\ud800"], ids=ascii)
def test_jsn_a_name_that_is_no_text_is_refused(name):
    with pytest.raises(InvalidData) as raised:
        encode_data({"rows": [{"a": 1}, {name: 1}]})
    assert raised.value.path == "$.rows[1]"
    assert "name" in raised.value.problem


def test_a_long_name_is_cut_in_a_path():
    with pytest.raises(InvalidData) as raised:
        encode_data({"x" * 10_000: math.nan})
    assert len(str(raised.value)) < 200


def test_jsn_64_levels_travel_and_65_do_not():
    assert encode_data(nested(64)) == b"[" * 64 + b"]" * 64
    assert encode_data({"a": nested(63)})
    for data in (nested(65), [nested(64)], {"a": nested(64)}, nested(100_000)):
        with pytest.raises(InvalidData, match="more than 64 deep"):
            encode_data(data)


def test_64_levels_may_hold_anything_at_their_bottom():
    data: object = {"a": None, "b": "x", "c": 1.5, "d": True}
    for _ in range(63):
        data = (data,)
    assert is_sound(encode_data(data))


def test_cycles_are_refused():
    inside: dict[str, object] = {}
    inside["me"] = inside
    around: list[object] = []
    around.append((around, around))
    for data in (inside, around):
        with pytest.raises(InvalidData, match="inside itself"):
            encode_data(data)


def test_shared_parts_that_would_explode_are_refused_at_once():
    data: object = "x"
    for _ in range(60):
        data = [data, data]
    with pytest.raises(InvalidData, match="131072 bytes"):
        encode_data(data)


def test_128_kib_travel_and_a_byte_more_does_not():
    assert len(encode_data("x" * (131_072 - 2))) == 131_072
    for data in ("x" * (131_071), "é" * (65_536), [1] * 131_072, [[]] * 50_000):
        with pytest.raises(InvalidData, match="131072 bytes"):
            encode_data(data)


def test_an_odd_container_without_end_is_refused():
    class Endless(list):
        def __iter__(self):
            while True:
                yield 0

    with pytest.raises(InvalidData, match="131072 bytes"):
        encode_data(Endless())


# -- what an instance and a callback read -------------------------------------------------------------


def is_sound_by_json(raw: bytes) -> bool:
    """Say the same in other words: what `json` reads, less what it should not."""

    def refuse(_: object) -> None:
        raise ValueError

    def pairs(members: list[tuple[str, object]]) -> list[object]:
        return [part for member in members for part in member]  # repeated names are all looked at

    def depth(value: object) -> int:
        return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0

    try:
        value = json.loads(raw.decode(), parse_constant=refuse, object_pairs_hook=pairs)
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        return False
    return depth(value) <= 64


@given(JSON_LIKE | st.binary(max_size=12) | DATA.map(lambda data: json.dumps(data).encode()))
@example(b'"\xff"')
@example(b'{"\xff":1}')
@example(b'"\xed\xa0\x80"')
@example(b'"\xc0\x80"')
@example(b'"\xf4\x90\x80\x80"')
@example(b'"\\ud800"')
@example(b'"\\udc00\\ud800"')
@example(b'"\\ud83d\\ude00"')
@example(b"1e999")
@example(b" [1] ")
@example(b"[1]x")
@example(b"\xef\xbb\xbf1")
def test_jsn_sound_is_what_json_reads_in_utf8(raw):
    assert is_sound(raw) is is_sound_by_json(raw)


@given(
    st.integers(60, 70),
    st.sampled_from(["[]", "{}", "[[],[],{}]", '"]]][[["', '"\\"[["', "1", '{"}":"[{"}']),
    st.booleans(),
)
def test_jsn_depth_is_told_from_brackets_in_texts_and_siblings(depth, inner, dicts):
    begin, end = ('{"[\\\\":', "}") if dicts else ("[1,[],", "]")
    raw = (begin * depth + inner + end * depth).encode()
    within = {"1": 0, "[[],[],{}]": 2}.get(inner, 0 if inner.startswith('"') else 1)
    levels = depth + max(within, 0 if dicts else 1)
    assert is_sound(raw) is (levels <= 64)


def test_many_shallow_parts_are_sound():
    assert is_sound(b"[" + b'{"a":[1,"["]},' * 500 + b"[]]")


@given(JSON_LIKE | st.binary(max_size=40))
@example(b"")
@example(b"1e999")
@example(b"9" * 5000)
@example(b'"\xff"')
@example(b"[" * 200_000)
@example(b"[" * 200_000 + b"]" * 200_000)
def test_reading_data_raises_nothing_but_invalid_data(raw):
    with contextlib.suppress(InvalidData):
        decode_data(raw)


def test_unreadable_data_has_no_path_inside():
    with pytest.raises(InvalidData, match="not readable as JSON") as raised:
        decode_data(b"{")
    assert raised.value.path == "$"


ONE_MEANING = [
    b'{"a":[1,-1.5e3,true,null,"\\u00e9\\ud83d\\ude00"]}',
    b"9223372036854775807",
    b"-9223372036854775808",
    b" 0 ",
]


@pytest.mark.parametrize("body", ONE_MEANING)
def test_what_has_one_meaning_is_read(body):
    assert decode_strict(body) == json.loads(body)


REFUSED = {
    "nested 200 000 deep": b"[" * 200_000 + b"]" * 200_000,
    "nested 65 deep": b"[" * 65 + b"]" * 65,
    "nested 65 deep in dicts": b'{"a":' * 65 + b"1" + b"}" * 65,
    "int past int64": b"9223372036854775808",
    "int before int64": b"[-9223372036854775809]",
    "int past uint64": b"18446744073709551616",
    "4301 digits": b"1" * 4301,
    "NaN": b"[NaN]",
    "Infinity": b"[Infinity]",
    "-Infinity": b"[-Infinity]",
    "1e999": b"[1e999]",
    "doubled name": b'{"a":1,"a":1}',
    "doubled name inside": b'[{"b":{"a":1,"\\u0061":2}}]',
    "lone surrogate": b'"\\ud800"',
    "lone surrogate in a name": b'{"\\udc00":1}',
    "lone surrogate in UTF-8": b'"\xed\xa0\x80"',
    "BOM": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "UTF-16 without BOM": '{"a":1}'.encode("utf-16-le"),
    "UTF-32": '{"a":1}'.encode("utf-32-be"),
    "not UTF-8": b'"\xff"',
    "truncated": b'{"a":[1,2',
    "trailing": b"{}{}",
    "trailing comma": b"[1,]",
    "empty": b"",
    "blank": b" \n",
    "control character": b'"\x01"',
    "single quotes": b"{'a':1}",
    "comment": b"/**/1",
    "leading zero": b"01",
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_jsn_what_has_none_or_two_is_refused(body):
    with pytest.raises(ValueError, match=r"\S"):
        decode_strict(body)


def test_jsn_64_levels_are_read():
    assert decode_strict(b"[" * 64 + b"]" * 64) == nested(64)
    assert decode_strict(b"[" * 65 + b"]" * 65, max_depth=65) == nested(65)


@given(JSON_LIKE)
def test_strict_reading_takes_nothing_that_is_not_sound(body):
    try:
        decode_strict(body)
    except ValueError:
        return
    assert is_sound(body)
