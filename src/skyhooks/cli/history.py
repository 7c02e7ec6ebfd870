"""`skyhooks history`: what a key's log still keeps."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from .._cursor import encode_cursor
from .._keys import canonical_keys
from .._values import Entry, Page, Position
from ..abc import Store
from .exits import BadInput, Exit
from .inputs import make_store, read_keys
from .output import clock, compact, print_line, print_table

PAGE_ENTRIES = 500


def run(options: argparse.Namespace) -> Exit:
    """Do what the words say; `NO` if the log is empty or there is none."""
    keys = canonical_keys(read_keys(options.keys))
    if len(keys) > 1:
        raise BadInput("history shows one key at a time")
    store = make_store(options, existing=True)
    try:
        entries = _entries(store, keys[0], options.last)
        found = _print_as_json(keys[0], entries) if options.json else _print(keys[0], entries)
    finally:
        store.close()
    return Exit.OK if found else Exit.NO


def _entries(store: Store, key: str, last: int | None) -> Iterator[tuple[str, Entry]]:
    """Yield each entry with its epoch, page by page; end where the log begins anew meanwhile."""
    page = store.read(key, None, 1)
    if page is None:
        return
    epoch = page.epoch
    after = Position(epoch, page.floor if last is None else max(page.floor, page.head - last))
    while (read := _read_on(store, key, after)) is not None:
        for entry in read.entries:
            yield epoch, entry
        after = Position(epoch, read.entries[-1].seq)


def _read_on(store: Store, key: str, after: Position) -> Page | None:
    page = store.read(key, after, PAGE_ENTRIES)
    return page if page is not None and page.epoch == after.epoch and page.entries else None


def _print_as_json(key: str, entries: Iterator[tuple[str, Entry]]) -> bool:
    found = False
    for epoch, entry in entries:
        found = True
        print_line(
            {
                "key": key,
                "seq": entry.seq,
                "id": entry.id,
                "sent_at": entry.sent_at,
                "cursor": encode_cursor(((key, epoch, entry.seq),)),
                "data": compact(entry.data),
            }
        )
    return found


def _print(key: str, entries: Iterator[tuple[str, Entry]]) -> bool:
    rows = [
        (str(one.seq), clock(one.sent_at), one.id, str(len(one.data)), bytes(compact(one.data)).decode())
        for _, one in entries
    ]
    if rows:
        print_table(("SEQ", "SENT", "ID", "BYTES", "DATA"), rows, right=("SEQ", "BYTES"))
    else:
        print(f"the log of {key} keeps nothing")
    return bool(rows)
