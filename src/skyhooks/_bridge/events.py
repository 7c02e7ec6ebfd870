"""EventSource: a feed as server-sent events (WHATWG HTML, section 9.2). Async, names no loop."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence

import msgspec

from .._notification import Gap, Notification
from .feed import Feed, Item
from .options import RETRY_SECONDS, BridgeOptions

log = logging.getLogger("skyhooks")

HEADERS = (
    ("content-type", "text/event-stream"),
    ("cache-control", "no-store"),
    ("x-accel-buffering", "no"),  # nginx would keep events until a buffer is full
)
COMMENT = b":\n\n"
PIECE_BYTES = 65_536
"""How much is sent before a client is asked to have read it."""
_LINE_END = re.compile(rb"\r\n|\r|\n")

EventName = str | Callable[[Notification], str] | None
"""What notifications are called: nothing, which a page hears as `message`; a name; or a function that names each."""
TAKEN = ("hello", "gap", "reconnect")
"""What the bridge's own events are called."""


def check_event_name(event: EventName) -> EventName:
    """Return what a bridge was told to call events by, if it can be.

    Raises:
        ValueError: with what to give instead.
    """
    if isinstance(event, str) and (fault := _fault_of(event)):
        raise ValueError(f"event={event!r} {fault}")
    return event


async def event_stream(
    feed: Feed, options: BridgeOptions, draw: Callable[[], float], event: EventName = None
) -> AsyncGenerator[bytes]:
    """Yield what an EventSource is sent, until the registry stops; `draw` gives a number from 0 up to 1.

    An adapter that keeps no coroutine for each of its clients puts the same together from the functions below.
    """
    yield encode_hello(feed.cursor, draw)
    while not feed.ended:
        items = await feed.next(options.comment_seconds)
        for piece in encode_items(items, event):
            yield piece
        if not items and not feed.ended:
            yield COMMENT
    yield encode_reconnect(feed.cursor)


def encode_hello(cursor: str, draw: Callable[[], float]) -> bytes:
    """Return what comes first, so that the client resumes from there even if nothing ever comes.

    It is an event, as the id of a block without data is hidden from the page: skyhooks.js would not know it when an error
    status ends the EventSource for good, nor whether a proxy holds back all that comes.
    """
    least, most = RETRY_SECONDS
    retry_ms = round(1000 * (least + (most - least) * draw()))
    return f"retry: {retry_ms}\n".encode() + encode_fields("hello", b"{}", cursor)


def encode_reconnect(cursor: str) -> bytes:
    """Return what comes last: go elsewhere, with this cursor."""
    return encode_fields("reconnect", b"{}", cursor)


def encode_items(items: Sequence[Item], event: EventName = None) -> Iterator[bytes]:
    """Return items as pieces to send."""
    if len(items) == 1:  # as it mostly is
        return iter((encode_event(items[0], event),))
    return join_pieces(encode_event(item, event) for item in items)


def join_pieces(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Join blocks until a piece is long enough: each is waited for by itself, so that one who reads slowly is not cut off."""
    piece: list[bytes] = []
    size = 0
    for block in blocks:
        piece.append(block)
        size += len(block)
        if size >= PIECE_BYTES:
            yield b"".join(piece)
            piece, size = [], 0
    if piece:
        yield b"".join(piece)


def encode_event(item: Item, event: EventName = None) -> bytes:
    """Return an item as an event, whose id is the cursor behind it: a browser gives it back when it connects again."""
    if isinstance(item, Gap):
        return encode_fields("gap", msgspec.json.encode({"key": item.key, "reason": item.reason}), item.cursor)
    written = item.as_event
    if written is None or written[0] is not event:
        item.as_event = written = event, encode_fields(_name(item, event), item.raw, item.cursor)
    return written[1]


def encode_fields(name: str | None, data: bytes, cursor: str) -> bytes:
    """Return an event; data that has line ends comes as so many lines, which the browser joins again."""
    event = f"event: {name}\n" if name else ""
    if b"\n" in data or b"\r" in data:
        data = _LINE_END.sub(b"\ndata: ", data)
    return b"%bdata: %b\n\n" % (f"id: {cursor}\n{event}".encode(), data)


def _name(item: Notification, event: EventName) -> str | None:
    """Name one event; what a function does not name well is told all the same, or no client would ever get past it."""
    if not callable(event):
        return event
    try:
        name = event(item)
        fault = _fault_of(name) if name else ""
    except Exception:
        log.exception("event= failed to name %r; it is told without a name", item)
        return None
    if fault:
        log.error("event= named %r %r, which %s; it is told without a name", item, name, fault)
        return None
    return name


def _fault_of(name: str) -> str:
    """Say why an event cannot be called so; nothing where it can."""
    if "\n" in name or "\r" in name:
        return "has a line end, and a name is one line"
    return "is what a bridge calls an event of its own; take another" if name in TAKEN else ""
