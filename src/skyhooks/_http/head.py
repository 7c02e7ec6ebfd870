"""Which requests an instance takes, judged by their head alone: once, for our listeners and for mounted handlers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from .parser import HEADER_OVERHEAD_BYTES, MAX_HEAD_BYTES, MAX_HEADERS

Headers = tuple[tuple[str, str], ...]

JUDGED = frozenset(("content-type", "content-length", "content-encoding", "transfer-encoding", "expect"))
"""What must be known of a head; the rest is only handed on."""

_MAX_LENGTH_DIGITS = 20


class Refusal(msgspec.Struct, frozen=True):
    """What must be answered, as a problem with this code, before the connection is closed."""

    status: int
    code: str
    headers: Headers = ()
    head_only: bool = False
    """It answers a HEAD, so its body is not sent."""


MALFORMED = Refusal(400, "malformed")
WRONG_METHOD = Refusal(405, "method", (("allow", "POST"),))
LENGTH_REQUIRED = Refusal(411, "length_required")
TOO_LARGE = Refusal(413, "too_large")
MEDIA_TYPE = Refusal(415, "media_type")
HEADERS_TOO_LARGE = Refusal(431, "headers_too_large")


def judge_request(
    method: str, version: str, target: str, headers: Sequence[tuple[str, str]], *, max_body_bytes: int
) -> Refusal | None:
    """Judge a head that somebody else has parsed, before its body is read; None: take it.

    `version` is "1.1" or "1.0"; header names are in lower case, repeated ones kept or joined with commas.
    """
    size = len(target) + sum(len(name) + len(value) + HEADER_OVERHEAD_BYTES for name, value in headers)
    if len(headers) > MAX_HEADERS or size > MAX_HEAD_BYTES:
        return HEADERS_TOO_LARGE
    return judge_head(method, version, joined(headers), max_body_bytes=max_body_bytes)


def judge_head(method: str, version: str, fields: Mapping[str, str], *, max_body_bytes: int) -> Refusal | None:
    """Judge a head by those of its fields that are `JUDGED`; None: take it."""
    length = fields.get("content-length")
    coding = fields.get("transfer-encoding")
    if not is_framed(version, length, coding):
        return MALFORMED
    if method != "POST":
        return WRONG_METHOD
    if length is None and coding is None:
        return LENGTH_REQUIRED
    if length is not None and int(length) > max_body_bytes:
        return TOO_LARGE
    if not _is_plain_json(fields):
        return MEDIA_TYPE
    return None


def joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the `JUDGED` fields; what came more than once is joined, so that it is seen to be more than one."""
    fields: dict[str, str] = {}
    for name, value in headers:
        if name in JUDGED:
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def is_framed(version: str, length: str | None, coding: str | None) -> bool:
    """Tell whether where the body ends is said in one way, and in one that every proxy reads alike."""
    if version not in ("1.0", "1.1"):
        return False
    if coding is not None:
        return version == "1.1" and length is None and coding.lower() == "chunked"
    return length is None or (length.isascii() and length.isdigit() and len(length) <= _MAX_LENGTH_DIGITS)


def _is_plain_json(fields: Mapping[str, str]) -> bool:
    media_type = fields.get("content-type", "").partition(";")[0].rstrip(" \t")
    encoding = fields.get("content-encoding", "identity")
    return media_type.lower() == "application/json" and encoding.lower() == "identity"
