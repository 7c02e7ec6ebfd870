"""What it costs to hold many keys and callbacks: registering, memory, the heartbeat."""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from pathlib import Path

from benchmarks.harness import Case, Goal, interleave, report
from skyhooks._asyncio.notifier import Notifier
from skyhooks._asyncio.registry import Registry
from skyhooks._stores import open_store
from skyhooks._values import Instance


def run(*, rounds: int, keys: int = 100_000, callbacks: int = 1_000_000) -> None:
    """Measure registering, then heartbeats over few and many keys."""
    asyncio.run(_registering(keys, callbacks))
    _heartbeat(rounds)
    asyncio.run(_reconnecting(10_000))


async def _registering(keys: int, callbacks: int) -> None:
    registry = Registry("memory://holding", listen=None, heartbeat_seconds=1000, lease_seconds=3000)
    await registry.start()

    def callback(_: object) -> None:
        raise AssertionError("nobody is called here")

    warm = [await registry.register({"warm": number}, callback) for number in range(1000)]
    gc.collect()
    gc.disable()
    before = _resident_bytes()
    begin = time.perf_counter()
    registrations = [await registry.register({"account": number % keys}, callback) for number in range(callbacks)]
    seconds = time.perf_counter() - begin
    used = _resident_bytes() - before
    gc.enable()
    print(f"\nregistering, {callbacks:,} callbacks over {keys:,} keys, memory store")
    print(f"  {seconds / callbacks * 1e6:.2f} us a callback (goal 2, floor 3: of the table alone)")
    print(f"  {used / callbacks:.0f} bytes a callback, the store's record of its key included (goal 100, floor 150)")
    del warm, registrations
    await registry.stop(0)


def _heartbeat(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cases = []
        stores = []
        for held in (100, 1_000_000):
            store = open_store(f"sqlite:///{Path(folder) / f'{held}.db'}")
            stores.append(store)
            instance = Instance(f"{held:032x}", None, 0)
            token = store.join(instance, 600).token
            for begin in range(0, held, 10_000):
                store.add_hooks(instance.instance_id, [f"k={n}" for n in range(begin, min(held, begin + 10_000))], 1)

            def beat(store=store, name=instance.instance_id, token=token) -> float:
                begin = time.perf_counter()
                for _ in range(200):
                    store.renew(name, 600, token)
                return (time.perf_counter() - begin) / 200 * 1e6

            cases.append(Case(f"heartbeat, {held:,} keys held", beat))
        interleave(cases, rounds)
        for store in stores:
            store.close()
    report(
        "heartbeat, SQLite, without the rotating slice",
        cases,
        [Goal("1e6 to 1e2", cases[1].name, cases[0].name, 1.2, 1.5)],
    )


async def _reconnecting(clients: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'reconnecting.db'}"
        store = open_store(url)
        calls = 0
        add_hooks = store.add_hooks

        def counted(*args):
            nonlocal calls
            calls += 1
            return add_hooks(*args)

        store.add_hooks = counted
        async with Registry(store) as registry, Notifier(url) as notifier:
            await notifier.notify({"account": 0}, "before")
            begin = time.perf_counter()
            await asyncio.gather(
                *(registry.register({"account": number}, lambda _: None, since="start") for number in range(clients))
            )
            seconds = time.perf_counter() - begin
            print(f"\nreconnecting, {clients:,} clients, a key each, SQLite")
            print(f"  {calls} store transactions (goal 20, floor 50), {seconds:.2f} s")


def _resident_bytes() -> int:
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * 4096
