"""Cursors: positions in the logs of some keys, as an opaque string that clients hold and hand back."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterable
from hashlib import blake2b

from .exceptions import InvalidCursor

MAX_KEYS = 64
MAX_SEQ = 2**63 - 1
"""What a store can hold. A cursor comes from a browser, and its check sum keeps nobody from making one."""

_VERSION = b"\x01"
_PLACE = struct.Struct(">8s8sQ")
_CHECK = struct.Struct(">I")


def encode_cursor(positions: Iterable[tuple[str, str, int]]) -> str:
    """Encode (key, epoch, seq) triples, 64 at most: under 3 KB, in characters that are safe in a URL and a header."""
    places = b"".join(_PLACE.pack(key_hash(key), bytes.fromhex(epoch), seq) for key, epoch, seq in positions)
    body = _VERSION + places
    return _text(body + _CHECK.pack(zlib.crc32(body)))


def decode_cursor(cursor: str) -> dict[bytes, tuple[str, int]]:
    """Return (epoch, seq) by `key_hash(key)`.

    Raises:
        InvalidCursor: for anything that `encode_cursor` has not made.

    """
    if not isinstance(cursor, str):
        raise InvalidCursor(f"a cursor is a str, not {type(cursor).__name__}")
    places = list(_PLACE.iter_unpack(_checked(cursor)[len(_VERSION) :]))
    if any(seq > MAX_SEQ for _, _, seq in places):
        raise InvalidCursor("the cursor is damaged")
    return {digest: (epoch.hex(), seq) for digest, epoch, seq in places}


def key_hash(key: str) -> bytes:
    """Name a key by 64 bits: a cursor travels in headers, and 64 keys of 320 characters would not."""
    return blake2b(key.encode(), digest_size=8).digest()


def _checked(cursor: str) -> bytes:
    try:
        packed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        raise InvalidCursor("not a cursor") from None
    if _text(packed) != cursor:  # the decoder passes over what it does not know
        raise InvalidCursor("not a cursor")
    body, check = packed[: -_CHECK.size], packed[-_CHECK.size :]
    if len(check) < _CHECK.size or _CHECK.pack(zlib.crc32(body)) != check:
        raise InvalidCursor("the cursor is damaged")
    count, rest = divmod(len(body) - len(_VERSION), _PLACE.size)
    if not body.startswith(_VERSION) or rest or count > MAX_KEYS:
        raise InvalidCursor("the cursor is of another version of skyhooks")
    return body


def _text(packed: bytes) -> str:
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()
