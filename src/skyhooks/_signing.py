"""Signatures as Standard Webhooks v1 has them, the keys they are made with, and the MACs on what lies in a store."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ._wire import WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP
from .exceptions import BodyRejected

TOLERANCE_SECONDS = 300.0
MAX_SIGNATURES = 16
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix of all secrets

# No webhook-id may hold NUL, so nothing that was ever signed equals what a key is derived from (PROTOCOL 21).
_INSTANCE_LABEL = b"\x00skyhooks/v1/instance\x00"
_ROW_LABEL = b"\x00skyhooks/v1/row\x00"
_ENTRY_LABEL = b"\x00skyhooks/v1/entry\x00"

_BLOCK_BYTES = 64
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")
_TIMESTAMP = re.compile(r"[0-9]{1,15}\Z")


class Key:
    """A secret with its two SHA-256 states prepared: a signature then costs half of what `hmac.new` does."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: bytes) -> None:
        if len(secret) > _BLOCK_BYTES:
            secret = hashlib.sha256(secret).digest()
        block = secret.ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(block.translate(_INNER))
        self._outer = hashlib.sha256(block.translate(_OUTER))

    def digest(self, *message: bytes) -> bytes:
        """Return the HMAC-SHA256 of the message's parts."""
        inner = self._inner.copy()
        for part in message:
            inner.update(part)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()

    def sign(self, webhook_id: str, timestamp: int, body: bytes) -> str:
        """Return one signature for the `webhook-signature` header."""
        digest = self.digest(f"{webhook_id}.{timestamp}.".encode(), body)
        return "v1," + binascii.b2a_base64(digest, newline=False).decode()

    def __repr__(self) -> str:
        return "Key(…)"


@dataclass(frozen=True, slots=True)
class Signed:
    """What the three Standard Webhooks headers say."""

    webhook_id: str
    timestamp: int
    signatures: tuple[str, ...]


def parse_secrets(secret: str | Sequence[str] | None) -> tuple[bytes, ...]:
    """Read `whsec_…` secrets: the first signs, all verify.

    Raises:
        ValueError: it does not show the secret.
    """
    if secret is None:
        return ()
    texts = (secret,) if isinstance(secret, str) else tuple(secret)
    if not texts:
        raise ValueError("the list of secrets is empty; give None for no secret")
    return tuple(_parse_secret(text) for text in texts)


def instance_key(secret: bytes, instance_id: str) -> bytes:
    """Derive the key of one incarnation of one instance."""
    return Key(secret).digest(_INSTANCE_LABEL, instance_id.encode())


def row_mac(secret: bytes, instance_id: str, url: str | None, joined_at_ms: int) -> bytes:
    """Authenticate an instance's row (PROTOCOL 23)."""
    return Key(secret).digest(_ROW_LABEL, _framed(instance_id, url or "", str(joined_at_ms)))


def entry_mac(secret: bytes, key: str, id: str, data: bytes) -> bytes:
    """Authenticate a log entry (PROTOCOL 23)."""
    return Key(secret).digest(_ENTRY_LABEL, _framed(key, id), data)


def verify_mac(macs: Iterable[bytes], mac: bytes | None) -> bool:
    """Tell whether a MAC is one of these, each compared in constant time."""
    return mac is not None and any(hmac.compare_digest(one, mac) for one in macs)


def read_signature(headers: Iterable[tuple[str, str]]) -> Signed | None:
    """Read the signature headers; names are in lower case, repeated ones kept. None: none of the three is there.

    Raises:
        BodyRejected: 400, when one is missing, doubled or malformed.
    """
    found: dict[str, str] = {}
    for name, value in headers:
        if name in _NAMES:
            if name in found:
                raise BodyRejected(400, "malformed")
            found[name] = value
    if not found:
        return None
    signatures = found.get(WEBHOOK_SIGNATURE, "").split(" ")
    webhook_id = found.get(WEBHOOK_ID, "")
    timestamp = found.get(WEBHOOK_TIMESTAMP, "")
    if not _ID.match(webhook_id) or not _TIMESTAMP.match(timestamp) or not _are_signatures(signatures):
        raise BodyRejected(400, "malformed")
    return Signed(webhook_id, int(timestamp), tuple(signatures))


def verify(
    signed: Signed, body: bytes, keys: Iterable[Key], now: float, tolerance_seconds: float = TOLERANCE_SECONDS
) -> bool:
    """Tell whether any signature is right under any key, and the timestamp fresh."""
    if abs(now - signed.timestamp) > tolerance_seconds:
        return False
    offered = [one.encode() for one in signed.signatures if one.startswith("v1,")]
    right = False
    for key in keys:
        expected = key.sign(signed.webhook_id, signed.timestamp, body).encode()
        for one in offered:
            right |= hmac.compare_digest(expected, one)
    return right


_NAMES = frozenset((WEBHOOK_ID, WEBHOOK_TIMESTAMP, WEBHOOK_SIGNATURE))


def _are_signatures(signatures: Sequence[str]) -> bool:
    return len(signatures) <= MAX_SIGNATURES and all(one.isascii() and "," in one for one in signatures)


def _parse_secret(text: str) -> bytes:
    wanted = f"a secret is {SECRET_PREFIX!r} and the base64 of {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} random bytes"
    if not isinstance(text, str) or not text.startswith(SECRET_PREFIX):
        raise ValueError(wanted)
    try:
        secret = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        raise ValueError(wanted) from None
    if not MIN_SECRET_BYTES <= len(secret) <= MAX_SECRET_BYTES:
        raise ValueError(f"{wanted}, not of {len(secret)}")
    return secret


def _framed(*texts: str) -> bytes:
    """Join texts so that no other texts give the same bytes."""
    parts = [text.encode() for text in texts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
