"""An instance's life: start, stop, misuse, forks, and URLs that are not its own."""

from __future__ import annotations

import contextlib
import os
import socket
import time
import warnings
from collections.abc import Awaitable, Callable
from operator import methodcaller
from typing import Any, cast
from uuid import uuid4

import pytest

from ..._notification import Notification
from ..._registration import Registration
from ..._values import Outcome, Publication
from ...abc import Store
from ...exceptions import (
    ForkedRegistry,
    NotStarted,
    SkyhooksError,
    StoreUnavailable,
    UrlBlocked,
    UrlShared,
    UrlUnreachable,
)
from ..receiver import Receiver, Reply
from .base import (
    KEY,
    NAME,
    QUICK,
    Adapter,
    AdapterTests,
    AwaitedRegistry,
    Heard,
    closed_port,
    data_of,
    next_of,
    outcomes,
    plant,
)
from .raw import Letter, ephemeral, letter

Verb = Callable[[AwaitedRegistry], Awaitable[object]]


async def _subscribe(registry: AwaitedRegistry) -> None:
    async with registry.subscribe(KEY):
        pytest.fail("it was opened")


VERBS: dict[str, Verb] = {
    "register": lambda registry: registry.register(KEY, Heard()),
    "subscribe": _subscribe,
    "cursor": lambda registry: registry.cursor(KEY),
    "notify": lambda registry: registry.notify(KEY, 1),
}


