"""What data may be, and how it becomes JSON and comes back. Strict at both ends."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, NoReturn

import msgspec

from .exceptions import InvalidData

MAX_DATA_BYTES = 131_072
MAX_DEPTH = 64
MIN_INT, MAX_INT = -(2**63), 2**63 - 1

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_raw = msgspec.json.Decoder(msgspec.Raw).decode

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_BRACKET = re.compile(rb"[\[\]{}]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def encode_data(data: object) -> bytes:
    """Return data as JSON.

    Raises:
        InvalidData: naming the place of what JSON, or one of the libraries that read it, would not bring back as it is.
    """
    if not _is_plain(data, MAX_DEPTH):
        data = _plain(data, "$", MAX_DEPTH)
    try:
        raw = _encode(data)
    except UnicodeEncodeError:
        _plain(data, "$", MAX_DEPTH)
        raise
    if len(raw) > MAX_DATA_BYTES:
        raise InvalidData(
            "$", f"{len(raw)} bytes as JSON; at most {MAX_DATA_BYTES} are taken: store it, and send its id"
        )
    return raw


def decode_data(raw: bytes) -> Any:
    """Return what JSON says.

    Raises:
        InvalidData: Python cannot hold it.
    """
    try:
        return _decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidData("$", f"this JSON cannot be read ({type(error).__name__})") from None


def is_sound(raw: bytes) -> bool:
    """Tell whether these bytes are well-formed JSON, in UTF-8, at most 64 deep."""
    try:
        _raw(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return is_text(raw) and is_shallow(raw)


def is_text(raw: bytes) -> bool:
    """Tell whether these bytes are UTF-8; msgspec looks into no string that it passes through."""
    if raw.isascii():
        return True
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_shallow(raw: bytes) -> bool:
    """Tell whether well-formed JSON is at most 64 deep."""
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return True
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", raw)):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            return False
    return True


def decode_strict(body: bytes) -> Any:
    """Return what a foreign body says, holding it to everything that `encode_data` holds our own to.

    Raises:
        ValueError: for anything else, doubled member names included.
    """
    if not is_sound(body):
        raise ValueError("not well-formed JSON in UTF-8, at most 64 deep")
    return json.loads(
        body.decode(),
        object_pairs_hook=_members,
        parse_int=_integer,
        parse_float=_number,
        parse_constant=_constant,
    )


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member name is there twice")
    return members


def _integer(text: str) -> int:
    if len(text) > 20 or not MIN_INT <= (value := int(text)) <= MAX_INT:
        raise ValueError("an integer is past 64 bits")
    return value


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is out of range")
    return value


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _is_plain(value: object, depth: int) -> bool:
    """Tell, fast, whether the encoder may have it as it is; strings are judged by the encoder."""
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return True
    if kind is int:
        return MIN_INT <= value <= MAX_INT  # type: ignore[operator]  # mypy does not follow `kind is int`
    if kind is float:
        return math.isfinite(value)  # type: ignore[arg-type]  # the same
    if not depth:
        return False
    if kind is dict:
        for name, one in value.items():  # type: ignore[attr-defined]  # the same
            if type(name) is not str or not (type(one) is str or _is_plain(one, depth - 1)):
                return False
        return True
    if kind is list or kind is tuple:
        return all(_is_plain(one, depth - 1) for one in value)  # type: ignore[attr-defined]  # the same
    return False


def _plain(value: object, path: str, depth: int) -> object:
    """Return a copy in plain types, or say where it cannot be."""
    if value is None or isinstance(value, bool):
        return value
    for kind, convert in _SCALARS:
        if isinstance(value, kind):
            return convert(value, path)
    if not isinstance(value, (dict, list, tuple)):
        raise InvalidData(path, f"{type(value).__name__} is not JSON; send str, int, float, bool, None, list or dict")
    if not depth:
        raise InvalidData(path, f"nested more than {MAX_DEPTH} deep, or in a circle")
    if isinstance(value, dict):
        return {_member(name, path): _plain(one, _step(path, name), depth - 1) for name, one in value.items()}
    return [_plain(one, f"{path}[{index}]", depth - 1) for index, one in enumerate(value)]


def _plain_str(value: str, path: str) -> str:
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidData(path, "the text holds a lone surrogate, which UTF-8 cannot") from None
    return text


def _plain_int(value: int, path: str) -> int:
    if not MIN_INT <= value <= MAX_INT:
        raise InvalidData(path, "the int is past 64 bits; send it as a str")
    return int.__int__(value)


def _plain_float(value: float, path: str) -> float:
    if not math.isfinite(value):
        raise InvalidData(path, "NaN and infinities are not JSON; send None")
    return float.__float__(value)


_SCALARS: tuple[tuple[type, Callable[[Any, str], object]], ...] = (
    (str, _plain_str),
    (int, _plain_int),
    (float, _plain_float),
)


def _member(name: object, path: str) -> str:
    if not isinstance(name, str):
        raise InvalidData(path, f"a member name is a str, not {type(name).__name__}")
    return _plain_str(name, path)


def _step(path: str, name: object) -> str:
    text = str(name)
    return f"{path}.{text}" if _NAME.match(text) else f"{path}[{text!a}]"
