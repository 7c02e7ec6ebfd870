"""Adding and removing hooks, and listing who holds what."""

from __future__ import annotations

import re

import msgspec
import pytest

from ..._values import Hook, Instance, Position
from ...abc import Store
from .base import LONG, StoreTests, a_key, an_instance, held_by, publish

ODD_KEYS = (
    "a.b=$set",
    "$where=1",
    'q="quoted"; DROP TABLE keys',
    "p=%_?*[x]",
    "u=größer 値 🎣",
    "e==",
    "n={'$ne': null}",
    "s= spaces ",
    "c=A",
    "c=a",
    "l=" + "x" * 256,
)


class HookTests(StoreTests):
    """`add_hooks`, `remove_hooks`, `positions`, `targets`, `hooks`."""

    def test_the_first_hook_on_a_key_makes_its_record(self, store: Store) -> None:
        key = a_key()
        heads = store.add_hooks("id", [key], 1)
        assert list(heads) == [key]
        assert heads[key].seq == 0
        assert re.fullmatch("[0-9a-f]{16}", heads[key].epoch)

    def test_each_record_has_an_epoch_of_its_own(self, store: Store) -> None:
        heads = store.positions([a_key() for _ in range(20)])
        assert len({head.epoch for head in heads.values()}) == 20

    def test_adding_returns_the_heads_of_all_keys(self, store: Store) -> None:
        keys = [a_key() for _ in range(5)]
        published = {key: publish(store, key, number)[-1].position for number, key in enumerate(keys, 1)}
        assert store.add_hooks("id", keys, 1) == published
        assert store.positions(keys) == published

    def test_adding_again_returns_the_present_head(self, store: Store) -> None:
        key = a_key()
        store.add_hooks("id", [key], 1)
        [published] = publish(store, key)
        assert store.add_hooks("id", [key], 1) == {key: published.position}
        assert store.add_hooks("id", [key], 0) == {key: published.position}

    def test_a_publish_returns_the_live_holders_as_they_joined(self, store: Store) -> None:
        one, other, key = an_instance(signing_key=b"k" * 32), an_instance(url=None), a_key()
        for instance in (one, other):
            store.join(instance, LONG)
            store.add_hooks(instance.instance_id, [key], 1)
        [published] = publish(store, key)
        assert sorted(published.targets, key=repr) == sorted((one, other), key=repr)

    def test_a_hook_without_a_row_is_no_target_until_its_instance_joins(self, store: Store) -> None:
        instance, key = an_instance(), a_key()
        store.add_hooks(instance.instance_id, [key], 1)
        assert held_by(store, key) == set()
        store.join(instance, LONG)
        assert held_by(store, key) == {instance.instance_id}

    @pytest.mark.parametrize(
        ("added", "removed", "stands"),
        [([1], 2, False), ([1], 1, True), ([2], 1, True), ([5, 3], 4, True), ([3, 5], 4, True), ([5, 3], 6, False)],
    )
    def test_a_remove_takes_only_hooks_whose_largest_number_is_smaller(
        self, store: Store, added: list[int], removed: int, stands: bool
    ) -> None:
        instance, key = an_instance(), a_key()
        store.join(instance, LONG)
        for number in added:
            store.add_hooks(instance.instance_id, [key], number)
        store.remove_hooks(instance.instance_id, [key], removed)
        assert (instance.instance_id in held_by(store, key)) == stands

    def test_a_hook_keeps_its_number_when_it_is_added_beside_a_new_one(self, store: Store) -> None:
        instance, key = an_instance(), a_key()
        store.join(instance, LONG)
        store.add_hooks(instance.instance_id, [key], 5)
        store.add_hooks(instance.instance_id, [key, a_key()], 3)
        store.remove_hooks(instance.instance_id, [key], 4)
        assert held_by(store, key) == {instance.instance_id}

    def test_a_removed_hook_may_be_added_with_a_smaller_number(self, store: Store) -> None:
        instance, key = an_instance(), a_key()
        store.join(instance, LONG)
        store.add_hooks(instance.instance_id, [key], 5)
        store.remove_hooks(instance.instance_id, [key], 6)
        store.add_hooks(instance.instance_id, [key], 1)
        assert held_by(store, key) == {instance.instance_id}

    def test_removing_leaves_other_keys_and_other_instances_alone(self, store: Store) -> None:
        one, other, key, kept = an_instance(), an_instance(), a_key(), a_key()
        for instance in (one, other):
            store.join(instance, LONG)
            store.add_hooks(instance.instance_id, [key, kept], 1)
        store.remove_hooks(one.instance_id, [key], 2)
        assert held_by(store, key) == {other.instance_id}
        assert held_by(store, kept) == {one.instance_id, other.instance_id}

    def test_removing_what_is_not_there_is_no_error(self, store: Store) -> None:
        store.add_hooks("id", [a_key()], 1)
        store.remove_hooks("id", [a_key()], 9)
        store.remove_hooks("nobody", [a_key()], 9)

    def test_a_removed_hook_is_not_reported_as_moved(self, store: Store) -> None:
        instance, key = an_instance(), a_key()
        joined = store.join(instance, LONG)
        store.add_hooks(instance.instance_id, [key], 1)
        publish(store, key)
        store.remove_hooks(instance.instance_id, [key], 2)
        moved = store.renew(instance.instance_id, LONG, joined.token).moved
        assert key not in moved or not self.moved_is_exact

    def test_positions_makes_a_record_that_stays(self, store: Store) -> None:
        """A cursor that is taken before the key exists names an epoch (PROTOCOL, trace 17)."""
        key = a_key()
        [head] = store.positions([key]).values()
        [published] = publish(store, key)
        assert published.position == Position(head.epoch, 1)

    def test_targets_answers_for_every_key_given(self, store: Store) -> None:
        instance, key, nobody = an_instance(), a_key(), a_key()
        store.join(instance, LONG)
        store.add_hooks(instance.instance_id, [key], 1)
        assert store.targets([key, nobody]) == {key: (instance,), nobody: ()}
        assert store.read(nobody, None, 1) is None

    def test_hooks_lists_live_hooks_by_key_and_id(self, store: Store) -> None:
        instances = [an_instance(name) for name in "bac"]
        for instance in instances:
            store.join(instance, LONG)
        for key in ("k=2", "k=10", "j=3"):
            for instance in instances:
                store.add_hooks(instance.instance_id, [key], 1)
        store.add_hooks("a hook without a row", ["k=2"], 1)
        ids = sorted(instance.instance_id for instance in instances)
        assert list(store.hooks()) == [Hook(key, holder) for key in ("j=3", "k=10", "k=2") for holder in ids]
        assert list(store.hooks(["k=2", "k=9"])) == [Hook("k=2", holder) for holder in ids]

    def test_hooks_pages_through_more_than_one_answer_holds(self, store: Store) -> None:
        instance, other = an_instance(), an_instance()
        keys = [f"k={number:05}" for number in range(1500)]
        for one, held in ((instance, keys), (other, keys[:700])):
            store.join(one, LONG)
            store.add_hooks(one.instance_id, held, 1)
        found = list(store.hooks())
        assert len(found) == len(set(found)) == 2200
        assert [hook.key for hook in found if hook.instance_id == instance.instance_id] == keys

    @pytest.mark.parametrize("key", ODD_KEYS)
    def test_keys_are_exact_text(self, store: Store, key: str) -> None:
        instance = an_instance()
        joined = store.join(instance, LONG)
        others = [other for other in ODD_KEYS if other != key]
        store.add_hooks(instance.instance_id, [key], 1)
        [published] = publish(store, key)
        assert published.targets == (instance,)
        assert set(store.targets(others).values()) == {()}
        assert store.renew(instance.instance_id, LONG, joined.token).moved == {key: published.position}
        assert list(store.hooks()) == [Hook(key, instance.instance_id)]

    @pytest.mark.parametrize("id", ["$gt", "a.b", "'; --", 'q"', "größer"])
    def test_ids_are_opaque(self, store: Store, id: str) -> None:
        key = a_key()
        store.join(an_instance_called(id), LONG)
        store.add_hooks(id, [key], 1)
        assert held_by(store, key) == {id}
        store.leave(id)
        assert held_by(store, key) == set()


def an_instance_called(id: str) -> Instance:
    """An instance with that id."""
    return msgspec.structs.replace(an_instance(), instance_id=id)
