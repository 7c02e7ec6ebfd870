"""Canonical keys: what an application gives as a mapping, as the text `name=value`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from uuid import UUID

from .exceptions import InvalidKey

MAX_KEYS = 64
MAX_VALUE_BYTES = 256

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}\Z")
_VALUE = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,256}\Z")
_PLAIN = (int, str)
_KEY = re.compile(_NAME.pattern.removesuffix(r"\Z") + "=" + _VALUE.pattern)


def canonical_keys(keys: Mapping[str, object]) -> tuple[str, ...]:
    """Turn a mapping into its keys, `name=value`, in the mapping's order and without repeats.

    Raises:
        InvalidKey: with what is wrong and what would be right.

    """
    if type(keys) is dict and len(keys) == 1:
        ((name, value),) = keys.items()
        if type(value) in _PLAIN:
            return _single(name, value)
    if not isinstance(keys, Mapping):
        raise InvalidKey(f'keys are a mapping such as {{"account": 42}}, not {_kind(keys)}')
    found: dict[str, None] = {}
    for given, value in keys.items():
        name = _checked_name(given)
        if isinstance(value, list):
            if not value:
                raise InvalidKey(f"{name}: the list of values is empty; leave the name out instead")
            for one in value:
                found[f"{name}={_text(name, one)}"] = None
        else:
            found[f"{name}={_text(name, value)}"] = None
    if not found:
        raise InvalidKey('no key was given; give at least one, such as {"account": 42}')
    if len(found) > MAX_KEYS:
        raise InvalidKey(f"{len(found)} keys in one mapping; at most {MAX_KEYS} are taken, use several calls")
    return tuple(found)


@lru_cache(maxsize=4096)
def _single(name: object, value: object) -> tuple[str, ...]:
    """Remember the commonest mapping of all: most jobs name one key, and the same ones again and again."""
    checked = _checked_name(name)
    return (f"{checked}={_text(checked, value)}",)


def split_key(key: str) -> tuple[str, str]:
    """Return a canonical key's name and value; a name holds no `=`, so the first one divides."""
    name, _, value = key.partition("=")
    return name, value


def is_canonical(key: str) -> bool:
    """Tell whether `key` could have come from `canonical_keys`."""
    # One match, because each notification that arrives is asked.
    return bool(_KEY.match(key)) and (key.isascii() or _fits(key.partition("=")[2]))


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not _NAME.match(name):
        raise InvalidKey(f"{_shown(name)} is no key name; use 1 to 64 of A-Z a-z 0-9 _ . : -")
    return str.__str__(name)  # an enum formats as something else


def _text(name: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, UUID)):
        raise InvalidKey(f"{name}: a value is a str, an int, a UUID or a list of them, not {_kind(value)}")
    if isinstance(value, str):
        text = str.__str__(value)
    elif isinstance(value, int):
        text = _digits(name, value)
    else:
        text = str(value)
    if not _is_value(text):
        raise InvalidKey(
            f"{name}: {_shown(text)} is no key value; use 1 to {MAX_VALUE_BYTES} bytes of UTF-8"
            " without control characters"
        )
    return text


def _digits(name: str, value: int) -> str:
    if value.bit_length() > MAX_VALUE_BYTES * 4:
        raise InvalidKey(f"{name}: the int has more than {MAX_VALUE_BYTES} digits")
    return int.__repr__(value)


def _is_value(text: str) -> bool:
    return bool(_VALUE.match(text)) and _fits(text)


def _fits(value: str) -> bool:
    return len(value.encode()) <= MAX_VALUE_BYTES


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__


def _shown(value: object) -> str:
    shown = ascii(value) if isinstance(value, str) else _kind(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
