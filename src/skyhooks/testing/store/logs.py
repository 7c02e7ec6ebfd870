"""Reading a log: from anywhere, in pages, without holes."""

from __future__ import annotations

import pytest

from ..._values import Entry, Position, Publication
from ...abc import Store
from .base import MakeStore, StoreTests, a_key, a_publication, page, publish, read_all, seqs

PAGE_BYTES = 4 * 1_048_576
"""No page needs to be larger than this, though the contract leaves the size to the store."""


class LogTests(StoreTests):
    """`read`, `renew_epochs`."""

    def test_an_unknown_key_has_no_record(self, store: Store) -> None:
        assert store.read(a_key(), None, 10) is None

    def test_a_record_without_entries_is_an_empty_page(self, store: Store) -> None:
        key = a_key()
        head = store.positions([key])[key]
        found = page(store, key)
        assert (found.epoch, found.floor, found.head, found.entries) == (head.epoch, 0, 0, ())

    def test_an_entry_comes_back_as_it_was_given(self, store: Store) -> None:
        key = a_key()
        data = b' {"$set" : [1.0e3, "\\u00fc \xc3\xbc", {"a.b": null}]}\n'
        given = Publication(key, "id 1", "nonce", data, 1.5, (key, "b=ü, \"'"), b"\x00mac\xff")
        store.publish([given])
        assert page(store, key).entries == (Entry(1, "id 1", data, 1.5, given.keys, "nonce", given.mac),)

    def test_none_is_the_start(self, store: Store) -> None:
        key = a_key()
        publish(store, key, 3)
        assert seqs(page(store, key)) == [1, 2, 3]

    @pytest.mark.parametrize("seq", range(6))
    def test_a_position_reads_what_is_behind_it(self, store: Store, seq: int) -> None:
        key = a_key()
        publish(store, key, 5)
        epoch = page(store, key).epoch
        assert seqs(page(store, key, Position(epoch, seq))) == list(range(seq + 1, 6))

    @pytest.mark.parametrize("seq", [6, 2**31, 2**63 - 1, 2**63, 2**64 - 1])
    def test_a_position_past_the_head_brings_no_entries(self, store: Store, seq: int) -> None:
        key = a_key()
        publish(store, key, 5)
        found = page(store, key, Position(page(store, key).epoch, seq))
        assert (found.floor, found.head, found.entries) == (0, 5, ())

    def test_a_position_of_another_epoch_reads_from_the_floor(self, make_store: MakeStore) -> None:
        store, key = make_store(keep=3, keep_min_seconds=0), a_key()
        publish(store, key, 5)
        found = page(store, key, Position("f" * 16, 4))
        assert (found.floor, seqs(found)) == (2, [3, 4, 5])

    def test_a_position_before_the_floor_reads_from_the_floor(self, make_store: MakeStore) -> None:
        store, key = make_store(keep=3, keep_min_seconds=0), a_key()
        publish(store, key, 5)
        epoch = page(store, key).epoch
        assert [seqs(page(store, key, Position(epoch, seq))) for seq in (0, 1, 2)] == [[3, 4, 5]] * 3
        assert seqs(page(store, key, Position(epoch, 3))) == [4, 5]

    def test_at_most_limit_entries_and_then_on(self, store: Store) -> None:
        key = a_key()
        publish(store, key, 7)
        first = page(store, key, None, 3)
        assert (seqs(first), first.head) == ([1, 2, 3], 7)
        assert seqs(page(store, key, Position(first.epoch, 3), 3)) == [4, 5, 6]
        assert [entry.seq for entry in read_all(store, key, 2)] == list(range(1, 8))

    def test_large_entries_come_in_pages_of_bounded_size(self, make_store: MakeStore) -> None:
        store, key = make_store(keep_bytes=10_000_000), a_key()
        data = b'"' + b"x" * 130_000 + b'"'
        store.publish([a_publication(key, data=data) for _ in range(50)])
        assert sum(len(entry.data) for entry in page(store, key).entries) <= PAGE_BYTES
        assert [entry.seq for entry in read_all(store, key, 1000)] == list(range(1, 51))

    def test_an_entry_larger_than_a_page_is_returned_alone(self, make_store: MakeStore) -> None:
        store, key = make_store(keep_bytes=10_000_000), a_key()
        publish(store, key, 2, data=b'"' + b"x" * 2_000_000 + b'"')
        assert [entry.seq for entry in read_all(store, key, 1000)] == [1, 2]

    def test_new_epochs_keep_seqs_and_entries(self, store: Store) -> None:
        keys = [a_key(), a_key()]
        for key in keys:
            publish(store, key, 3)
        before = {key: page(store, key) for key in keys}
        assert store.renew_epochs() == 2
        for key in keys:
            after = page(store, key, Position(before[key].epoch, 3))
            assert after.epoch != before[key].epoch
            assert (after.entries, after.head) == (before[key].entries, 3)

    def test_new_epochs_are_in_every_answer(self, store: Store) -> None:
        key = a_key()
        store.add_hooks("id", [key], 1)
        store.renew_epochs()
        epoch = page(store, key).epoch
        assert store.add_hooks("id", [key], 1) == store.positions([key]) == {key: Position(epoch, 0)}
        [published] = publish(store, key)
        assert published.position == Position(epoch, 1)
