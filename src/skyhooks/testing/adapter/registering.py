"""Registrations: whom a notification calls, how often, and what a callback may do meanwhile."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from ..._notification import Notification
from ..._registration import Registration
from ...exceptions import InvalidCursor, InvalidKey
from .base import KEY, NAME, Adapter, AdapterTests, Heard

BAD_KEYS: dict[str, Any] = {
    "no mapping": [("account", 42)],
    "empty": {},
    "a name with a space": {"a b": 1},
    "a long name": {"a" * 65: 1},
    "True": {"a": True},
    "None": {"a": None},
    "a float": {"a": 1.5},
    "bytes": {"a": b"1"},
    "a mapping": {"a": {"$ne": None}},
    "no value": {"a": []},
    "an empty text": {"a": ""},
    "a long text": {"a": "x" * 257},
    "a control character": {"a": "x\ny"},
    "half a character": {"a": "\ud800"},
    "65 values": {"a": list(range(65))},
}


class RegisteringTests(AdapterTests):
    """`register`, `unregister`, and the calls."""

    async def test_a_callback_is_called_with_what_was_sent(self, adapter: Adapter) -> None:
        registry, notifier, heard = await adapter.started(), adapter.notifier(), Heard()
        await registry.register(KEY, heard)
        receipt = await notifier.notify(KEY, {"rows": [1, None, "ü"]}, id="task-17:success")
        await adapter.until(lambda: heard)
        (n,) = heard
        assert (n.id, n.key, n.data, n.replayed) == ("task-17:success", NAME, {"rows": [1, None, "ü"]}, False)
        assert (n.raw, receipt.id) == ('{"rows":[1,null,"ü"]}'.encode(), n.id)
        assert n.sent_at > 1e9
        assert n.cursor.isascii()

    async def test_an_async_callback_is_run(self, adapter: Adapter) -> None:
        registry, notifier, heard = await adapter.started(), adapter.notifier(), Heard()

        async def later(n: Notification) -> None:
            await adapter.sleep(0.01)
            heard(n)

        await registry.register(KEY, later)
        assert (await notifier.notify(KEY, 1)).reached == 1
        await adapter.until(lambda: heard.data == [1])

    async def test_calls_start_in_order_and_do_not_wait_for_the_end_of_one_before(self, adapter: Adapter) -> None:
        registry, notifier = await adapter.started(), adapter.notifier()
        begun: list[object] = []
        ended: list[object] = []

        async def slow(n: Notification) -> None:
            begun.append(n.data)
            await adapter.until(lambda: len(begun) == 3)
            ended.append(n.data)

        await registry.register(KEY, slow)
        await notifier.notify_many([(KEY, number) for number in range(3)])
        await adapter.until(lambda: len(ended) == 3)
        assert begun == [0, 1, 2]

    async def test_each_callback_of_a_key_is_called_once(self, adapter: Adapter) -> None:
        registry, other, notifier = await adapter.started(), await adapter.started(), adapter.notifier()
        callbacks = [Heard() for _ in range(5)]
        for callback in callbacks[:3]:
            await registry.register(KEY, callback)
        for callback in callbacks[3:]:
            await other.register(KEY, callback)
        receipt = await notifier.notify_many([(KEY, "a"), ({"account": 43}, "b"), (KEY, "c")])
        await adapter.until(lambda: all(len(callback) >= 2 for callback in callbacks))
        assert [callback.data for callback in callbacks] == [["a", "c"]] * 5
        assert [one.reached for one in receipt] == [5, 0, 5]

    async def test_values_meet_as_text(self, adapter: Adapter) -> None:
        registry, notifier, heard = await adapter.started(), adapter.notifier(), Heard()
        uuid = UUID(int=7)
        await registry.register({"account": [42, uuid], "name": "Zoë ="}, heard)
        for keys in ({"account": "42"}, {"account": str(uuid)}, {"name": "Zoë ="}, {"account": 421}):
            await notifier.notify(keys, 1)
        await adapter.until(lambda: len(heard) >= 3)
        assert [n.key for n in heard] == ["account=42", f"account={uuid}", "name=Zoë ="]

    async def test_a_callback_under_several_keys_gets_a_notification_once(self, adapter: Adapter) -> None:
        registry, notifier, heard = await adapter.started(), adapter.notifier(), Heard()
        await registry.register({"a": [1, 2], "b": 1}, heard)
        receipt = await notifier.notify({"b": 1, "a": [2, 1]}, "all")
        await notifier.notify({"a": 2}, "one")
        await notifier.notify({"b": 1}, "end")
        await adapter.until(lambda: "end" in heard.data and "one" in heard.data)
        assert sorted(map(str, heard.data)) == ["all", "end", "one"]
        assert receipt.reached == 1

    async def test_what_is_unregistered_is_not_called_and_twice_is_fine(self, adapter: Adapter) -> None:
        registry, notifier, gone, stays = await adapter.started(), adapter.notifier(), Heard(), Heard()
        registration = await registry.register(KEY, gone)
        await registry.register(KEY, stays)
        await registry.unregister(registration)
        await registry.unregister(registration)
        assert registration.closed
        assert (await notifier.notify(KEY, 1)).reached == 1
        await adapter.until(lambda: stays)
        assert not gone

    async def test_a_key_that_nobody_wants_any_more_is_no_target(self, adapter: Adapter) -> None:
        registry, notifier = await adapter.started(), adapter.notifier()
        registration = await registry.register(KEY, Heard())
        await registry.unregister(registration)
        receipt = await notifier.notify(KEY, 1)
        assert (receipt.deliveries, receipt.nobody, receipt.ok) == ((), True, True)

    async def test_a_callback_that_raises_stops_no_other_and_is_told(self, adapter: Adapter) -> None:
        told: list[tuple[BaseException, Notification | None]] = []
        registry = await adapter.started(on_error=lambda error, n: told.append((error, n)))
        notifier, heard = adapter.notifier(), Heard()

        def broken(n: Notification) -> None:
            raise RuntimeError(f"plain {n.data}")

        async def broken_later(n: Notification) -> None:
            raise RuntimeError(f"async {n.data}")

        for callback in (broken, broken_later, heard):
            await registry.register(KEY, callback)
        receipts = await notifier.notify_many([(KEY, 1), (KEY, 2)])
        await adapter.until(lambda: len(told) >= 4)
        assert heard.data == [1, 2]
        assert sorted(str(error) for error, _ in told) == ["async 1", "async 2", "plain 1", "plain 2"]
        assert all(n is not None and str(n.data) in str(error) for error, n in told)
        assert [receipt.reached for receipt in receipts] == [3, 3]

    async def test_an_on_error_that_raises_stops_nothing(self, adapter: Adapter) -> None:
        def broken(*_: object) -> None:
            raise RuntimeError("broken")

        registry, notifier, heard = await adapter.started(on_error=broken), adapter.notifier(), Heard()
        await registry.register(KEY, broken)
        await registry.register(KEY, heard)
        await notifier.notify(KEY, 1)
        await adapter.until(lambda: heard.data == [1])

    async def test_a_callback_may_register_notify_and_unregister(self, adapter: Adapter) -> None:
        registry, notifier, later, stays = await adapter.started(), adapter.notifier(), Heard(), Heard()
        made: list[Registration] = []

        async def busy(n: Notification) -> None:
            if n.data == "first":
                made.append(await registry.register(KEY, later))
                await registry.unregister(me)
                await registry.notify(KEY, "second")

        me = await registry.register(KEY, busy)
        await registry.register(KEY, stays)
        await notifier.notify(KEY, "first")
        await adapter.until(lambda: later.data)
        await adapter.until(lambda: len(stays) == 2)
        assert (later.data, stays.data) == (["second"], ["first", "second"])

    async def test_registrations_that_come_and_go_meanwhile_skip_and_double_nothing(self, adapter: Adapter) -> None:
        registry, notifier, stays = await adapter.started(), adapter.notifier(), Heard()
        await registry.register(KEY, stays)

        async def come_and_go() -> None:
            for _ in range(20):
                heard = Heard()
                registration = await registry.register(KEY, heard)
                await adapter.until(lambda heard=heard: len(heard) >= 2)  # type: ignore[misc]  # mypy: defaults of lambdas
                await registry.unregister(registration)
                first = heard.data[0]
                assert heard.data == list(range(first, first + len(heard)))
            done.append(True)

        async def send() -> None:
            number = 0
            while not done:
                await notifier.notify(KEY, number)
                number += 1

        done: list[bool] = []
        await adapter.gather(come_and_go(), send())
        await adapter.until(lambda: stays.data == list(range(stays.data[-1] + 1)))
        assert stays.data == list(range(len(stays)))

    async def test_the_order_of_a_key_is_the_same_for_everyone(self, adapter: Adapter) -> None:
        registries = [await adapter.started() for _ in range(2)]
        callbacks = [Heard() for _ in range(4)]
        for index, callback in enumerate(callbacks):
            await registries[index % 2].register(KEY, callback)

        async def send(name: int) -> None:
            notifier = adapter.notifier()
            for number in range(25):
                await notifier.notify(KEY, [name, number])

        await adapter.gather(*(send(name) for name in range(4)))
        await adapter.until(lambda: all(len(callback) >= 100 for callback in callbacks))
        assert all(callback.data == callbacks[0].data for callback in callbacks)
        for name in range(4):
            assert [number for who, number in callbacks[0].data if who == name] == list(range(25))

    async def test_a_bad_key_is_refused_before_anything_is_touched(self, adapter: Adapter) -> None:
        registry, notifier = await adapter.started(), adapter.notifier("sqlite:////nowhere/at/all.db")
        for name, keys in BAD_KEYS.items():
            for verb in (notifier.notify(keys, 1), registry.register(keys, Heard()), registry.cursor(keys)):
                with pytest.raises(InvalidKey):  # noqa: PT012 - the second statement names the row
                    await verb
                    pytest.fail(name)

    async def test_64_keys_are_taken(self, adapter: Adapter) -> None:
        registry, notifier, heard = await adapter.started(), adapter.notifier(), Heard()
        keys = {"a": list(range(64))}
        registration = await registry.register(keys, heard)
        assert (await notifier.notify(keys, 1)).reached == 1
        await adapter.until(lambda: heard)
        assert len(registration.keys) == 64
        assert len(heard[0].cursor) < 3000

    async def test_a_registration_says_where_it_is(self, adapter: Adapter) -> None:
        registry, notifier, heard = await adapter.started(), adapter.notifier(), Heard()
        registration = await registry.register(KEY, heard)
        before = registration.cursor
        await notifier.notify(KEY, 1)
        await adapter.until(lambda: heard)
        assert registration.cursor == heard[0].cursor != before
        assert (registration.keys, registration.closed) == ((NAME,), False)

    async def test_a_bad_cursor_is_refused(self, adapter: Adapter) -> None:
        registry = await adapter.started()
        for since in ("", "junk", "1.2.3", "\x00", "c1" * 3000, "Start"):
            with pytest.raises(InvalidCursor):
                await registry.register(KEY, Heard(), since=since)
            with pytest.raises(InvalidCursor):
                async with registry.subscribe(KEY, since=since):
                    pytest.fail(since)
        assert (await adapter.notifier().notify(KEY, 1)).nobody