class LifeTests(AdapterTests):
    """`start`, `stop`, and what lies outside of them."""

    async def test_a_started_registry_stands_in_the_store_as_it_says(self, adapter: Adapter, store: Store) -> None:
        registry = await adapter.started()
        (row,) = await adapter.in_thread(store.instances)
        assert (row.instance_id, row.url) == (registry.instance_id, registry.url)
        assert str(registry.url).startswith("http://127.0.0.1:")
        assert row.label

    async def test_to_start_twice_is_fine(self, adapter: Adapter, store: Store) -> None:
        registry, heard = await adapter.started(), Heard()
        await registry.register(KEY, heard)
        who = registry.instance_id
        await registry.start()
        assert registry.instance_id == who
        assert (await adapter.notifier().notify(KEY, 1)).reached == 1
        assert len(await adapter.in_thread(store.instances)) == 1

    async def test_crs_what_was_answered_when_stop_was_called_is_called_all_the_same(
        self, adapter: Adapter, store: Store
    ) -> None:
        registry, heard = await adapter.started(), Heard()

        def slow(notification: Notification) -> None:
            time.sleep(0.01)
            heard(notification)

        await registry.register(KEY, slow)
        (row,) = await adapter.in_thread(store.instances)
        letters = [letter(row, [ephemeral(number)]) for number in range(50)]
        asking = (adapter.in_thread(_status, one) for one in letters)
        statuses = await adapter.gather(*asking, _stop_when(adapter, registry, lambda: len(heard) > 5))
        assert len(heard) == statuses.count(200)

    async def test_a_stop_during_a_start_stops_what_was_started(self, adapter: Adapter, store: Store) -> None:
        registry = adapter.registry()
        await adapter.gather(_done(registry.start()), _done(registry.stop()))
        assert not await adapter.in_thread(store.instances)
        with pytest.raises(NotStarted):
            await registry.register(KEY, Heard())

    async def test_after_a_start_that_failed_and_a_stop_it_may_be_started_and_stopped(
        self, adapter: Adapter, store: Store
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            registry = adapter.registry(listen=f"127.0.0.1:{port}")
            failing, _ = await adapter.gather(_failed(registry.start()), _done(registry.stop()))
        assert isinstance(failing, UrlUnreachable)
        await registry.start()
        assert len(await adapter.in_thread(store.instances)) == 1
        await registry.stop()
        assert not await adapter.in_thread(store.instances)

    async def test_a_callback_that_survives_its_end_does_not_hold_up_a_stop(self, adapter: Adapter) -> None:
        registry, begun, released, ended = await adapter.started(), Heard(), [False], [False]

        async def stubborn(notification: Notification) -> None:
            begun(notification)
            while not released[0]:
                with contextlib.suppress(BaseException):  # as a loop that tries again may
                    await adapter.sleep(0.05)
            ended[0] = True

        await registry.register(KEY, stubborn)
        await adapter.notifier().notify(KEY, 1)
        await adapter.until(lambda: begun)
        began = time.monotonic()
        await registry.stop(drain_seconds=0.1)
        assert time.monotonic() - began < 4
        released[0] = True
        await adapter.until(lambda: ended[0])

    async def test_a_callback_that_stops_its_registry_goes_on_afterwards(self, adapter: Adapter) -> None:
        registry, went_on = await adapter.started(), []

        async def stops(_: Notification) -> None:
            await registry.stop()
            went_on.append(True)

        await registry.register(KEY, stops)
        await adapter.notifier().notify(KEY, 1, ephemeral=True)
        await adapter.until(lambda: went_on)

    async def test_to_unregister_what_is_no_registration_says_what_to_give(self, adapter: Adapter) -> None:
        registry = await adapter.started()
        with pytest.raises(TypeError, match="what register"):
            await registry.unregister(cast("Registration", None))

    async def test_to_stop_twice_is_fine_and_nothing_is_left(self, adapter: Adapter, store: Store) -> None:
        registry = await adapter.started()
        await registry.register(KEY, Heard())
        await registry.stop()
        await registry.stop()
        assert await adapter.in_thread(store.instances) == []
        assert (await adapter.notifier().notify(KEY, 1)).nobody

    async def test_to_stop_without_a_start_is_fine(self, adapter: Adapter) -> None:
        await adapter.registry().stop()

    async def test_no_verb_works_before_start(self, adapter: Adapter) -> None:
        for verb in VERBS.values():
            with pytest.raises(NotStarted, match="start"):
                await verb(adapter.registry())

    async def test_no_verb_works_after_stop_nor_a_second_start(self, adapter: Adapter) -> None:
        registry = await adapter.started()
        registration = await registry.register(KEY, Heard())
        await registry.stop()
        verbs: list[Verb] = [*VERBS.values(), methodcaller("start")]
        for verb in verbs:
            with pytest.raises(NotStarted):
                await verb(registry)
        await registry.unregister(registration)

    async def test_a_child_cannot_use_its_parent_s_registry(self, adapter: Adapter) -> None:
        registry, heard = await adapter.started(), Heard()
        registration = await registry.register(KEY, heard)
        verbs: list[Verb] = [
            *VERBS.values(),
            methodcaller("unregister", registration),
            methodcaller("start"),
            methodcaller("stop"),
        ]
        for verb in verbs:
            assert await adapter.in_thread(_is_forked_in_child, verb, registry)
        assert (await adapter.notifier().notify(KEY, 1)).reached == 1
        await adapter.until(lambda: heard.data == [1])

    async def test_a_url_of_another_instance_is_shared(self, adapter: Adapter, store: Store) -> None:
        registry, heard = await adapter.started(), Heard()
        await registry.register(KEY, heard)
        with pytest.raises(UrlShared, match="its own URL"):
            await adapter.registry(url=registry.url).start()
        assert [one.instance_id for one in await adapter.in_thread(store.instances)] == [registry.instance_id]
        assert (await adapter.notifier().notify(KEY, 1)).reached == 1

    async def test_a_url_where_nobody_or_somebody_else_answers_is_unreachable(
        self, adapter: Adapter, store: Store, receiver: Receiver
    ) -> None:
        receiver.default = Reply(body=b"hello")
        for url in (f"http://127.0.0.1:{closed_port()}/", receiver.url):
            registry = adapter.registry(url=url)
            with pytest.raises(UrlUnreachable):
                await registry.start()
        assert await adapter.in_thread(store.instances) == []

    async def test_a_url_that_jobs_may_not_call_is_blocked_at_start(self, adapter: Adapter, store: Store) -> None:
        for url in ("http://169.254.169.254/", "http://93.184.215.14/"):
            with pytest.raises((UrlBlocked, UrlUnreachable)):
                await adapter.registry(url=url).start()
        assert await adapter.in_thread(store.instances) == []

    async def test_a_start_that_failed_can_be_tried_again(self, adapter: Adapter, receiver: Receiver) -> None:
        registry = adapter.registry(url=receiver.url)
        for _ in range(2):
            with pytest.raises(UrlUnreachable):
                await registry.start()
        with pytest.raises(NotStarted):
            await registry.register(KEY, Heard())

    async def test_without_a_store_there_is_no_start(self, adapter: Adapter) -> None:
        registry = adapter.registry("sqlite:////nowhere/at/all.db", listen=None)
        with pytest.raises(StoreUnavailable):
            await registry.start()
        with pytest.raises(StoreUnavailable):
            await adapter.notifier("sqlite:////nowhere/at/all.db").notify(KEY, 1)

    async def test_lse_whose_url_is_taken_goes_on_in_pull_mode_and_says_so_once(
        self, adapter: Adapter, store: Store
    ) -> None:
        told: list[BaseException] = []
        registry = await adapter.started(on_error=lambda error, _: told.append(error), **QUICK)
        notifier, heard, url = adapter.notifier(), Heard(), registry.url
        await registry.register(KEY, heard)
        await adapter.in_thread(plant, store, url)
        await notifier.notify(KEY, 1)
        await adapter.until(lambda: registry.url is None)
        await notifier.notify(KEY, 2)
        await adapter.until(lambda: len(heard) >= 2)
        rows = await adapter.in_thread(store.instances)
        assert sorted((one.url or "") for one in rows) == ["", url]
        assert heard.data == [1, 2]
        assert [type(error) for error in told] == [UrlShared]

    async def test_lse_whose_lease_has_ended_joins_again_and_misses_nothing(
        self, adapter: Adapter, store: Store
    ) -> None:
        registry, notifier, heard = await adapter.started(**QUICK), adapter.notifier(), Heard()
        await registry.register({"account": [42, 43]}, heard)
        who = registry.instance_id
        await adapter.in_thread(store.leave, who)
        missed = await notifier.notify(KEY, "missed")
        await adapter.until(lambda: registry.instance_id != who)
        await adapter.until_store(lambda: store.targets(["account=43"])["account=43"])
        await adapter.until_store(lambda: store.targets([NAME])[NAME])
        assert (await notifier.notify({"account": 43}, "new")).reached == 1
        await adapter.until(lambda: len(heard) >= 2)
        assert (sorted(heard.data), missed.nobody) == (["missed", "new"], True)

    async def test_lse_hooks_that_were_lost_come_back(self, adapter: Adapter, store: Store) -> None:
        registry, heard = await adapter.started(listen=None, **QUICK), Heard()
        await registry.register(KEY, heard)
        await adapter.in_thread(store.remove_hooks, registry.instance_id, [NAME], 2**40)
        await adapter.notifier().notify(KEY, 1)
        await adapter.until_store(lambda: store.targets([NAME])[NAME])
        await adapter.until(lambda: heard.data == [1])

    async def test_crs_what_nobody_rang_for_comes_with_the_next_heartbeat_however_many_keys_are_held(
        self, adapter: Adapter, store: Store
    ) -> None:
        registry, heard = await adapter.started(heartbeat_seconds=0.5), Heard()
        for number in range(40):
            await registry.register({"other": list(range(64 * number, 64 * number + 64))}, Heard())
            if number == 20:
                await registry.register(KEY, heard)
        silent = Publication(NAME, uuid4().hex, uuid4().hex, b'"silent"', 1.5)
        await adapter.in_thread(store.publish, [silent])
        await adapter.until(lambda: heard.data == ["silent"], 2.0)

    async def test_pull_mode_does_all_but_be_rung(self, adapter: Adapter) -> None:
        registry, notifier, heard = await adapter.started(listen=None, **QUICK), adapter.notifier(), Heard()
        assert registry.url is None
        await notifier.notify(KEY, 0)
        await registry.register(KEY, heard, since="start")
        async with registry.subscribe(KEY, since="start", max_pending=2) as stream:
            receipts = await notifier.notify_many([(KEY, number) for number in range(1, 30)])
            assert data_of(await next_of(stream, 30)) == list(range(30))
        await adapter.until(lambda: len(heard) >= 30)
        assert heard.data == list(range(30))
        assert {one for receipt in receipts for one in outcomes(receipt)} == {Outcome.DEFERRED}

    async def test_while_it_drains_it_is_rung_and_takes_nobody_new(self, adapter: Adapter) -> None:
        registry, notifier = await adapter.started(), adapter.notifier()
        opened: list[bool] = []
        refused: list[bool] = []
        sent: list[object] = []

        async def read() -> list[object]:
            async with registry.subscribe(KEY) as stream:
                opened.append(True)
                return data_of([item async for item in stream])

        async def stop() -> list[object]:
            await adapter.until(lambda: len(opened) == 5 and sent)
            await registry.stop(drain_seconds=1)
            return []

        async def send() -> list[object]:
            await adapter.until(lambda: len(opened) == 5)
            while not (await notifier.notify(KEY, len(sent))).nobody:
                sent.append(len(sent))
                try:
                    await registry.cursor(KEY)
                except NotStarted:
                    refused.append(True)
            return []

        *got, _, _ = await adapter.gather(*(read() for _ in range(5)), stop(), send())
        assert all(one == sent[: len(one)] for one in got)
        assert max(map(len, got)) > 1
        assert refused

    async def test_unknown_clients_and_bad_options_are_refused_at_once(self, adapter: Adapter) -> None:
        bad: list[dict[str, Any]] = [
            {"heartbeat_seconds": 0},
            {"heartbeat_seconds": 30.0, "lease_seconds": 10.0},
            {"url": "ftp://a/"},
            {"url": "http://a/", "listen": None},
            {"listen": "nonsense"},
            {"max_body_bytes": 10},
            {"secret": "whsec_short"},
        ]
        for options in bad:
            with pytest.raises(ValueError):  # noqa: PT011 - the rows differ
                adapter.registry(**options)
        with pytest.raises(ValueError, match="known are memory, "):
            adapter.registry("nosuch://")
        with pytest.raises(ValueError, match="timeout_seconds"):
            adapter.notifier(timeout_seconds=0)

    async def test_a_notification_s_repr_shows_no_data(self, adapter: Adapter) -> None:
        registry, heard = await adapter.started(), list[Notification]()
        await registry.register(KEY, heard.append)
        await adapter.notifier().notify(KEY, "hunter2")
        await adapter.until(lambda: heard)
        assert "hunter2" not in repr(heard)


def _is_forked_in_child(verb: Verb, registry: AwaitedRegistry) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of forks beside threads: that is the point
        pid = os.fork()
    if pid == 0:
        os._exit(0 if _is_forked(verb, registry) else 1)
    return os.waitpid(pid, 0)[1] == 0


def _is_forked(verb: Verb, registry: AwaitedRegistry) -> bool:
    try:
        next(iter(verb(registry).__await__()), None)
    except ForkedRegistry:
        return True
    except BaseException:  # noqa: BLE001 - whatever else it is, the child must end
        return False
    return False


def _status(one: Letter) -> int:
    try:
        return one.ask().status
    except OSError:  # the listener is gone
        return 0


async def _stop_when(adapter: Adapter, registry: AwaitedRegistry, condition: Callable[[], object]) -> int:
    await adapter.until(condition)
    await registry.stop()
    return 0


async def _done(work: Awaitable[object]) -> BaseException | None:
    await work
    return None


async def _failed(work: Awaitable[object]) -> BaseException | None:
    try:
        await work
    except SkyhooksError as error:
        return error
    return None
