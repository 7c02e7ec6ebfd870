"""The wire: bodies to values and back (DESIGN section 7), strict in what it takes, forward compatible in what it passes over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from ._json import INT_MAX, MAX_DEPTH, decode_strict, encode_data, is_shallow, is_utf8
from ._keys import MAX_KEYS, is_canonical
from ._values import Position
from .exceptions import BodyRejected

MAX_NOTIFICATIONS = 500
MAX_BODY_BYTES = 1_048_576
MAX_ANSWER_BYTES = 65_536

WEBHOOK_ID = "webhook-id"
WEBHOOK_TIMESTAMP = "webhook-timestamp"
WEBHOOK_SIGNATURE = "webhook-signature"
AUDIENCE = "skyhooks-instance"

PROBLEMS = {
    "malformed": ("Bad Request", "The headers or the body are not what skyhooks sends."),
    "signature": ("Unauthorized", "The signature does not verify; compare secrets and clocks."),
    "method": ("Method Not Allowed", "Notifications are POSTed."),
    "gone": ("Gone", "That instance is dead; its hooks can be removed."),
    "length_required": ("Length Required", "Say how long the body is."),
    "too_large": ("Content Too Large", "Send fewer notifications at a time, or shorter ones."),
    "media_type": ("Unsupported Media Type", "The body is application/json, not compressed."),
    "not_this_instance": ("Misdirected Request", "Another instance was meant; is its URL shared?"),
    "headers_too_large": ("Request Header Fields Too Large", "Send fewer or shorter headers."),
    "draining": ("Service Unavailable", "The instance is starting or stopping; try again."),
    "internal": ("Internal Server Error", "The instance failed; its log says why."),
    "window_full": ("Service Unavailable", "Too many deliveries of strangers; try again."),
}
"""Title and detail by code: fixed texts, so that nothing of a request is ever echoed."""

_HEX = "0123456789abcdef"

_Count = Annotated[int, msgspec.Meta(ge=0, le=INT_MAX)]


class WireItem(msgspec.Struct, frozen=True, gc=False):
    """One notification as it came; `epoch` is empty and `seq` 0 where it is ephemeral, `keys` empty where it has one."""

    id: str
    key: str
    keys: tuple[str, ...]
    epoch: str
    seq: int
    ephemeral: bool
    sent_at: float
    raw: bytes


class Delivered(msgspec.Struct, frozen=True):
    """A body with notifications for the instance `aud`."""

    aud: str
    notifications: list[WireItem]


class Ping(msgspec.Struct, frozen=True):
    """A body by which `start()` proves its URL; `ping` is the nonce."""

    aud: str
    ping: str


class Taken(msgspec.Struct, frozen=True, tag_field="status", tag="ok"):
    """An answer: for how many callbacks each item was taken, and the indexes of what was not new or not taken."""

    callbacks: tuple[_Count, ...]
    duplicates: frozenset[_Count]
    full: frozenset[_Count]


class _Item(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """The limits hold for what is there; a default says that the member is absent."""

    id: str
    key: str
    keys: Annotated[tuple[str, ...], msgspec.Meta(min_length=2, max_length=MAX_KEYS)] = ()
    epoch: Annotated[str, msgspec.Meta(min_length=16, max_length=16)] = ""
    seq: Annotated[int, msgspec.Meta(ge=1, le=INT_MAX)] = 0
    ephemeral: bool = False
    sent_at: float
    data: msgspec.Raw


class _Body(msgspec.Struct):
    v: Literal[1]
    aud: str
    notifications: list[_Item] | msgspec.UnsetType = msgspec.UNSET
    ping: str | msgspec.UnsetType = msgspec.UNSET


class _Answer(msgspec.Struct, tag_field="status", tag="ok"):
    notified: bool
    callbacks: Sequence[int] | msgspec.UnsetType = msgspec.UNSET
    duplicates: Sequence[int] | msgspec.UnsetType = msgspec.UNSET
    full: Sequence[int] | msgspec.UnsetType = msgspec.UNSET


class _Pong(msgspec.Struct, tag_field="status", tag="ok"):
    ping: str
    instance: str


class _Problem(msgspec.Struct):
    code: str
    instance: str | None = None


_encode = msgspec.json.Encoder().encode
_decode_body = msgspec.json.Decoder(_Body).decode
_decode_answer = msgspec.json.Decoder(Taken).decode
_decode_pong = msgspec.json.Decoder(_Pong).decode
_decode_problem = msgspec.json.Decoder(_Problem).decode

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


# -- what a sender writes -----------------------------------------------------------------------------


def encode_item(
    *, id: str, key: str, keys: tuple[str, ...], position: Position | None, sent_at: float, data: bytes
) -> bytes:
    """Encode one notification, once for all its targets; without a position it is ephemeral.

    `keys` is all its keys in order where it has several, else empty; `data` is JSON, and passed through.
    """
    raw = msgspec.Raw(data)
    if position is None:
        return _encode(_Item(id=id, key=key, keys=keys, ephemeral=True, sent_at=sent_at, data=raw))
    return _encode(_Item(id=id, key=key, keys=keys, epoch=position.epoch, seq=position.seq, sent_at=sent_at, data=raw))


def body_prefix(instance_id: str) -> bytes:
    """Prepare what all bodies for one instance begin with."""
    return b'{"v":1,"aud":%b,"notifications":[' % _encode(instance_id)


def join_body(prefix: bytes, items: Sequence[bytes]) -> bytes:
    """Make a body of a prepared prefix and encoded items."""
    return b"%b%b]}" % (prefix, b",".join(items))


def encode_body(instance_id: str, items: Sequence[bytes]) -> bytes:
    """Make a body of encoded items."""
    return join_body(body_prefix(instance_id), items)


def encode_ping(instance_id: str, nonce: str) -> bytes:
    """Make the body that asks who answers at a URL."""
    return _encode(_Body(1, instance_id, ping=nonce))


# -- what an instance reads ---------------------------------------------------------------------------


def parse_body(body: bytes) -> Delivered | Ping:
    """Read a `v: 1` body. Members that it does not know are passed over.

    Raises:
        BodyRejected: 400 `malformed`; 413 `too_large` beyond `MAX_NOTIFICATIONS`.

    """
    try:
        parsed = _decode_body(body)
    except _UNREADABLE:
        raise _malformed() from None
    if not is_utf8(body):
        raise _malformed()
    if isinstance(parsed.notifications, list) and parsed.ping is msgspec.UNSET:
        if len(parsed.notifications) > MAX_NOTIFICATIONS:
            raise BodyRejected(413, "too_large")
        return Delivered(parsed.aud, [_checked(item) for item in parsed.notifications])
    if isinstance(parsed.ping, str) and parsed.notifications is msgspec.UNSET:
        return Ping(parsed.aud, parsed.ping)
    raise _malformed()


def parse_legacy(body: bytes) -> tuple[dict[str, object], bytes]:
    """Read a body of the first skyhooks: its keys as they came, not yet canonical, and its data as JSON.

    Raises:
        BodyRejected: 400 `malformed`; 401 `signature` for a `v: 1` body, which no raw secret may sign.

    """
    try:
        # The data begins one level down and has all of its own depth.
        parsed = decode_strict(body, max_depth=MAX_DEPTH + 1)
    except ValueError:
        raise _malformed() from None
    if not isinstance(parsed, dict):
        raise _malformed()
    if "v" in parsed:
        raise BodyRejected(401, "signature")
    keys = parsed.get("keys")
    if not isinstance(keys, dict) or "data" not in parsed:
        raise _malformed()
    try:
        return keys, encode_data(parsed["data"])
    except ValueError:
        raise _malformed() from None


def _checked(item: _Item) -> WireItem:
    """Judge what the types do not: the body is known to be well-formed UTF-8."""
    keys, raw = item.keys, bytes(item.data)
    retained = not item.ephemeral and item.seq > 0 and item.epoch != "" and not item.epoch.strip(_HEX)
    ephemeral = item.ephemeral and item.seq == 0 and item.epoch == ""
    if not (
        (retained or ephemeral)
        and is_canonical(item.key)
        and (not keys or _are_distinct(item.key, keys))
        and is_shallow(raw)
    ):
        raise _malformed()
    return WireItem(item.id, item.key, keys, item.epoch, item.seq, item.ephemeral, item.sent_at, raw)


def _are_distinct(key: str, keys: tuple[str, ...]) -> bool:
    return key in keys and len(set(keys)) == len(keys) and all(map(is_canonical, keys))


def _malformed() -> BodyRejected:
    return BodyRejected(400, "malformed")


# -- what an instance answers, and a sender reads -----------------------------------------------------


def encode_answer(callbacks: Sequence[int], duplicates: Sequence[int], full: Sequence[int]) -> bytes:
    """Answer a delivery: a count for each item, in order, and the indexes of duplicates and of what was not taken."""
    return _encode(_Answer(any(callbacks), callbacks, duplicates, full))


def encode_legacy_answer(notified: bool) -> bytes:
    """Answer the first skyhooks' body."""
    return _encode(_Answer(notified))


