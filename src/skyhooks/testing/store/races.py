"""Threads at once: nothing falls between `add_hooks` and `publish`, no place is given twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from ..._values import Position, Published
from ...abc import Store
from .base import LONG, StoreTests, a_key, a_publication, an_instance, page

ROUNDS = 200
WAIT_SECONDS = 20


def assert_nothing_fell_between(head: Position, published: list[Published], instance_id: str) -> None:
    """Either the publisher saw the new hook, or its head is at or behind the notification."""
    for answer in published:
        seen = instance_id in {target.instance_id for target in answer.targets}
        assert answer.position is not None
        assert answer.position.epoch == head.epoch
        assert seen or answer.position.seq <= head.seq, f"{answer.position} fell between: {head}"


class RaceTests(StoreTests):
    """Forced interleavings in one process."""

    def test_no_notification_falls_between_a_new_hook_and_a_publish(self, store: Store) -> None:
        instance = an_instance()
        store.join(instance, LONG)
        keys = [a_key() for _ in range(ROUNDS)]
        barrier = Barrier(2, timeout=WAIT_SECONDS)

        def add(key: str) -> Position:
            barrier.wait()
            return store.add_hooks(instance.instance_id, [key], 1)[key]

        def ring(key: str) -> list[Published]:
            barrier.wait()
            return [answer for _ in range(3) for answer in store.publish([a_publication(key)])]

        heads, published = at_once(keys, add, ring)
        for head, answers in zip(heads, published, strict=True):
            assert_nothing_fell_between(head, answers, instance.instance_id)

    def test_no_notification_falls_between_when_a_hook_is_removed_and_added(self, store: Store) -> None:
        """A late remove takes no newer add (PROTOCOL, trace 6)."""
        instance, key = an_instance(), a_key()
        store.join(instance, LONG)
        barrier = Barrier(3, timeout=WAIT_SECONDS)

        def add(number: int) -> Position:
            barrier.wait()
            return store.add_hooks(instance.instance_id, [key], 2 * number)[key]

        def remove(number: int) -> None:
            barrier.wait()
            store.remove_hooks(instance.instance_id, [key], 2 * number - 1)

        def ring(_: int) -> list[Published]:
            barrier.wait()
            return store.publish([a_publication(key)])

        heads, _, published = at_once(range(1, ROUNDS + 1), add, remove, ring)
        for head, answers in zip(heads, published, strict=True):
            assert_nothing_fell_between(head, answers, instance.instance_id)
        assert [target.instance_id for target in store.targets([key])[key]] == [instance.instance_id]

    def test_no_move_falls_between_renewals_and_publishes(self, store: Store) -> None:
        instance, key = an_instance(), a_key()
        token = store.join(instance, LONG).token
        known = store.add_hooks(instance.instance_id, [key], 1)[key]
        barrier = Barrier(2, timeout=WAIT_SECONDS)

        def heartbeat(_: int) -> None:
            nonlocal token, known
            barrier.wait()
            renewal = store.renew(instance.instance_id, LONG, token)
            token, known = renewal.token, renewal.moved.get(key, known)

        def ring(_: int) -> None:
            barrier.wait()
            store.publish([a_publication(key)])

        at_once(range(ROUNDS), heartbeat, ring)
        last = store.renew(instance.instance_id, LONG, token).moved.get(key, known)
        assert last.seq == ROUNDS

    def test_a_key_that_is_made_by_many_at_once_has_one_epoch(self, store: Store) -> None:
        keys = [a_key() for _ in range(ROUNDS // 4)]
        barrier = Barrier(3, timeout=WAIT_SECONDS)

        def add(key: str) -> str:
            barrier.wait()
            return store.add_hooks("id", [key], 1)[key].epoch

        def look(key: str) -> str:
            barrier.wait()
            return store.positions([key])[key].epoch

        def ring(key: str) -> str:
            barrier.wait()
            [answer] = store.publish([a_publication(key)])
            assert answer.position is not None
            return answer.position.epoch

        for epochs in zip(*at_once(keys, add, look, ring), strict=True):
            assert len(set(epochs)) == 1

    def test_publishers_at_once_get_places_without_holes_in_their_own_order(self, store: Store) -> None:
        key = a_key()

        def work(_: int) -> list[int]:
            answers = [answer for _ in range(50) for answer in store.publish([a_publication(key), a_publication(key)])]
            return [answer.position.seq for answer in answers if answer.position]

        with ThreadPoolExecutor(4) as threads:
            places = list(threads.map(work, range(4)))
        assert all(one == sorted(one) for one in places)
        assert sorted(seq for one in places for seq in one) == list(range(1, 401))
        assert page(store, key).head == 400

    def test_one_id_published_by_many_at_once_is_appended_once(self, store: Store) -> None:
        key = a_key()
        barrier = Barrier(3, timeout=WAIT_SECONDS)

        def ring(number: int) -> Position | None:
            barrier.wait()
            [answer] = store.publish([a_publication(key, f"id-{number}")])
            return answer.position

        places = at_once(range(ROUNDS // 4), ring, ring, ring)
        assert all(len(set(same)) == 1 for same in zip(*places, strict=True))
        assert page(store, key).head == ROUNDS // 4


def at_once(items: Iterable[Any], *functions: Callable[[Any], Any]) -> list[list[Any]]:
    """Run each function over the items, each in a thread of its own; the functions meet at a barrier."""
    given = list(items)
    with ThreadPoolExecutor(len(functions)) as threads:
        futures = [threads.submit(lambda function: list(map(function, given)), one) for one in functions]
        return [future.result(WAIT_SECONDS) for future in futures]
