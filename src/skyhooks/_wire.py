"""Bodies and what they say: deliveries, pings, answers, problems, and the first skyhooks' body."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from ._json import MAX_INT, decode_strict, encode_data, is_shallow, is_text
from ._keys import MAX_KEYS, is_canonical
from ._values import Position
from .exceptions import BodyRejected, InvalidData

WEBHOOK_ID = "webhook-id"
WEBHOOK_TIMESTAMP = "webhook-timestamp"
WEBHOOK_SIGNATURE = "webhook-signature"
AUDIENCE = "skyhooks-instance"

MAX_NOTIFICATIONS = 500
MAX_BODY_BYTES = 1_048_576
MAX_ANSWER_BYTES = 65_536

_encode = msgspec.json.Encoder().encode

PROBLEMS = {
    "malformed": "The request is malformed",
    "signature": "The signature does not verify",
    "method": "Only POST is taken",
    "length_required": "The request does not say how long it is",
    "too_large": "The request is too large",
    "media_type": "Only plain application/json is taken",
    "headers_too_large": "The headers are too large",
    "not_this_instance": "The request is meant for another instance",
    "gone": "The instance that the request is meant for is gone",
    "draining": "The instance is not taking requests now",
    "window_full": "Too many foreign requests to remember",
    "internal": "The instance failed",
}
"""The stable codes of what is refused, and their titles."""


class WireItem(msgspec.Struct, frozen=True, gc=False):
    """One notification of a delivery; `raw` is its data. An ephemeral one has neither epoch nor seq."""

    id: str
    key: str
    sent_at: float
    raw: msgspec.Raw = msgspec.field(name="data")
    keys: tuple[str, ...] = ()
    epoch: str = ""
    seq: int = 0
    ephemeral: bool = False


class Delivered(msgspec.Struct, frozen=True):
    """The notifications of one delivery."""

    aud: str
    notifications: list[WireItem]


class Ping(msgspec.Struct, frozen=True):
    """What `start` asks its own URL."""

    aud: str
    ping: str


class Taken(msgspec.Struct, frozen=True):
    """What an instance has done with a delivery: a count for each item, and the indexes of two kinds of them."""

    callbacks: list[int]
    duplicates: frozenset[int]
    full: frozenset[int]


class _Body(msgspec.Struct):
    v: int
    aud: str
    notifications: list[WireItem] | msgspec.UnsetType = msgspec.UNSET
    ping: str | msgspec.UnsetType = msgspec.UNSET


class _Answer(msgspec.Struct):
    status: str
    notified: bool
    callbacks: list[int] = []
    duplicates: list[int] = []
    full: list[int] = []


class _Pong(msgspec.Struct):
    status: str
    ping: str
    instance: str


class _Problem(msgspec.Struct):
    code: str
    instance: str | None = None


_body = msgspec.json.Decoder(_Body).decode
_answer = msgspec.json.Decoder(_Answer).decode
_pong = msgspec.json.Decoder(_Pong).decode
_problem = msgspec.json.Decoder(_Problem).decode

# -- deliveries -----------------------------------------------------------------------------------


def encode_item(
    *, id: str, key: str, keys: tuple[str, ...], position: Position | None, sent_at: float, data: bytes
) -> bytes:
    """Encode a notification, once for all its targets; without a position it is ephemeral."""
    several = b',"keys":' + _encode(keys) if keys else b""
    place = (
        b'"ephemeral":true' if position is None else b'"epoch":"%b","seq":%d' % (position.epoch.encode(), position.seq)
    )
    return b'{"id":%b,"key":%b%b,%b,"sent_at":%b,"data":%b}' % (
        _encode(id),
        _encode(key),
        several,
        place,
        _encode(sent_at),
        data,
    )


def body_prefix(instance_id: str) -> bytes:
    """Prepare what every delivery to an instance begins with."""
    return b'{"v":1,"aud":%b,"notifications":[' % _encode(instance_id)


def join_body(prefix: bytes, items: Sequence[bytes]) -> bytes:
    """Make a delivery of encoded notifications."""
    return prefix + b",".join(items) + b"]}"


def encode_body(instance_id: str, items: Sequence[bytes]) -> bytes:
    """Make a delivery in one go."""
    return join_body(body_prefix(instance_id), items)


def encode_ping(instance_id: str, nonce: str) -> bytes:
    """Ask a URL who is there."""
    return _encode({"v": 1, "aud": instance_id, "ping": nonce})


def parse_body(body: bytes) -> Delivered | Ping:
    """Read a delivery or a ping. Members that are not known are passed over: a later sender may have more to say.

    Raises:
        BodyRejected: 413 beyond 500 notifications, else 400.
    """
    try:
        message = _body(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BodyRejected(400, "malformed") from None
    if message.v != 1 or not is_text(body):
        raise BodyRejected(400, "malformed")
    if isinstance(message.ping, str) and message.notifications is msgspec.UNSET:
        return Ping(message.aud, message.ping)
    items = message.notifications
    if not isinstance(items, list) or message.ping is not msgspec.UNSET:
        raise BodyRejected(400, "malformed")
    if len(items) > MAX_NOTIFICATIONS:
        raise BodyRejected(413, "too_large")
    if not all(map(_is_right, items)):
        raise BodyRejected(400, "malformed")
    return Delivered(message.aud, items)


def parse_legacy(body: bytes) -> tuple[dict[str, object], bytes]:
    """Read the first skyhooks' body, `{"keys": {name: value}, "data": any}`: keys as they came, data as JSON.

    Raises:
        BodyRejected: 401 for a body with `v`, which must be signed for its instance; else 400.
    """
    try:
        message = decode_strict(body)
    except ValueError:
        raise BodyRejected(400, "malformed") from None
    if not isinstance(message, dict):
        raise BodyRejected(400, "malformed")
    if "v" in message:
        raise BodyRejected(401, "signature")
    keys = message.get("keys")
    if not isinstance(keys, dict) or "data" not in message:
        raise BodyRejected(400, "malformed")
    try:
        return keys, encode_data(message["data"])
    except InvalidData:
        raise BodyRejected(400, "malformed") from None


# -- answers --------------------------------------------------------------------------------------


def encode_answer(callbacks: Sequence[int], duplicates: Sequence[int], full: Sequence[int]) -> bytes:
    """Say what was done with a delivery, in the order of its notifications."""
    return _encode(
        {"status": "ok", "notified": any(callbacks), "callbacks": callbacks, "duplicates": duplicates, "full": full}
    )


def encode_legacy_answer(notified: bool) -> bytes:
    """Answer the first skyhooks' body."""
    return _encode({"status": "ok", "notified": notified})


