"""A secret on both sides: who lacks it, plants rows or entries, or is in the middle of changing it."""

from __future__ import annotations

import base64
import time
from itertools import pairwise
from uuid import uuid4

import pytest

from ..._signing import row_mac
from ..._values import Outcome, Publication
from ...abc import Store
from ...exceptions import UnverifiedEntry
from .base import KEY, NAME, QUICK, Adapter, AdapterTests, Heard, outcomes, plant


def make_secret(number: int) -> str:
    """Make a secret that all tests with this number share."""
    return "whsec_" + base64.b64encode(bytes([number]) * 32).decode()


OLD, NEW = make_secret(1), make_secret(2)


class SecretTests(AdapterTests):
    """With `secret=`, who may write the store can reorder, replay or drop, not invent."""

    async def test_with_a_secret_on_both_sides_all_is_as_ever(self, adapter: Adapter, store: Store) -> None:
        registry, notifier, heard = await adapter.started(secret=OLD), adapter.notifier(secret=OLD), Heard()
        await notifier.notify(KEY, 0)
        await registry.register(KEY, heard, since="start")
        receipt = await notifier.notify(KEY, 1)
        await adapter.until(lambda: heard.data == [0, 1])
        (row,) = await adapter.in_thread(store.instances)
        assert (receipt.reached, row.signing_key) == (1, None)

    async def test_the_secret_may_come_from_the_environment(
        self, adapter: Adapter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SKYHOOKS_SECRET", f"{NEW} {OLD}")
        registry, heard = await adapter.started(), Heard()
        await registry.register(KEY, heard)
        monkeypatch.delenv("SKYHOOKS_SECRET")
        assert (await adapter.notifier(secret=NEW).notify(KEY, 1)).reached == 1

    async def test_who_lacks_the_secret_is_blocked_and_what_he_writes_is_passed_over(self, adapter: Adapter) -> None:
        told: list[BaseException] = []
        registry = await adapter.started(secret=OLD, on_error=lambda error, _: told.append(error), **QUICK)
        heard = Heard()
        await registry.register(KEY, heard)
        for notifier in (adapter.notifier(), adapter.notifier(secret=NEW)):
            receipt = await notifier.notify(KEY, "forged")
            (delivery,) = receipt.deliveries
            assert (delivery.outcome, delivery.attempts, receipt.ok) == (Outcome.BLOCKED, 0, False)
        assert (await adapter.notifier(secret=OLD).notify(KEY, "good")).reached == 1
        await adapter.until(lambda: heard)
        assert heard.data == ["good"]
        assert [type(error) for error in told] == [UnverifiedEntry] * 2
        assert registry.counts["unverified"] == 2

    async def test_a_planted_row_is_not_called(self, adapter: Adapter, store: Store) -> None:
        registry, heard = await adapter.started(secret=OLD), Heard()
        await registry.register(KEY, heard)
        url = "http://127.0.0.1:9/"
        theirs = row_mac(b"x" * 32, "theirs", url, 1)
        planted = [
            await adapter.in_thread(lambda: plant(store, f"{url}1")),
            await adapter.in_thread(lambda: plant(store, f"{url}2", mac=theirs, signing_key=None)),
        ]
        receipt = await adapter.notifier(secret=OLD).notify(KEY, 1)
        by_id = {one.instance_id: (one.outcome, one.attempts) for one in receipt.deliveries}
        assert by_id == {
            registry.instance_id: (Outcome.DELIVERED, 1),
            **{one.instance_id: (Outcome.BLOCKED, 0) for one in planted},
        }

    async def test_a_row_moved_to_another_url_is_not_called(self, adapter: Adapter, store: Store) -> None:
        registry = await adapter.started(secret=OLD, heartbeat_seconds=20.0)
        (row,) = await adapter.in_thread(store.instances)
        await adapter.in_thread(store.leave, registry.instance_id)
        await adapter.in_thread(
            lambda: plant(store, "http://127.0.0.1:9/", instance_id=row.instance_id, mac=row.mac, signing_key=None)
        )
        assert outcomes(await adapter.notifier(secret=OLD).notify(KEY, 1)) == [Outcome.BLOCKED]

    async def test_a_planted_entry_is_passed_over_told_and_counted(self, adapter: Adapter, store: Store) -> None:
        told: list[BaseException] = []
        registry = await adapter.started(secret=OLD, on_error=lambda error, _: told.append(error))
        notifier, heard = adapter.notifier(secret=OLD), Heard()
        await notifier.notify(KEY, "one")
        for mac in (None, bytes(32)):
            entry = Publication(NAME, uuid4().hex, uuid4().hex, b'"planted"', time.time(), mac=mac)
            await adapter.in_thread(store.publish, [entry])
        await notifier.notify(KEY, "two")
        await registry.register(KEY, heard, since="start")
        await adapter.until(lambda: len(heard) >= 2)
        assert heard.data == ["one", "two"]
        assert [(type(error), getattr(error, "seq", 0)) for error in told] == [
            (UnverifiedEntry, 2),
            (UnverifiedEntry, 3),
        ]

    async def test_an_id_that_somebody_planted_rings_nobody(self, adapter: Adapter, store: Store) -> None:
        registry, heard = await adapter.started(secret=OLD), Heard()
        await registry.register(KEY, heard)
        planted = Publication(NAME, "task-17", uuid4().hex, b'"planted"', time.time(), remember=True)
        await adapter.in_thread(store.publish, [planted])
        notifier = adapter.notifier(secret=OLD)
        receipt = await notifier.notify(KEY, "good", id="task-17")
        await notifier.notify(KEY, "end")
        await adapter.until(lambda: heard)
        assert (receipt.duplicate, receipt.deliveries, heard.data) == (True, (), ["end"])

    async def test_a_secret_is_changed_in_three_steps_without_a_loss(self, adapter: Adapter) -> None:
        steps: list[str | list[str]] = [OLD, [OLD, NEW], [NEW, OLD], NEW]
        sent = 0
        for before, after in pairwise(steps):
            for web, job in ((before, after), (after, before)):
                registry, heard = await adapter.started(secret=web), Heard()
                notifier = adapter.notifier(secret=job)
                await notifier.notify(KEY, sent)
                await registry.register(KEY, heard, since="start")
                receipt = await notifier.notify(KEY, sent + 1)
                await adapter.until(lambda heard=heard, end=sent + 1: heard.data[-1:] == [end])  # type: ignore[misc]  # mypy: defaults of lambdas
                assert heard.data[-2:] == [sent, sent + 1]
                assert (receipt.reached, receipt.ok) == (1, True)
                await registry.stop()
                sent += 2
