"""Removing what has expired, and nothing else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from ..._values import Reaped, RenewalState
from ...abc import Store
from .base import LONG, SHORT, MakeStore, StoreTests, a_key, alive, an_instance, held_by, page, publish, until


class ReapingTests(StoreTests):
    """`reap`, `close`, `local_address`."""

    def test_expired_instances_go_with_their_hooks(self, store: Store) -> None:
        gone, live, key = an_instance(), an_instance(), a_key()
        joined = store.join(gone, SHORT)
        store.join(live, LONG)
        store.add_hooks(gone.instance_id, [key, a_key()], 1)
        store.add_hooks(live.instance_id, [key], 1)
        until(lambda: alive(store) == {live.instance_id})
        assert store.reap() == Reaped(instances=1, hooks=2)
        assert store.renew(gone.instance_id, LONG, joined.token).state is RenewalState.EXPIRED
        assert held_by(store, key) == {live.instance_id}

    def test_the_hooks_of_a_reaped_instance_do_not_come_back_with_its_id(self, store: Store) -> None:
        instance, key = an_instance(), a_key()
        store.join(instance, SHORT)
        store.add_hooks(instance.instance_id, [key], 1)
        until(lambda: store.reap().instances == 1)
        store.join(instance, LONG)
        assert held_by(store, key) == set()

    def test_a_renewed_lease_is_spared(self, store: Store) -> None:
        instance, key = an_instance(), a_key()
        joined = store.join(instance, SHORT)
        store.add_hooks(instance.instance_id, [key], 1)
        until(lambda: not store.instances())
        store.renew(instance.instance_id, LONG, joined.token)
        assert store.reap() == Reaped()
        assert held_by(store, key) == {instance.instance_id}

    def test_young_hooks_without_a_row_are_spared(self, store: Store) -> None:
        instance, key = an_instance(), a_key()
        store.add_hooks(instance.instance_id, [key], 1)
        assert store.reap() == Reaped()
        store.join(instance, LONG)
        assert held_by(store, key) == {instance.instance_id}

    def test_entries_past_the_retention_go_and_leave_the_record(self, make_store: MakeStore) -> None:
        store, keys = make_store(keep_seconds=SHORT, keep_min_seconds=0), [a_key(), a_key()]
        for key in keys:
            publish(store, key, 2)
        epochs = [page(store, key).epoch for key in keys]
        reaped = 0

        def reap() -> bool:
            nonlocal reaped
            reaped += store.reap().entries
            return not any(page(store, key).entries for key in keys)

        until(reap)
        found = [page(store, key) for key in keys]
        assert reaped + sum(page.floor for page in found) >= 4
        assert [(page.epoch, page.floor, page.head) for page in found] == [(epoch, 2, 2) for epoch in epochs]

    def test_what_was_young_goes_past_keep_when_it_is_old_enough(self, make_store: MakeStore) -> None:
        store, key = make_store(keep=2, keep_min_seconds=SHORT), a_key()
        publish(store, key, 5)
        until(lambda: store.reap() is not None and page(store, key).floor == 3)
        assert store.reap() == Reaped()

    def test_places_go_on_after_all_entries_were_reaped(self, make_store: MakeStore) -> None:
        store, key = make_store(keep_seconds=SHORT, keep_min_seconds=0), a_key()
        [first] = publish(store, key)
        until(lambda: store.reap() is not None and not page(store, key).entries)
        [second] = publish(store, key)
        assert first.position is not None
        assert second.position is not None
        assert (second.position.epoch, second.position.seq) == (first.position.epoch, 2)

    def test_records_that_were_just_touched_are_spared(self, store: Store) -> None:
        key = a_key()
        heads = store.positions([key])
        assert store.reap() == Reaped()
        assert store.positions([key]) == heads

    def test_many_may_reap_at_once(self, store: Store) -> None:
        for _ in range(30):
            instance = an_instance()
            store.join(instance, SHORT)
            store.add_hooks(instance.instance_id, [a_key(), a_key()], 1)
        until(lambda: not store.instances())
        with ThreadPoolExecutor(4) as threads:
            reaped = list(threads.map(lambda _: store.reap(), range(8)))
        assert sum(one.instances for one in reaped) == 30
        assert sum(one.hooks for one in reaped) == 60

    def test_a_closed_store_may_be_closed_again_and_used_again(self, store: Store) -> None:
        key = a_key()
        publish(store, key)
        store.close()
        store.close()
        assert page(store, key).head == 1

    def test_the_local_address_is_text_or_none(self, store: Store) -> None:
        assert isinstance(store.local_address(), str | None)
