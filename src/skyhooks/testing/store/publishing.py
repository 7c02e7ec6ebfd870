"""Appending: places, ids, and what is no longer kept."""

from __future__ import annotations

import pytest

from ..._values import Position
from ...abc import Store
from .base import LONG, SHORT, MakeStore, StoreTests, a_key, a_publication, an_instance, page, publish, seqs, until


class PublishingTests(StoreTests):
    """`publish`."""

    def test_places_are_counted_from_one_without_holes(self, store: Store) -> None:
        key = a_key()
        positions = [published.position for published in publish(store, key, 5)]
        assert positions == [Position(page(store, key).epoch, seq) for seq in range(1, 6)]

    def test_each_key_has_a_log_of_its_own(self, store: Store) -> None:
        one, other = a_key(), a_key()
        answers = store.publish([a_publication(key) for key in (one, other, one)])
        assert [answer.position.seq for answer in answers if answer.position] == [1, 1, 2]
        assert page(store, one).epoch != page(store, other).epoch

    def test_a_call_appends_in_the_order_given(self, store: Store) -> None:
        key = a_key()
        given = [a_publication(key) for _ in range(300)]
        store.publish(given)
        assert [entry.id for entry in page(store, key).entries] == [one.id for one in given]

    def test_nothing_to_publish_is_no_error(self, store: Store) -> None:
        assert store.publish([]) == []

    def test_targets_are_those_of_each_key(self, store: Store) -> None:
        instances = {a_key(): an_instance() for _ in range(2)}
        for key, instance in instances.items():
            store.join(instance, LONG)
            store.add_hooks(instance.instance_id, [key], 1)
        answers = store.publish([a_publication(key) for key in instances])
        assert [answer.targets for answer in answers] == [(instance,) for instance in instances.values()]

    def test_a_known_id_is_not_appended_again(self, store: Store) -> None:
        key = a_key()
        [first] = store.publish([a_publication(key, "once", data=b"1")])
        [second] = store.publish([a_publication(key, "once", data=b"2")])
        assert second.position == first.position
        assert first.entry is None
        assert second.entry is not None
        assert second.entry.data == b"1"
        assert seqs(page(store, key)) == [1]

    @pytest.mark.parametrize(("nonce", "duplicate"), [("mine", False), ("another", True)])
    def test_the_nonce_tells_a_retry_from_a_duplicate(self, store: Store, nonce: str, duplicate: bool) -> None:
        key = a_key()
        [first] = store.publish([a_publication(key, "once", "mine")])
        [second] = store.publish([a_publication(key, "once", nonce)])
        assert (first.duplicate, second.duplicate) == (False, duplicate)

    def test_a_known_id_within_one_call_is_not_appended_again(self, store: Store) -> None:
        key = a_key()
        answers = store.publish([a_publication(key, name, name) for name in ("a", "b", "a")])
        assert [answer.position.seq for answer in answers if answer.position] == [1, 2, 1]
        assert [answer.entry is None for answer in answers] == [True, True, False]

    def test_another_key_does_not_know_the_id(self, store: Store) -> None:
        keys = [a_key(), a_key()]
        answers = store.publish([a_publication(key, "once") for key in keys])
        assert [(answer.duplicate, answer.entry) for answer in answers] == [(False, None)] * 2

    def test_old_entries_go_past_keep(self, make_store: MakeStore) -> None:
        store, key = make_store(keep=3, keep_min_seconds=0), a_key()
        publish(store, key, 10)
        found = page(store, key)
        assert (found.floor, found.head, seqs(found)) == (7, 10, [8, 9, 10])

    def test_one_call_is_trimmed_like_many(self, make_store: MakeStore) -> None:
        store, key = make_store(keep=3, keep_min_seconds=0), a_key()
        store.publish([a_publication(key) for _ in range(10)])
        assert seqs(page(store, key)) == [8, 9, 10]

    def test_young_entries_stay_past_keep(self, make_store: MakeStore) -> None:
        store, key = make_store(keep=3, keep_seconds=0, keep_min_seconds=LONG), a_key()
        publish(store, key, 10)
        assert seqs(page(store, key)) == list(range(1, 11))

    def test_young_entries_go_past_keep_bytes(self, make_store: MakeStore) -> None:
        store, key = make_store(keep_bytes=50_000), a_key()
        publish(store, key, 10, data=b'"' + b"x" * 12_000 + b'"')
        assert seqs(page(store, key)) == [7, 8, 9, 10]

    def test_the_newest_entry_always_stays(self, make_store: MakeStore) -> None:
        store, key = make_store(keep_bytes=1, keep_seconds=0, keep_min_seconds=0), a_key()
        for head in (1, 2, 3):
            publish(store, key)
            assert seqs(page(store, key)) == [head]

    def test_aged_entries_go_with_the_next_publish(self, make_store: MakeStore) -> None:
        store, key = make_store(keep_seconds=SHORT, keep_min_seconds=0), a_key()
        publish(store, key, 3)
        until(lambda: publish(store, key)[0].position is not None and page(store, key).floor >= 3)

    def test_other_keys_are_left_alone(self, make_store: MakeStore) -> None:
        store, full, other = make_store(keep=2, keep_min_seconds=0), a_key(), a_key()
        publish(store, other, 2)
        publish(store, full, 5)
        assert seqs(page(store, other)) == [1, 2]

    def test_a_trimmed_id_that_was_not_to_be_remembered_is_appended_anew(self, make_store: MakeStore) -> None:
        store, key = make_store(keep=1, keep_min_seconds=0), a_key()
        store.publish([a_publication(key, "once")])
        publish(store, key)
        [again] = store.publish([a_publication(key, "once")])
        assert (again.position, again.entry) == (Position(page(store, key).epoch, 3), None)

    @pytest.mark.parametrize(("nonce", "duplicate"), [("mine", False), ("another", True)])
    def test_a_remembered_id_outlives_its_entry(self, make_store: MakeStore, nonce: str, duplicate: bool) -> None:
        store, key = make_store(keep=1, keep_min_seconds=0), a_key()
        store.publish([a_publication(key, "once", "mine", remember=True)])
        publish(store, key)
        [again] = store.publish([a_publication(key, "once", nonce, remember=True)])
        assert (again.position, again.entry, again.duplicate) == (None, None, duplicate)
        assert seqs(page(store, key)) == [2]

    def test_only_the_last_ids_are_remembered(self, make_store: MakeStore) -> None:
        store, key = make_store(keep=1, keep_min_seconds=0, dedupe_ids=3), a_key()
        for name in "abcde":
            store.publish([a_publication(key, name, remember=True)])
        publish(store, key)
        known = [store.publish([a_publication(key, name)])[0].position is None for name in "edcba"]
        assert known == [True, True, True, False, False]

    def test_ids_are_forgotten_in_time(self, make_store: MakeStore) -> None:
        store, key = make_store(keep=1, keep_min_seconds=0, dedupe_seconds=SHORT), a_key()
        store.publish([a_publication(key, name, remember=True) for name in ("once", "twice")])
        publish(store, key)
        until(lambda: store.publish([a_publication(key, "once")])[0].position is not None)
        store.publish([a_publication(key, remember=True)])
        assert store.publish([a_publication(key, "twice")])[0].position is not None
