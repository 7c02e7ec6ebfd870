"""Signatures: Standard Webhooks v1, and the keys and MACs that are derived from a secret."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Iterable, Sequence
from hashlib import sha256

import msgspec

from ._values import Entry
from ._wire import WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP
from .exceptions import BodyRejected

SECRET_PREFIX = "whsec_"  # noqa: S105 - what a secret begins with
MIN_SECRET_BYTES = 24
MAX_SECRET_BYTES = 64
MAX_SIGNATURES = 16
TOLERANCE_SECONDS = 300.0

_HEADERS = (WEBHOOK_ID, WEBHOOK_TIMESTAMP, WEBHOOK_SIGNATURE)
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")
_TIMESTAMP = re.compile(r"[0-9]{1,16}\Z")
_SIGNATURE = re.compile(r"[A-Za-z0-9]+,[\x21-\x7e]*\Z")

# No webhook-id may hold a NUL: a signature under the raw secret can never be one of these (PROTOCOL 21).
_INSTANCE_LABEL = b"\x00skyhooks instance key 1"
_ROW_LABEL = b"\x00skyhooks instance row 1"
_ENTRY_LABEL = b"\x00skyhooks log entry 1"

_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))
_BLOCK_BYTES = 64


class Key:
    """A signing key, its two SHA-256 states prepared: HMAC then costs their copies and the message."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: bytes) -> None:
        block = (secret if len(secret) <= _BLOCK_BYTES else sha256(secret).digest()).ljust(_BLOCK_BYTES, b"\x00")
        self._inner = sha256(block.translate(_INNER))
        self._outer = sha256(block.translate(_OUTER))

    def digest(self, message: bytes) -> bytes:
        """Return HMAC-SHA256 of a message."""
        return self._digest(message, b"")

    def sign(self, webhook_id: str, timestamp: int, body: bytes) -> str:
        """Return the `webhook-signature` of a delivery; `timestamp` in Unix seconds."""
        digest = self._digest(b"%b.%d." % (webhook_id.encode(), timestamp), body)
        return f"v1,{binascii.b2a_base64(digest, newline=False).decode()}"

    def _digest(self, head: bytes, body: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(head)
        inner.update(body)
        outer.update(inner.digest())
        return outer.digest()


class Signed(msgspec.Struct, frozen=True):
    """What the three Standard Webhooks headers of a request say; nothing is verified yet."""

    webhook_id: str
    timestamp: int
    signatures: tuple[str, ...]


def parse_secrets(secret: str | Sequence[str] | None) -> tuple[bytes, ...]:
    """Decode `whsec_…` secrets; of several the first signs and all verify.

    Raises:
        ValueError: with what is wrong and how to make one, never with the secret.

    """
    if secret is None:
        return ()
    given = [secret] if isinstance(secret, str) else list(secret)
    if not given:
        raise ValueError("the list of secrets is empty; give at least one, or None to go without")
    return tuple(_decode_secret(one) for one in given)


def _decode_secret(text: object) -> bytes:
    if not isinstance(text, str) or not text.startswith(SECRET_PREFIX):
        raise _bad_secret(f"does not begin with {SECRET_PREFIX!r}")
    try:
        secret = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        raise _bad_secret(f"is not base64 behind {SECRET_PREFIX!r}") from None
    if not MIN_SECRET_BYTES <= len(secret) <= MAX_SECRET_BYTES:
        raise _bad_secret(f"holds {len(secret)} bytes, not {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES}")
    return secret


def _bad_secret(problem: str) -> ValueError:
    recipe = "import base64, secrets; print('whsec_' + base64.b64encode(secrets.token_bytes(32)).decode())"
    return ValueError(f'a secret {problem}; make one with: python -c "{recipe}"')


# -- what is derived from a secret --------------------------------------------------------------------


def instance_key(secret: bytes, instance_id: str) -> bytes:
    """Derive the key that signs for one instance: what is captured on its way there verifies nowhere else."""
    return _mac(secret, _INSTANCE_LABEL, instance_id.encode())


def row_mac(secret: bytes, instance_id: str, url: str | None, joined_at_ms: int) -> bytes:
    """Authenticate an instance's row in the store (PROTOCOL 23)."""
    place = b"" if url is None else b"=" + url.encode()
    return _mac(secret, _ROW_LABEL, instance_id.encode(), place, b"%d" % joined_at_ms)


def entry_mac(secret: bytes, key: str, id: str, data: bytes) -> bytes:
    """Authenticate an entry of a key's log (PROTOCOL 23)."""
    return _mac(secret, _ENTRY_LABEL, key.encode(), id.encode(), data)


def bears_mac(secrets: Sequence[bytes], key: str, entry: Entry) -> bool:
    """Tell whether an entry of a key's log is one that who has a secret has written; without secrets, any is."""
    return not secrets or verify_mac((entry_mac(one, key, entry.id, entry.data) for one in secrets), entry.mac)


def verify_mac(macs: Iterable[bytes], mac: bytes | None) -> bool:
    """Tell, in constant time, whether `mac` is one of those that the secrets in use make; None never is."""
    return mac is not None and any(hmac.compare_digest(one, mac) for one in macs)


def _mac(secret: bytes, label: bytes, *parts: bytes) -> bytes:
    """Lengths stand before the parts, so that no two lists of parts make one message."""
    message = b"".join([label, *(len(part).to_bytes(8, "big") + part for part in parts)])
    return hmac.digest(secret, message, "sha256")


# -- what a request says ------------------------------------------------------------------------------


def read_signature(headers: Sequence[tuple[str, str]]) -> Signed | None:
    """Read the signature headers; names are in lower case, repeated ones kept. None: none of the three is there.

    Raises:
        BodyRejected: 400 `malformed`: one is missing, doubled or not as the specification has it.

    """
    found = [(name, value) for name, value in headers if name in _HEADERS]
    if not found:
        return None
    values = dict(found)
    if len(values) != len(_HEADERS) or len(found) != len(_HEADERS):
        raise BodyRejected(400, "malformed")
    webhook_id, timestamp, signatures = (values[name] for name in _HEADERS)
    several = signatures.split(" ", MAX_SIGNATURES)
    if (
        not _ID.match(webhook_id)
        or not _TIMESTAMP.match(timestamp)
        or len(several) > MAX_SIGNATURES
        or not all(map(_SIGNATURE.match, several))
    ):
        raise BodyRejected(400, "malformed")
    return Signed(webhook_id, int(timestamp), tuple(several))


def verify(
    signed: Signed, body: bytes, keys: Iterable[Key], now: float, tolerance_seconds: float = TOLERANCE_SECONDS
) -> bool:
    """Tell whether any of the keys made any of the signatures, and not too long from `now` (Unix seconds).

    Signatures of versions other than v1 are passed over. Compared in constant time.
    """
    if abs(now - signed.timestamp) > tolerance_seconds:
        return False
    given = [one.encode() for one in signed.signatures if one.startswith("v1,")]
    made = [key.sign(signed.webhook_id, signed.timestamp, body).encode() for key in keys]
    return any(hmac.compare_digest(ours, theirs) for ours in made for theirs in given)