def encode_pong(nonce: str, instance_id: str) -> bytes:
    """Answer a ping."""
    return _encode(_Pong(nonce, instance_id))


def problem(status: int, code: str, **extra: str) -> bytes:
    """Make an `application/problem+json` body (RFC 9457) with a stable code."""
    return encode_problem(status, code, *PROBLEMS[code], **extra)


def encode_problem(status: int, code: str, title: str, detail: str, **extra: str) -> bytes:
    """Make such a body of texts that are in no table here."""
    return _encode({"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code, **extra})


def parse_answer(body: bytes, count: int) -> Taken | None:
    """Read the answer to a delivery of `count` items; None where it is not one of ours to that."""
    try:
        taken = _decode_answer(body)
    except _UNREADABLE:
        return None
    if len(taken.callbacks) != count or any(index >= count for index in taken.duplicates | taken.full):
        return None
    return taken


def parse_pong(body: bytes) -> tuple[str, str] | None:
    """Read the nonce and the instance id of the answer to a ping; None where it is not one."""
    try:
        pong = _decode_pong(body)
    except _UNREADABLE:
        return None
    return pong.ping, pong.instance


def parse_problem(body: bytes) -> tuple[str, str | None] | None:
    """Read a problem's code, and the instance id that it names; None where it is not one of ours."""
    try:
        found = _decode_problem(body)
    except _UNREADABLE:
        return None
    return found.code, found.instance
