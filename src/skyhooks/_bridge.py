"""What all bridges to browsers have in common: what they are told, whom they serve, and from where on."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from ._wire import encode_problem
from .exceptions import InvalidCursor, InvalidKey, NotStarted, StoreCorrupt, StoreUnavailable

MAX_MESSAGE_BYTES = 65_536
"""How long a message from a browser may be: it has little to say."""
MAX_PENDING = 256
CURSOR = "skyhooks-cursor"
"""The header in which a poll's answer says where the client is; a 204 has nothing else to say it in."""
COMMENT_SECONDS = 15.0
"""How long a silence may last before a bridge says that it is there: proxies end connections that say nothing."""
STALL_COMMENTS = 2
"""For how many times `comment_seconds` a client may read nothing of what it was sent, or answer no ping."""
RETRY_SECONDS = 1.0, 4.0
"""Between which times a client tries again: all at once would be one more crash."""

CURSOR = "skyhooks-cursor"
"""The header in which every answer to a poll says where the client is; a 204 has nothing else to say it in."""

PROBLEM = "application/problem+json"
PROBLEMS = {
    "cursor": ("Bad Request", "That is no cursor of skyhooks; begin without one."),
    "timeout": ("Bad Request", "The timeout is a number of seconds."),
    "unauthorized": ("Unauthorized", "Say first who you are."),
    "forbidden": ("Forbidden", "These notifications are not for you."),
    "origin": ("Forbidden", "Pages of that site may not connect."),
    "method": ("Method Not Allowed", "Notifications are read by GET."),
    "upgrade": ("Upgrade Required", "This is a WebSocket."),
    "keys": ("Internal Server Error", "The application failed to say which keys to serve; its log says why."),
    "unavailable": ("Service Unavailable", "The store is away, or this process stops; try again."),
}
"""Title and detail by code: fixed texts, so that nothing of a request is ever echoed."""

Policy = Literal["lossless", "latest"]


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
        parts = urlsplit(origin)
        if not (parts.scheme and parts.netloc) or origin != f"{parts.scheme}://{parts.netloc}".lower():
            raise ValueError(f"{origin!r} is no origin; give scheme and host alone, as https://app.example")
    return BridgeOptions(
        max_pending=max_pending, policy=policy, comment_seconds=comment_seconds, origins=frozenset(origins)
    )


def since_of(last_event_id: str | None, asked: str | None) -> str | None:
    """Return where a client wants to begin: one that connects again knows better than the URL it was made with."""
    return last_event_id or asked or None


def is_foreign(origin: str | None, host: str | None, origins: Collection[str]) -> bool:
    """Tell whether a page of another site asks, and may not. Browsers always say the origin of a WebSocket."""
    if origin is None or origin.lower() in origins:
        return False
    return not host or urlsplit(origin.lower()).netloc != host.lower()


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


class Refused(msgspec.Struct, frozen=True):
    """What a client is answered that gets no stream."""

    status: int
    code: str
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def body(self) -> bytes:
        """The problem as JSON (RFC 9457), of the type `PROBLEM`."""
        title, detail = PROBLEMS[self.code]
        return encode_problem(self.status, self.code, title, detail)


NO_GET = Refused(405, "method", (("allow", "GET"),))
NO_UPGRADE = Refused(426, "upgrade", (("connection", "upgrade"), ("upgrade", "websocket")))
FOREIGN = Refused(403, "origin")
UNAUTHORIZED = Refused(401, "unauthorized")
FORBIDDEN = Refused(403, "forbidden")

Trouble = (InvalidCursor, InvalidKey, StoreUnavailable, StoreCorrupt, NotStarted, PermissionError)
"""What may go wrong before a stream begins, and has an answer."""


def refusal_of(error: BaseException) -> Refused:
    """Return the answer to what went wrong before a stream began; one of `Trouble`."""
    if isinstance(error, InvalidCursor):
        return Refused(400, "cursor")
    if isinstance(error, PermissionError):
        return FORBIDDEN
    if isinstance(error, InvalidKey):
        return Refused(500, "keys")  # the application's mistake, not the browser's
    return Refused(503, "unavailable", (("retry-after", "1"),))
