"""WebSocket: a feed as JSON messages, and what a browser may say. Async, names no loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from enum import IntEnum

import msgspec

from .._notification import Gap
from .feed import Feed, Item
from .options import BridgeOptions
from .refusals import Refused

FIRST_MESSAGE_SECONDS = 10.0
"""How long a client that has its cursor in its first message (`?since=` without a value) may take to send it."""


class Close(IntEnum):
    """Why a socket is closed (RFC 6455, section 7.4.1)."""

    GOING_AWAY = 1001
    """The registry stops: connect again, with the cursor."""
    POLICY = 1008
    """The browser said what nobody asked for."""
    TOO_BIG = 1009
    INTERNAL = 1011
    """The bridge failed; its log says why."""
    TRY_AGAIN = 1013
    """The store is away, or the client was too slow: connect again, with the cursor."""


class Told(msgspec.Struct, frozen=True, tag_field="type", tag="notification"):
    """A notification; `data` is its JSON untouched."""

    id: str
    key: str
    cursor: str
    sent_at: float
    replayed: bool
    data: msgspec.Raw


class ToldGap(msgspec.Struct, frozen=True, tag_field="type", tag="gap"):
    """Part of what was sent is no longer kept."""

    key: str
    reason: str
    cursor: str


class Hello(msgspec.Struct, frozen=True, tag_field="type", tag="hello"):
    """The first message: where the client is."""

    cursor: str


class Reconnect(msgspec.Struct, frozen=True, tag_field="type", tag="reconnect"):
    """The last message: go elsewhere, with this cursor."""

    cursor: str


class First(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The one message that a browser may send."""

    since: str


async def message_stream(feed: Feed, options: BridgeOptions) -> AsyncGenerator[bytes]:
    """Yield the messages for a client, as JSON, until the registry stops; an empty one where a ping is due."""
    yield msgspec.json.encode(Hello(feed.cursor))
    while not feed.ended:
        items = await feed.next(options.comment_seconds)
        for item in items:
            yield encode_message(item)
        if not items and not feed.ended:
            yield b""
    yield msgspec.json.encode(Reconnect(feed.cursor))


def encode_message(item: Item) -> bytes:
    """Return an item as a message."""
    if isinstance(item, Gap):
        return msgspec.json.encode(ToldGap(item.key, item.reason, item.cursor))
    told = Told(item.id, item.key, item.cursor, item.sent_at, item.replayed, msgspec.Raw(item.raw))
    return msgspec.json.encode(told)


def read_first(message: bytes | str) -> str | None:
    """Return the cursor in a browser's first message; None: it is not the one that may be sent."""
    try:
        return msgspec.json.decode(message, type=First).since
    except msgspec.DecodeError:
        return None


def close_of(refused: Refused) -> Close:
    """Return with which code a socket is closed, when what its first message asks for is refused."""
    return Close.POLICY if refused.status < 500 else Close.TRY_AGAIN
