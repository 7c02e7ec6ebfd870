"""The part of a store's URL that is skyhooks' own: how long notifications are kept."""

from __future__ import annotations

import math
from urllib.parse import parse_qsl

import msgspec

from .._values import Retention

_LEAST = {"keep": 1, "keep_bytes": 1}
_MAX_COUNT = 2**53


def take_retention(query: str) -> tuple[Retention, list[tuple[str, str]]]:
    """Split a URL's query into the retention it asks for and the options that are left for a driver.

    Raises:
        ValueError: with what is wrong and what would be right.

    """
    given: dict[str, float] = {}
    rest: list[tuple[str, str]] = []
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in Retention.__struct_fields__:
            rest.append((name, text))
        elif name in given:
            raise ValueError(f"{name} is given twice in the store's URL; give it once")
        else:
            given[name] = _number(name, text)
    return msgspec.convert(given, Retention), rest


def refuse_options(options: list[tuple[str, str]]) -> None:
    """Raise `ValueError` if a URL has options that nobody knows."""
    if options:
        known = ", ".join(Retention.__struct_fields__)
        raise ValueError(f"unknown option {options[0][0]!r} in the store's URL; known are {known}")


def _number(name: str, text: str) -> float:
    seconds = name.endswith("_seconds")
    try:
        number: float = float(text) if seconds else int(text)
    except ValueError:
        number = math.nan
    if not _LEAST.get(name, 0) <= number <= _MAX_COUNT:
        kind = "a number of seconds from 0 up" if seconds else f"a whole number from {_LEAST.get(name, 0)} up"
        raise ValueError(f"{name}={text!r} in the store's URL: give {kind}")
    return number
