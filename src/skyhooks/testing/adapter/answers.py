"""What a job makes of each answer (RELIABILITY SND), told by a receiver that answers as it is told."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from email.utils import formatdate
from typing import Any

import msgspec

from ..._values import Delivery, Outcome, Receipt
from ...abc import Store
from ..receiver import Received, Receiver, Reply
from .base import DIFFERS, KEY, NAME, PLANTED_KEY, Adapter, AdapterTests, RecordProperty, plant

OK = b'{"status":"ok","notified":true,"callbacks":[2],"duplicates":[],"full":[]}'
NOBODY = b'{"status":"ok","notified":false,"callbacks":[0],"duplicates":[],"full":[]}'
DUPLICATE = b'{"status":"ok","notified":true,"callbacks":[2],"duplicates":[0],"full":[]}'
FULL = b'{"status":"ok","notified":true,"callbacks":[2],"duplicates":[],"full":[0]}'


class AnswerTests(AdapterTests):
    """The table of what an instance may answer."""

    async def test_snd_2xx_with_our_body_is_delivered(self, adapter: Adapter, store: Store, receiver: Receiver) -> None:
        delivery = await _rung(adapter, store, receiver, Reply(body=OK))
        assert (delivery.outcome, delivery.callbacks, delivery.attempts) == (Outcome.DELIVERED, 2, 1)

    async def test_snd_2xx_without_callbacks_is_no_listener(
        self, adapter: Adapter, store: Store, receiver: Receiver
    ) -> None:
        delivery = await _rung(adapter, store, receiver, Reply(body=NOBODY))
        assert (delivery.outcome, delivery.callbacks) == (Outcome.NO_LISTENER, 0)

    async def test_snd_a_duplicate_is_delivered(self, adapter: Adapter, store: Store, receiver: Receiver) -> None:
        delivery = await _rung(adapter, store, receiver, Reply(body=DUPLICATE))
        assert (delivery.outcome, delivery.callbacks) == (Outcome.DELIVERED, 2)

    async def test_snd_what_was_not_taken_is_deferred(self, adapter: Adapter, store: Store, receiver: Receiver) -> None:
        delivery = await _rung(adapter, store, receiver, Reply(body=FULL))
        assert (delivery.outcome, delivery.attempts) == (Outcome.DEFERRED, 1)

    async def test_snd_what_is_ephemeral_and_was_not_taken_is_tried_again_then_lost(
        self, adapter: Adapter, store: Store, receiver: Receiver
    ) -> None:
        full = [Reply(body=FULL)] * 3
        assert (await _rung(adapter, store, receiver, *full, ephemeral=True)).outcome is Outcome.LOST
        taken = await _rung(adapter, store, receiver, full[0], Reply(body=OK), ephemeral=True)
        assert (taken.outcome, taken.attempts) == (Outcome.DELIVERED, 2)

    async def test_snd_2xx_with_another_body_is_delivered_to_nobody_knows_how_many(
        self, adapter: Adapter, store: Store, receiver: Receiver
    ) -> None:
        bodies = (b"", b"fine", b"[1]", b'{"status":"ok"}', b'{"status":"ok","callbacks":[1,2]}', b"\xff", b"[" * 9999)
        for body in bodies:
            delivery = await _rung(adapter, store, receiver, Reply(status=202, body=body))
            assert (delivery.outcome, delivery.callbacks) == (Outcome.DELIVERED, None), body

    async def test_snd_3xx_is_refused_and_never_followed(
        self, adapter: Adapter, store: Store, receiver: Receiver
    ) -> None:
        with Receiver() as other:
            for status in (301, 302, 303, 307, 308):
                reply = Reply(status=status, headers={"location": other.url})
                delivery = await _rung(adapter, store, receiver, reply)
                assert (delivery.outcome, delivery.attempts) == (Outcome.REFUSED, 1)
            assert other.connections == 0

    async def test_snd_a_fault_of_configuration_is_refused_at_once_and_the_hook_kept(
        self, adapter: Adapter, store: Store, receiver: Receiver
    ) -> None:
        for status in (400, 405, 410, 411, 413, 415, 422, 431):
            delivery = await _rung(adapter, store, receiver, Reply(status=status))
            assert (delivery.outcome, delivery.attempts) == (Outcome.REFUSED, 1), status
            assert await adapter.in_thread(lambda: store.targets([NAME])[NAME])

    async def test_snd_401_and_403_get_one_more_attempt_with_a_fresh_timestamp(
        self, adapter: Adapter, store: Store, receiver: Receiver
    ) -> None:
        hour_ago = {"date": formatdate(time.time() - 3600, usegmt=True)}
        began = time.monotonic()
        delivery = await _rung(adapter, store, receiver, *[Reply(status=401, headers=hour_ago)] * 2)
        assert time.monotonic() - began > 0.9
        assert (delivery.outcome, delivery.attempts) == (Outcome.REFUSED, 2)
        assert re.search(r"\b36\d\d s ahead", str(delivery.error))
        first, second = receiver.requests
        assert first.header("webhook-timestamp") != second.header("webhook-timestamp")
        delivery = await _rung(adapter, store, receiver, Reply(status=403), Reply(body=OK))
        assert (delivery.outcome, delivery.attempts) == (Outcome.DELIVERED, 2)

    async def test_snd_410_with_our_code_is_gone_and_removes_exactly_that_instance(
        self, adapter: Adapter, store: Store, receiver: Receiver
    ) -> None:
        stays = await adapter.in_thread(plant, store, f"{receiver.url}?stays")
        dead = await adapter.in_thread(plant, store, receiver.url)
        receiver.default = Reply(status=410, body=_problem("gone", dead.instance_id))
        receipt = await adapter.notifier().notify(KEY, 1)
        by_id = {one.instance_id: one.outcome for one in receipt.deliveries}
        assert by_id == {stays.instance_id: Outcome.REFUSED, dead.instance_id: Outcome.GONE}
        left = await adapter.in_thread(store.instances)
        assert [one.instance_id for one in left] == [stays.instance_id]

    async def test_snd_421_is_tried_three_times_then_refused(
        self, adapter: Adapter, store: Store, receiver: Receiver
    ) -> None:
        delivery = await _rung(adapter, store, receiver, *[Reply(status=421)] * 3)
        assert (delivery.outcome, delivery.attempts) == (Outcome.REFUSED, 3)
        assert "shared" in str(delivery.error)

    async def test_snd_what_may_pass_is_tried_again_then_deferred_or_lost(
        self, adapter: Adapter, store: Store, receiver: Receiver
    ) -> None:
        for status in (404, 408, 425, 429, 500, 502, 503, 504, 599):
            delivery = await _rung(adapter, store, receiver, *[Reply(status=status)] * 3)
            assert (delivery.outcome, delivery.attempts) == (Outcome.DEFERRED, 3), status
        assert await adapter.in_thread(lambda: store.targets([NAME])[NAME])
        lost = await _rung(adapter, store, receiver, *[Reply(status=503)] * 3, ephemeral=True)
        assert lost.outcome is Outcome.LOST
        delivery = await _rung(adapter, store, receiver, Reply(status=503), Reply(status=404), Reply(body=OK))
        assert (delivery.outcome, delivery.attempts) == (Outcome.DELIVERED, 3)

    async def test_snd_a_connection_that_breaks_is_tried_again(
        self, adapter: Adapter, store: Store, receiver: Receiver
    ) -> None:
        broken = (
            Reply(status=None, end="reset"),
            Reply(body=b"{", declared_bytes=100, end="close"),
            Reply(body=OK),
        )
        delivery = await _rung(adapter, store, receiver, *broken)
        assert (delivery.outcome, delivery.attempts) == (Outcome.DELIVERED, 3)

    async def test_snd_a_name_that_does_not_resolve_is_deferred(self, adapter: Adapter, store: Store) -> None:
        await adapter.in_thread(plant, store, "http://nowhere.invalid:8000/")
        (delivery,) = (await adapter.notifier().notify(KEY, 1)).deliveries
        assert delivery.outcome in (Outcome.DEFERRED, Outcome.BLOCKED)
        assert delivery.error

    async def test_snd_an_attempt_is_cut_at_its_total_time_though_bytes_keep_dripping(
        self, adapter: Adapter, store: Store, receiver: Receiver
    ) -> None:
        for slow in (Reply(body=OK, drip_seconds=0.1), Reply(delay_seconds=9), Reply(status=None, end="hang")):
            began = time.monotonic()
            delivery = await _rung(adapter, store, receiver, slow, timeout_seconds=0.6)
            assert delivery.outcome is Outcome.DEFERRED
            assert time.monotonic() - began < 2.5

    async def test_snd_each_attempt_has_the_same_id_and_body_and_a_valid_signature(
        self, adapter: Adapter, store: Store, receiver: Receiver
    ) -> None:
        await _rung(adapter, store, receiver, Reply(status=401), Reply(status=503), Reply(body=OK))
        requests = receiver.requests
        assert len(requests) >= 2
        assert len({one.header("webhook-id") for one in requests}) == len({one.body for one in requests}) == 1
        assert all(one.header("webhook-signature") == _signature(one) for one in requests)

    async def test_snd_retry_after_is_obeyed_within_the_deadline_and_junk_is_absent(
        self, adapter: Adapter, store: Store, receiver: Receiver
    ) -> None:
        later = Reply(status=503, headers={"retry-after": "1"})
        at = Reply(status=503, headers={"retry-after": formatdate(time.time() + 2, usegmt=True)})
        for reply, least in ((at, 0.5), (later, 0.9)):
            delivery = await _rung(adapter, store, receiver, reply, Reply(body=OK))
            assert (delivery.outcome, delivery.attempts) == (Outcome.DELIVERED, 2)
            assert delivery.elapsed_seconds > least
        for value in ("soon", "-5", "1e9", ""):
            junk = Reply(status=503, headers={"retry-after": value})
            delivery = await _rung(adapter, store, receiver, junk, Reply(body=OK))
            assert (delivery.outcome, delivery.attempts) == (Outcome.DELIVERED, 2), value
        never = Reply(status=503, headers={"retry-after": "86400"})
        delivery = await _rung(adapter, store, receiver, never)
        assert (delivery.outcome, delivery.attempts) == (Outcome.DEFERRED, 1)

    async def test_snd_a_keep_alive_connection_that_the_peer_closed_is_replaced_silently(
        self, adapter: Adapter, store: Store, receiver: Receiver
    ) -> None:
        receiver.default = Reply(body=OK, end="close")
        await adapter.in_thread(plant, store, receiver.url)
        notifier = adapter.notifier()
        for number in range(5):
            (delivery,) = (await notifier.notify(KEY, number)).deliveries
            assert (delivery.outcome, delivery.attempts) == (Outcome.DELIVERED, 1)
            await adapter.in_thread(receiver.wait_until_closed, number + 1)

    async def test_snd_a_connection_is_used_again(
        self, adapter: Adapter, store: Store, receiver: Receiver, record_property: RecordProperty
    ) -> None:
        receiver.default = Reply(body=OK)
        await adapter.in_thread(plant, store, receiver.url)
        notifier = adapter.notifier()
        for number in range(20):
            await notifier.notify(KEY, number)
        assert len(receiver.requests) == 20
        if adapter.keeps_connections:
            assert receiver.connections < 10
        else:
            record_property(DIFFERS, "this client makes a connection for each attempt")

    async def test_snd_a_hostile_answer_costs_little(self, adapter: Adapter, store: Store, receiver: Receiver) -> None:
        huge = Reply(body=b"x" * 4_000_000, declared_bytes=300_000_000, end="close")
        headers = Reply(headers={f"x-{number}": "y" * 1000 for number in range(500)}, body=OK, end="close")
        zipped = Reply(headers={"content-encoding": "gzip"}, body=b"\x1f\x8b" + bytes(1000))
        for reply in (huge, headers, zipped):
            began = time.monotonic()
            delivery = await _rung(adapter, store, receiver, *[reply] * 3)
            assert delivery.outcome in (Outcome.DELIVERED, Outcome.DEFERRED)
            assert time.monotonic() - began < 8

    async def test_snd_hung_targets_do_not_delay_a_healthy_one(
        self, adapter: Adapter, store: Store, receiver: Receiver
    ) -> None:
        receiver.default = Reply(status=None, end="hang")
        for number in range(20):
            await adapter.in_thread(plant, store, f"{receiver.url}?{number}")
        with Receiver(Reply(body=OK)) as healthy:
            target = await adapter.in_thread(plant, store, healthy.url)
            receipt = await adapter.notifier().notify(KEY, 1, timeout_seconds=1.8)
        by_id = {one.instance_id: one for one in receipt.deliveries}
        assert by_id[target.instance_id].outcome is Outcome.DELIVERED
        assert by_id[target.instance_id].elapsed_seconds < 1.5
        assert len(by_id) == 21

    async def test_snd_413_splits_what_went_together(self, adapter: Adapter, store: Store, receiver: Receiver) -> None:
        await adapter.in_thread(plant, store, receiver.url)
        receiver.script(Reply(status=413))
        receipts = await adapter.notifier().notify_many([(KEY, 1), (KEY, 2), (KEY, 3)])
        assert [one.deliveries[0].outcome for one in receipts] == [Outcome.DELIVERED] * 3
        sent = [[item["data"] for item in msgspec.json.decode(one.body)["notifications"]] for one in receiver.requests]
        assert sent == [[1, 2, 3], [1], [2, 3]]


async def _rung(
    adapter: Adapter, store: Store, receiver: Receiver, *replies: Reply, timeout_seconds: float = 10, **options: Any
) -> Delivery:
    """Notify the receiver alone, answered like this; and see that exactly that was asked for."""
    before = len(receiver.requests)
    for old in await adapter.in_thread(lambda: store.targets([NAME])[NAME]):
        await adapter.in_thread(store.leave, old.instance_id)
    await adapter.in_thread(plant, store, receiver.url)
    receiver.script(*replies)
    receipt: Receipt = await adapter.notifier().notify(KEY, 1, timeout_seconds=timeout_seconds, **options)
    (delivery,) = receipt.deliveries
    assert len(receiver.requests) - before == delivery.attempts
    return delivery


def _signature(request: Received) -> str:
    """Sign as Standard Webhooks says, not as we do it."""
    head = f"{request.header('webhook-id')}.{request.header('webhook-timestamp')}.".encode()
    digest = hmac.new(PLANTED_KEY, head + request.body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _problem(code: str, instance_id: str) -> bytes:
    return msgspec.json.encode({"status": 410, "code": code, "instance": instance_id})
