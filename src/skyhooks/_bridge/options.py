"""What a bridge is told: how it serves its clients, which origins, and from where on."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Literal, TypedDict
from urllib.parse import urlsplit

import msgspec

MAX_MESSAGE_BYTES = 65_536
"""How long a message from a browser may be: it has little to say."""
MAX_PENDING = 256
COMMENT_SECONDS = 15.0
"""How long a silence may last before a bridge says that it is there: proxies end connections that say nothing."""
STALL_COMMENTS = 2
"""For how many times `comment_seconds` a client may read nothing of what it was sent, or answer no ping."""
RETRY_SECONDS = 1.0, 4.0
"""Between which times a client tries again: all at once would be one more crash."""

CURSOR = "skyhooks-cursor"
"""The header in which every answer to a poll says where the client is; a 204 has nothing else to say it in."""

Policy = Literal["lossless", "latest"]


class BridgeKeywords(TypedDict, total=False):
    """What a bridge may be told beside its registry and its keys."""

    max_pending: int
    policy: Policy
    comment_seconds: float
    origins: Collection[str]


class BridgeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a bridge serves its clients."""

    max_pending: int = MAX_PENDING
    policy: Policy = "lossless"
    """`lossless`: what a slow client has not read waits in the log. `latest`: of each key only the newest is kept for it."""
    comment_seconds: float = COMMENT_SECONDS
    origins: frozenset[str] = frozenset()
    """Which other sites' pages may connect, as `https://app.example`."""

    @property
    def stall_seconds(self) -> float:
        """How long a client may take to read what it was sent; then its connection is closed, and it resumes."""
        return STALL_COMMENTS * self.comment_seconds


def bridge_options(
    *, max_pending: int, policy: Policy, comment_seconds: float, origins: Collection[str]
) -> BridgeOptions:
    """Check a bridge's arguments.

    Raises:
        ValueError: with what to give instead.
    """
    if max_pending < 1 or not comment_seconds > 0:
        raise ValueError("max_pending and comment_seconds must be above 0")
    if policy not in ("lossless", "latest"):
        raise ValueError(f'policy={policy!r} is neither "lossless" nor "latest"')
    if isinstance(origins, str):
        raise TypeError('origins= takes a list: ["https://app.example"]')
    for origin in origins:
        if not _is_origin(origin):
            raise ValueError(
                f"{origin!r} is no origin as browsers say it; give scheme and host alone: https://app.example"
            )
    return _options(max_pending, policy, comment_seconds, frozenset(origins))


def _is_origin(text: str) -> bool:
    """Tell whether a browser may say this: it leaves out the scheme's own port."""
    try:
        parts = urlsplit(text)
        own = {"http": 80, "https": 443}.get(parts.scheme) == parts.port
    except ValueError:
        return False
    whole = f"{parts.scheme}://{parts.netloc}".lower()
    return bool(parts.scheme and parts.netloc) and text == whole and not own and not any(map(str.isspace, text))


@lru_cache(maxsize=64)
def _options(max_pending: int, policy: Policy, comment_seconds: float, origins: frozenset[str]) -> BridgeOptions:
    """Give all clients of a bridge the same: Tornado asks for each of them."""
    return BridgeOptions(max_pending=max_pending, policy=policy, comment_seconds=comment_seconds, origins=origins)


def since_of(last_event_id: str | None, asked: str | None) -> str | None:
    """Return where a client wants to begin: one that connects again knows better than the URL it was made with."""
    return last_event_id or asked or None


def is_foreign(origin: str | None, host: str | None, origins: Collection[str]) -> bool:
    """Tell whether a page of another site asks, and may not. Browsers always say the origin of a WebSocket."""
    if origin is None or origin.lower() in origins:
        return False
    try:
        return not host or urlsplit(origin.lower()).netloc != host.lower()
    except ValueError:  # it is no URL
        return True


def cors_headers(origin: str | None, origins: Collection[str]) -> tuple[tuple[str, str], ...]:
    """Let pages of the origins that were named read what they are answered, with their cookies."""
    if origin is None or origin.lower() not in origins:
        return ()
    return (
        ("access-control-allow-origin", origin),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", CURSOR),  # else a page of theirs cannot see it in a poll's answer
        ("vary", "origin"),
    )
