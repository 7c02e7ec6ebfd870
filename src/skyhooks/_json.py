"""JSON: what may travel as data, and how strictly what arrives is read."""

from __future__ import annotations

import json
import re
from enum import Enum
from typing import Any

import msgspec

from .exceptions import InvalidData

MAX_DATA_BYTES = 131_072
"""As JSON."""
MAX_DEPTH = 64
"""Lists and dicts inside one another, counted from the data itself: `[]` is 1 deep."""

INT_MIN, INT_MAX = -(2**63), 2**63 - 1

_WELCOME = "None, bool, int, float, str, list, tuple and dict travel as they are"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_skip = msgspec.json.Decoder(msgspec.Raw).decode


def encode_data(data: object) -> bytes:
    """Encode data as JSON, and refuse whatever would not arrive as it was sent.

    Dicts, lists and tuples may be of a subclass; they arrive as plain ones.

    Raises:
        InvalidData: with the path of the first value that cannot travel; `$` for the whole.

    """
    raw = _encoded(data) if _is_plain(data) else None
    if raw is None:
        raw = _encode(_Copy().of(data, "$", 1))
    if len(raw) > MAX_DATA_BYTES:
        raise _too_large()
    return raw


def decode_data(raw: bytes) -> object:
    """Decode the JSON of a notification.

    Raises:
        InvalidData: for whatever Python cannot make a value of; nothing else, whatever the bytes.

    """
    try:
        return _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidData("$", f"not readable as JSON ({error})") from None


def is_sound(raw: bytes) -> bool:
    """Tell whether the bytes are one well-formed JSON text, in UTF-8, at most `MAX_DEPTH` deep."""
    try:
        _skip(raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return is_utf8(raw) and is_shallow(raw)


def is_utf8(raw: bytes) -> bool:
    """Tell whether the bytes are UTF-8; msgspec does not look at the strings that it skips."""
    if raw.isascii():
        return True
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_shallow(raw: bytes, max_depth: int = MAX_DEPTH) -> bool:
    """Tell whether a well-formed JSON text is at most so deep, without recursion and in C for the most part."""
    if raw.count(b"[") + raw.count(b"{") <= max_depth:
        return True
    brackets = _STRING.sub(b"", raw).translate(_BRACKETS, _NO_BRACKETS)
    for _ in range(max_depth):
        brackets = brackets.replace(b"[]", b"")  # takes away the innermost layer
        if not brackets:
            return True
    return False


def decode_strict(body: bytes, *, max_depth: int = MAX_DEPTH) -> object:
    """Decode JSON that a stranger wrote, taking only what has one meaning for everybody.

    Raises:
        ValueError: not UTF-8, not well-formed, deeper than `max_depth`, an int past 64 bits, a number past a float,
            a member named twice, half a surrogate pair.

    """
    try:
        _decode(body)  # well-formed as the RFC has it, unlike what `json` takes
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    if not is_shallow(body, max_depth):
        raise ValueError(f"more than {max_depth} deep")
    return json.loads(body.decode(), object_pairs_hook=_distinct, parse_int=_int64)


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is named twice")
    return members


def _int64(digits: str) -> int:
    if len(digits) > len(str(INT_MIN)) or not INT_MIN <= (number := int(digits)) <= INT_MAX:
        raise ValueError("an int past 64 bits")
    return number


def _encoded(data: object) -> bytes | None:
    try:
        return _encode(data)
    except UnicodeEncodeError:
        return None  # half a surrogate pair


def _is_plain(data: object) -> bool:  # noqa: C901 - a call per value would double its time
    """Tell whether data holds nothing but exact types in range, is not too deep and may fit.

    Level by level, the fastest loop that Python has for it. `room` ends what is cyclic or shared before it explodes:
    each value becomes a byte at least.
    """
    room = MAX_DATA_BYTES
    depth = 0
    level: list[Any] = [data]
    while level:
        below: list[Any] = []
        for value in level:
            kind = type(value)
            if kind is str:
                continue  # the encoder refuses half a surrogate pair
            if kind is int:
                if not INT_MIN <= value <= INT_MAX:
                    return False
            elif kind is dict or kind is list or kind is tuple:
                room -= len(value)
                if room < 0 or depth == MAX_DEPTH:
                    return False
                if kind is dict:
                    for name in value:
                        if type(name) is not str:
                            return False
                    below += value.values()
                else:
                    below += value
            elif kind is float:
                if value - value != 0.0:  # NaN and the infinities
                    return False
            elif value is not None and kind is not bool:
                return False
        depth += 1
        level = below
    return True


class _Copy:
    """Makes data plain, or says where it cannot travel: the slow way, for faults and for odd containers."""

    def __init__(self) -> None:
        self._room = MAX_DATA_BYTES

    def of(self, value: object, path: str, depth: int) -> object:
        self._room -= 1
        if self._room < 0:
            raise _too_large()
        if isinstance(value, (dict, list, tuple)) and not isinstance(value, Enum):
            if depth > MAX_DEPTH:
                raise InvalidData(path, f"more than {MAX_DEPTH} deep, or inside itself")
            return self._members(value, path, depth)
        if problem := _problem(value):
            raise InvalidData(path, problem)
        return value

    def _members(self, value: Any, path: str, depth: int) -> object:
        if not isinstance(value, dict):
            return [self.of(member, f"{path}[{index}]", depth + 1) for index, member in enumerate(value)]
        members = {}
        for name, member in value.items():
            if problem := _name_problem(name):
                raise InvalidData(path, problem)
            members[name] = self.of(member, path + _step(name), depth + 1)
        return members


def _too_large() -> InvalidData:
    return InvalidData("$", f"more than {MAX_DATA_BYTES} bytes as JSON; send a reference to it instead")


def _problem(value: object) -> str:
    kind = type(value)
    if value is None or kind is bool:
        return ""
    if isinstance(value, str) and kind is str:
        return "" if _fits_utf8(value) else "half a surrogate pair, which UTF-8 cannot hold"
    if isinstance(value, int) and kind is int:
        return "" if INT_MIN <= value <= INT_MAX else "an int past 64 bits; send it as a str"
    if isinstance(value, float) and kind is float:
        return "" if value - value == 0.0 else f"JSON has no {value!r}; send None or a str"
    return f"{kind.__name__} cannot travel as JSON; {_WELCOME}"


def _name_problem(name: object) -> str:
    if type(name) is not str:
        return f"a name in a dict is a str, not {type(name).__name__}"
    return "" if _fits_utf8(name) else "a name holds half a surrogate pair, which UTF-8 cannot hold"


def _fits_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _step(name: str) -> str:
    if _NAME.match(name):
        return f".{name}"
    shown = name if len(name) <= 64 else f"{name[:63]}…"
    return f"[{json.dumps(shown)}]"
