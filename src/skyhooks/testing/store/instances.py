"""Joining, renewing, displacing, leaving, listing; what has moved."""

from __future__ import annotations

import msgspec
import pytest

from ..._values import RenewalState
from ...abc import Store
from .base import LONG, SHORT, StoreTests, a_key, a_publication, alive, an_instance, held_by, publish, until


class InstanceTests(StoreTests):
    """`join`, `renew`, `leave`, `instances`."""

    def test_join_records_all_of_an_instance(self, store: Store) -> None:
        instance = an_instance(max_body_bytes=1234, signing_key=b"\x00\xff" * 16, mac=b"\x80mac", label="tornado ü")
        store.join(instance, LONG)
        [found] = store.instances()
        assert found.lease_left_seconds == pytest.approx(LONG, abs=30)
        assert msgspec.structs.replace(found, lease_left_seconds=None) == instance

    def test_a_second_join_with_the_same_url_displaces_the_first_with_its_hooks(self, store: Store) -> None:
        first, second, key = an_instance(url="http://a/"), an_instance(url="http://a/"), a_key()
        store.join(first, LONG)
        store.add_hooks(first.instance_id, [key], 1)
        assert store.join(second, LONG).displaced == (first.instance_id,)
        assert alive(store) == {second.instance_id}
        assert held_by(store, key) == set()
        store.add_hooks(second.instance_id, [key], 1)
        assert held_by(store, key) == {second.instance_id}

    def test_a_join_displaces_rows_past_their_lease_too(self, store: Store) -> None:
        first, second = an_instance(url="http://a/"), an_instance(url="http://a/")
        store.join(first, SHORT)
        until(lambda: not store.instances())
        assert store.join(second, LONG).displaced == (first.instance_id,)

    def test_rows_without_a_url_neither_displace_nor_are_displaced(self, store: Store) -> None:
        first, second, third = an_instance(url=None), an_instance(url=None), an_instance()
        assert [store.join(one, LONG).displaced for one in (first, second, third)] == [(), (), ()]
        assert alive(store) == {first.instance_id, second.instance_id, third.instance_id}

    def test_another_url_is_not_displaced(self, store: Store) -> None:
        first, second = an_instance(url="http://a/"), an_instance(url="http://a")
        store.join(first, LONG)
        assert store.join(second, LONG).displaced == ()

    def test_a_repeated_join_keeps_the_hooks_and_displaces_nobody(self, store: Store) -> None:
        instance, key = an_instance(), a_key()
        store.join(instance, LONG)
        store.add_hooks(instance.instance_id, [key], 1)
        again = store.join(instance, LONG)
        publish(store, key)
        assert again.displaced == ()
        assert held_by(store, key) == {instance.instance_id}
        assert set(store.renew(instance.instance_id, LONG, again.token).moved) == {key}

    def test_instances_are_listed_oldest_first(self, store: Store) -> None:
        joined = [an_instance() for _ in range(4)]
        for instance in joined:
            store.join(instance, LONG)
        store.renew(joined[0].instance_id, LONG, "")
        assert [one.instance_id for one in store.instances()] == [one.instance_id for one in joined]

    def test_an_instance_past_its_lease_is_neither_listed_nor_a_target(self, store: Store) -> None:
        instance, key = an_instance(), a_key()
        store.join(instance, SHORT)
        store.add_hooks(instance.instance_id, [key], 1)
        until(lambda: not store.instances())
        assert held_by(store, key) == set()
        assert list(store.hooks()) == []
        [published] = publish(store, key)
        assert published.targets == ()

    def test_renew_extends_the_lease_from_now(self, store: Store) -> None:
        instance = an_instance()
        joined = store.join(instance, 2.0)
        assert store.renew(instance.instance_id, LONG, joined.token).state is RenewalState.ALIVE
        [found] = store.instances()
        assert found.lease_left_seconds == pytest.approx(LONG, abs=30)

    def test_renew_past_the_lease_is_alive_while_the_row_is_there(self, store: Store) -> None:
        instance, key = an_instance(), a_key()
        joined = store.join(instance, SHORT)
        store.add_hooks(instance.instance_id, [key], 1)
        until(lambda: not store.instances())
        assert store.renew(instance.instance_id, LONG, joined.token).state is RenewalState.ALIVE
        assert held_by(store, key) == {instance.instance_id}

    def test_renew_reports_what_was_published_past_the_lease(self, store: Store) -> None:
        instance, key = an_instance(), a_key()
        joined = store.join(instance, SHORT)
        store.add_hooks(instance.instance_id, [key], 1)
        until(lambda: not store.instances())
        [published] = publish(store, key)
        assert store.renew(instance.instance_id, LONG, joined.token).moved == {key: published.position}

    def test_renew_reports_the_present_heads_of_held_keys_that_moved(self, store: Store) -> None:
        instance, moved, still, foreign = an_instance(), a_key(), a_key(), a_key()
        joined = store.join(instance, LONG)
        store.add_hooks(instance.instance_id, [moved, still], 1)
        *_, last = publish(store, moved, 3)
        publish(store, foreign)
        heads = store.renew(instance.instance_id, LONG, joined.token).moved
        assert heads[moved] == last.position
        assert foreign not in heads
        assert still not in heads or not self.moved_is_exact

    def test_a_new_token_takes_over_from_the_old_one(self, store: Store) -> None:
        instance, first, second = an_instance(), a_key(), a_key()
        joined = store.join(instance, LONG)
        store.add_hooks(instance.instance_id, [first, second], 1)
        publish(store, first)
        renewal = store.renew(instance.instance_id, LONG, joined.token)
        publish(store, second)
        heads = store.renew(instance.instance_id, LONG, renewal.token).moved
        assert second in heads
        assert first not in heads or not self.moved_is_exact

    def test_the_same_token_reports_the_same_again(self, store: Store) -> None:
        """An answer may be lost on its way (PROTOCOL 6)."""
        instance, first, second = an_instance(), a_key(), a_key()
        joined = store.join(instance, LONG)
        store.add_hooks(instance.instance_id, [first, second], 1)
        publish(store, first)
        store.renew(instance.instance_id, LONG, joined.token)
        publish(store, second)
        assert set(store.renew(instance.instance_id, LONG, joined.token).moved) >= {first, second}

    def test_a_key_that_moves_again_is_reported_again(self, store: Store) -> None:
        instance, key = an_instance(), a_key()
        token = store.join(instance, LONG).token
        store.add_hooks(instance.instance_id, [key], 1)
        for _ in range(3):
            [published] = publish(store, key)
            renewal = store.renew(instance.instance_id, LONG, token)
            token = renewal.token
            assert renewal.moved == {key: published.position}

    def test_a_key_that_moves_again_is_reported_though_another_one_moved_between(self, store: Store) -> None:
        instance, key, other = an_instance(), a_key(), a_key()
        token = store.join(instance, LONG).token
        store.add_hooks(instance.instance_id, [key, other], 1)
        publish(store, key)
        publish(store, other)
        token = store.renew(instance.instance_id, LONG, token).token
        publish(store, key)
        assert key in store.renew(instance.instance_id, LONG, token).moved

    def test_each_instance_is_told_of_its_own(self, store: Store) -> None:
        one, other, key = an_instance(), an_instance(), a_key()
        tokens = {instance: store.join(instance, LONG).token for instance in (one, other)}
        for instance in tokens:
            store.add_hooks(instance.instance_id, [key], 1)
        publish(store, key)
        store.renew(one.instance_id, LONG, tokens[one])
        assert set(store.renew(other.instance_id, LONG, tokens[other]).moved) == {key}

    def test_a_displaced_instance_is_told_so(self, store: Store) -> None:
        first, second = an_instance(url="http://a/"), an_instance(url="http://a/")
        joined = store.join(first, LONG)
        store.join(second, LONG)
        assert store.renew(first.instance_id, LONG, joined.token).state is RenewalState.DISPLACED
        assert alive(store) == {second.instance_id}

    def test_a_displaced_instance_is_told_so_also_after_a_renewal(self, store: Store) -> None:
        first, second = an_instance(url="http://a/"), an_instance(url="http://a/")
        token = store.renew(first.instance_id, LONG, store.join(first, LONG).token).token
        store.renew(first.instance_id, LONG, token)
        store.join(second, LONG)
        assert store.renew(first.instance_id, LONG, token).state is RenewalState.DISPLACED

    def test_an_instance_whose_row_is_gone_is_told_that_it_expired(self, store: Store) -> None:
        instance, other = an_instance(), an_instance()
        joined = store.join(instance, LONG)
        store.join(other, LONG)
        store.leave(instance.instance_id)
        assert store.renew(instance.instance_id, LONG, joined.token).state is RenewalState.EXPIRED
        assert alive(store) == {other.instance_id}

    def test_an_instance_without_a_url_is_never_displaced(self, store: Store) -> None:
        instance = an_instance(url=None)
        joined = store.join(instance, LONG)
        store.join(an_instance(url=None), LONG)
        store.leave(instance.instance_id)
        assert store.renew(instance.instance_id, LONG, joined.token).state is RenewalState.EXPIRED

    def test_hooks_alone_are_no_row_to_renew(self, store: Store) -> None:
        instance = an_instance()
        store.add_hooks(instance.instance_id, [a_key()], 1)
        assert store.renew(instance.instance_id, LONG, "").state is RenewalState.EXPIRED
        assert store.instances() == []

    def test_leave_removes_the_row_and_the_hooks_of_that_id_only(self, store: Store) -> None:
        one, other, key = an_instance(), an_instance(), a_key()
        for instance in (one, other):
            store.join(instance, LONG)
            store.add_hooks(instance.instance_id, [key], 1)
        store.leave(one.instance_id)
        assert alive(store) == {other.instance_id}
        assert held_by(store, key) == {other.instance_id}

    def test_leaving_twice_or_without_having_joined_is_no_error(self, store: Store) -> None:
        store.leave("nobody")
        store.leave("nobody")

    def test_publishing_again_under_a_known_id_returns_the_targets_too(self, store: Store) -> None:
        instance, key = an_instance(), a_key()
        store.join(instance, LONG)
        store.publish([a_publication(key, "once", "n")])
        store.add_hooks(instance.instance_id, [key], 1)
        [again] = store.publish([a_publication(key, "once", "n")])
        assert again.targets == (instance,)