def parse_answer(body: bytes, count: int) -> Taken | None:
    """Read what became of a delivery of `count` notifications; None when this is not an answer of ours to it."""
    try:
        answer = _answer(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if answer.status != "ok" or len(answer.callbacks) != count or any(one < 0 for one in answer.callbacks):
        return None
    return Taken(answer.callbacks, frozenset(answer.duplicates), frozenset(answer.full))


def encode_pong(nonce: str, instance_id: str) -> bytes:
    """Answer a ping."""
    return _encode({"status": "ok", "ping": nonce, "instance": instance_id})


def parse_pong(body: bytes) -> tuple[str, str] | None:
    """Read the answer to a ping as (nonce, instance id); None when it is none."""
    try:
        pong = _pong(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return (pong.ping, pong.instance) if pong.status == "ok" else None


def problem(status: int, code: str, **extra: str) -> bytes:
    """Make an `application/problem+json` body (RFC 9457), which repeats nothing of the request but what `extra` gives."""
    said: dict[str, Any] = {"type": "about:blank", "title": PROBLEMS[code], "status": status, "code": code, **extra}
    return _encode(said)


def parse_problem(body: bytes) -> tuple[str, str | None] | None:
    """Read a problem as (code, instance); None when it is none of ours."""
    try:
        said = _problem(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return said.code, said.instance


# -- what an item must be -------------------------------------------------------------------------


def _is_right(item: WireItem) -> bool:
    if not is_canonical(item.key) or not item.id or not math.isfinite(item.sent_at) or not is_shallow(bytes(item.raw)):
        return False
    if item.keys and not _are_right(item.key, item.keys):
        return False
    if item.ephemeral:
        return not item.epoch and not item.seq
    return 1 <= item.seq <= MAX_INT and len(item.epoch) == 16 and not item.epoch.strip("0123456789abcdef")


def _are_right(key: str, keys: Sequence[str]) -> bool:
    known = set(keys)
    return 2 <= len(keys) == len(known) <= MAX_KEYS and key in known and all(map(is_canonical, keys))
