"""Notifications and their receipts: what was published, who was rung, and how each outcome comes about."""

from __future__ import annotations

from typing import Any

import pytest

from ..._values import Outcome
from ...abc import Store
from ...exceptions import InvalidData, InvalidKey, NotStarted, QueueFull
from .base import KEY, NAME, QUICK, Adapter, AdapterTests, Heard, closed_port, outcomes, plant

NESTED: Any = None
for _ in range(65):
    NESTED = [NESTED]
CYCLE: list[Any] = []
CYCLE.append(CYCLE)
BAD_DATA: dict[str, Any] = {
    "NaN": {"rows": [0, float("nan")]},
    "Infinity": float("inf"),
    "a set": {1},
    "bytes": b"x",
    "an object": object(),
    "a number past int64": 2**63,
    "a member name that is no text": {1: 2},
    "half a character": "\ud800",
    "65 deep": NESTED,
    "a cycle": CYCLE,
    "more than 128 KiB": "x" * 131_072,
}


class ReceiptTests(AdapterTests):
    """Promises 3, 4, 5 and 7."""

    async def test_delivered_says_where_and_to_how_many(self, adapter: Adapter) -> None:
        registry, other, notifier = await adapter.started(), await adapter.started(), adapter.notifier()
        for _ in range(3):
            await registry.register(KEY, Heard())
        await other.register(KEY, Heard())
        receipt = await notifier.notify(KEY, 1)
        one, two = sorted(receipt.deliveries, key=lambda one: one.callbacks or 0, reverse=True)
        assert (one.instance_id, one.url, one.callbacks) == (registry.instance_id, registry.url, 3)
        assert (two.instance_id, two.url, two.callbacks) == (other.instance_id, other.url, 1)
        assert outcomes(receipt) == [Outcome.DELIVERED] * 2
        assert all(one.attempts == 1 and one.elapsed_seconds > 0 and one.error is None for one in receipt.deliveries)
        assert (receipt.reached, receipt.nobody, receipt.ok, receipt.duplicate) == (4, False, True, False)

    async def test_without_targets_it_is_nobody_and_kept(self, adapter: Adapter) -> None:
        registry, notifier, heard = await adapter.started(), adapter.notifier(), Heard()
        receipt = await notifier.notify(KEY, 1)
        assert (receipt.deliveries, receipt.reached, receipt.nobody, receipt.ok) == ((), 0, True, True)
        await registry.register(KEY, heard, since="start")
        await adapter.until(lambda: heard.data == [1])

    async def test_no_listener_where_only_a_hook_is_left_and_then_that_goes_too(
        self, adapter: Adapter, store: Store
    ) -> None:
        registry, notifier = await adapter.started(**QUICK), adapter.notifier()
        await adapter.in_thread(store.add_hooks, registry.instance_id, [NAME], 0)
        receipt = await notifier.notify(KEY, 1)
        assert (outcomes(receipt), receipt.reached, receipt.nobody) == ([Outcome.NO_LISTENER], 0, True)
        await adapter.until_store(lambda: not store.targets([NAME])[NAME])

    async def test_gone_where_an_earlier_incarnation_is_meant_and_its_hooks_go(
        self, adapter: Adapter, store: Store
    ) -> None:
        registry, notifier = await adapter.started(**QUICK), adapter.notifier()
        dead = registry.instance_id
        rows = await adapter.in_thread(store.instances)
        await adapter.in_thread(store.leave, dead)
        await adapter.until(lambda: registry.instance_id != dead)
        await adapter.in_thread(
            lambda: plant(store, f"{registry.url}?stale", instance_id=dead, signing_key=rows[0].signing_key)
        )
        receipt = await notifier.notify(KEY, 1)
        assert (outcomes(receipt), receipt.nobody) == ([Outcome.GONE], True)
        await adapter.until_store(lambda: not store.targets([NAME])[NAME])
        assert dead not in [one.instance_id for one in await adapter.in_thread(store.instances)]

    async def test_pull_mode_is_deferred_and_fetches(self, adapter: Adapter) -> None:
        registry, notifier, heard = await adapter.started(listen=None, **QUICK), adapter.notifier(), Heard()
        await registry.register(KEY, heard)
        receipt = await notifier.notify(KEY, 1)
        (delivery,) = receipt.deliveries
        assert (delivery.outcome, delivery.attempts, delivery.url) == (Outcome.DEFERRED, 0, None)
        assert (receipt.reached, receipt.ok, receipt.nobody) == (0, True, False)
        await adapter.until(lambda: heard.data == [1])
        lost = await notifier.notify(KEY, 2, ephemeral=True)
        assert (outcomes(lost), lost.ok) == ([Outcome.LOST], False)

    async def test_nobody_there_is_deferred_after_three_attempts_or_lost(self, adapter: Adapter, store: Store) -> None:
        dead = await adapter.in_thread(plant, store, f"http://127.0.0.1:{closed_port()}/")
        notifier = adapter.notifier()
        receipt = await notifier.notify(KEY, 1)
        (delivery,) = receipt.deliveries
        assert (delivery.outcome, delivery.attempts, delivery.instance_id) == (Outcome.DEFERRED, 3, dead.instance_id)
        assert delivery.error
        assert outcomes(await notifier.notify(KEY, 1, ephemeral=True)) == [Outcome.LOST]

    @pytest.mark.parametrize("host", ["93.184.215.14", "169.254.169.254", "0.0.0.0", "[::ffff:169.254.169.254]"])  # noqa: S104 - not to be called
    async def test_a_forbidden_address_is_blocked_and_the_others_are_called(
        self, adapter: Adapter, store: Store, host: str
    ) -> None:
        registry, notifier = await adapter.started(), adapter.notifier()
        await registry.register(KEY, Heard())
        planted = await adapter.in_thread(plant, store, f"http://{host}/")
        receipt = await notifier.notify(KEY, 1)
        by_id = {one.instance_id: one for one in receipt.deliveries}
        assert by_id[planted.instance_id].outcome is Outcome.BLOCKED
        assert by_id[registry.instance_id].outcome is Outcome.DELIVERED
        assert (receipt.ok, receipt.reached) == (False, 1)

    async def test_the_same_id_again_appends_nothing_and_calls_nobody(self, adapter: Adapter) -> None:
        registry, notifier, heard = await adapter.started(), adapter.notifier(), Heard()
        await registry.register(KEY, heard)
        first = await notifier.notify(KEY, "first", id="task-17")
        again = await adapter.notifier().notify(KEY, "other data", id="task-17")
        await notifier.notify(KEY, "end")
        await adapter.until(lambda: len(heard) >= 2)
        assert heard.data == ["first", "end"]
        assert (first.duplicate, again.duplicate, again.id) == (False, True, "task-17")
        assert (outcomes(again), again.reached, again.ok) == ([Outcome.DELIVERED], 1, True)

    async def test_the_same_id_again_rings_with_what_is_stored(self, adapter: Adapter) -> None:
        registry, notifier, heard = await adapter.started(), adapter.notifier(), Heard()
        await notifier.notify(KEY, "first", id="task-17")
        await registry.register(KEY, heard, since="start")
        await notifier.notify(KEY, "other data", id="task-17")
        await notifier.notify(KEY, "end")
        await adapter.until(lambda: len(heard) >= 2)
        assert heard.data == ["first", "end"]

    async def test_an_id_whose_entry_is_no_longer_kept_rings_nobody(self, adapter: Adapter) -> None:
        store = adapter.store_with(keep=1, keep_min_seconds=0)
        registry, notifier, heard = await adapter.started(store), adapter.notifier(store), Heard()
        await registry.register(KEY, heard)
        await notifier.notify(KEY, 1, id="task-17")
        await notifier.notify_many([(KEY, 2), (KEY, 3)])
        receipt = await notifier.notify(KEY, 4, id="task-17")
        assert (receipt.duplicate, receipt.deliveries) == (True, ())
        await adapter.until(lambda: heard.data == [1, 2, 3])

    async def test_many_are_published_in_their_order(self, adapter: Adapter) -> None:
        registry, notifier, heard = await adapter.started(), adapter.notifier(), Heard()
        await registry.register(KEY, heard)
        receipts = await notifier.notify_many([(KEY, number) for number in range(700)])
        await adapter.until(lambda: len(heard) >= 700)
        assert heard.data == list(range(700))
        assert [receipt.id for receipt in receipts] == [n.id for n in heard]
        assert all(receipt.reached == 1 for receipt in receipts)
        assert await notifier.notify_many([]) == []

    async def test_what_is_submitted_has_its_receipt_when_flushed(self, adapter: Adapter) -> None:
        registry, notifier, heard = await adapter.started(), adapter.notifier(), Heard()
        await registry.register(KEY, heard)
        handles = [await notifier.submit(KEY, number) for number in range(100)]
        assert await notifier.flush(10)
        assert all(handle.done for handle in handles)
        assert [(await handle.result()).reached for handle in handles] == [1] * 100
        await adapter.until(lambda: len(heard) >= 100)
        assert [(n.id, n.data) for n in heard] == [(handle.id, number) for number, handle in enumerate(handles)]

    async def test_what_is_submitted_keeps_its_id_and_may_be_ephemeral(self, adapter: Adapter) -> None:
        registry, notifier, heard = await adapter.started(), adapter.notifier(), Heard()
        await registry.register(KEY, heard)
        handle = await notifier.submit(KEY, 1, id="task-17", ephemeral=True)
        assert (await handle.result(5)).reached == 1
        assert handle.id == "task-17"
        await adapter.until(lambda: [n.id for n in heard] == ["task-17"])

    async def test_a_queue_that_is_full_waits_or_says_so(self, adapter: Adapter, store: Store) -> None:
        await adapter.in_thread(plant, store, f"http://127.0.0.1:{closed_port()}/")
        notifier = adapter.notifier(max_pending_bytes=3000)
        first = await notifier.submit(KEY, "x" * 2500)
        with pytest.raises(QueueFull):
            await notifier.submit(KEY, "x" * 2500, block=False)
        second = await notifier.submit(KEY, "x" * 2500)
        assert first.done
        assert (await second.result(10)).deliveries

    async def test_a_result_that_is_not_there_yet_is_a_timeout_and_comes_later(
        self, adapter: Adapter, store: Store
    ) -> None:
        await adapter.in_thread(plant, store, f"http://127.0.0.1:{closed_port()}/")
        handle = await adapter.notifier().submit(KEY, 1)
        with pytest.raises(TimeoutError):
            await handle.result(0.0)
        assert outcomes(await handle.result(10)) == [Outcome.DEFERRED]

    async def test_interest_is_the_live_instances_that_hold_a_key(self, adapter: Adapter) -> None:
        registry, other, notifier = await adapter.started(), await adapter.started(), adapter.notifier()
        registration = await registry.register({"a": [1, 2]}, Heard())
        await other.register({"a": 1}, Heard())
        both = await notifier.interest({"a": [1, 2]})
        assert {one.instance_id for one in both} == {registry.instance_id, other.instance_id}
        assert [one.url for one in await notifier.interest({"a": 2})] == [registry.url]
        await registry.unregister(registration)
        assert await notifier.interest({"a": 2}) == []

    async def test_ephemeral_is_called_and_not_kept(self, adapter: Adapter) -> None:
        registry, notifier, heard, late = await adapter.started(), adapter.notifier(), Heard(), Heard()
        registration = await registry.register({"account": [42, 43]}, heard)
        receipt = await notifier.notify({"account": [42, 43]}, "soft", ephemeral=True)
        assert (outcomes(receipt), receipt.reached) == ([Outcome.DELIVERED], 1)
        await registry.register(KEY, late, since="start")
        await notifier.notify(KEY, "kept")
        await adapter.until(lambda: heard and late)
        await adapter.until(lambda: len(heard) == 2)
        assert sorted(heard.data) == ["kept", "soft"]
        assert late.data == ["kept"]
        soft = next(n for n in heard if n.data == "soft")
        assert (soft.id, soft.replayed) == (receipt.id, False)
        assert registration.cursor != soft.cursor

    async def test_a_deadline_ends_a_notification_that_nobody_answers(self, adapter: Adapter, store: Store) -> None:
        registry = await adapter.started()
        await registry.register(KEY, Heard())
        await adapter.in_thread(plant, store, "http://127.0.0.1:1/")
        receipt = await adapter.notifier(timeout_seconds=0.2).notify(KEY, 1, timeout_seconds=5)
        assert sorted(one.value for one in outcomes(receipt)) == ["deferred", "delivered"]

    async def test_a_registry_notifies_too(self, adapter: Adapter) -> None:
        registry, other, heard = await adapter.started(), await adapter.started(), Heard()
        await other.register(KEY, heard)
        receipt = await registry.notify(KEY, 1, id="mine")
        assert (receipt.reached, receipt.id) == (1, "mine")
        assert (await registry.notify(KEY, 1, id="mine")).duplicate
        assert (await registry.notify(KEY, 2, ephemeral=True, timeout_seconds=5)).reached == 1
        await adapter.until(lambda: heard.data == [1, 2])

    async def test_bad_data_is_refused_before_anything_is_touched(self, adapter: Adapter) -> None:
        notifier, registry = adapter.notifier("sqlite:////nowhere/at/all.db"), await adapter.started()
        for name, data in BAD_DATA.items():
            for verb in (notifier.notify(KEY, data), notifier.submit(KEY, data), registry.notify(KEY, data)):
                with pytest.raises(InvalidData) as raised:  # noqa: PT012 - the second statement names the row
                    await verb
                    pytest.fail(name)
                assert raised.value.path.startswith("$")

    async def test_one_bad_item_of_many_publishes_none(self, adapter: Adapter) -> None:
        registry, notifier, heard = await adapter.started(), adapter.notifier(), Heard()
        await registry.register(KEY, heard)
        with pytest.raises(InvalidData):
            await notifier.notify_many([(KEY, 1), (KEY, {2})])
        with pytest.raises(InvalidKey):
            await notifier.notify_many([(KEY, 1), ({}, 2)])
        await notifier.notify(KEY, "end")
        await adapter.until(lambda: heard)
        assert heard.data == ["end"]

    async def test_a_bad_id_is_refused(self, adapter: Adapter) -> None:
        notifier = adapter.notifier()
        for bad in ("", "x" * 300, "a\nb", 17):
            with pytest.raises(InvalidData):
                await notifier.notify(KEY, 1, id=bad)  # type: ignore[arg-type]  # that is the point

    async def test_what_is_just_allowed_arrives(self, adapter: Adapter) -> None:
        registry, notifier, heard = await adapter.started(), adapter.notifier(), Heard()
        await registry.register(KEY, heard)
        data = [NESTED[0], -(2**63), 2**63 - 1, 1e308, "\U0001f600", None, True, "x" * 130_000]
        assert (await notifier.notify(KEY, data[0])).reached == 1
        assert (await notifier.notify(KEY, data[1:])).reached == 1
        await adapter.until(lambda: len(heard) == 2)
        assert heard.data == [data[0], data[1:]]

    async def test_a_closed_notifier_says_so(self, adapter: Adapter) -> None:
        notifier = adapter.notifier()
        await notifier.notify(KEY, 1)
        await notifier.close()
        await notifier.close()
        with pytest.raises(NotStarted):
            await notifier.notify(KEY, 1)
