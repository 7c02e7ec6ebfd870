"""A registry and a notifier for users' own tests: the real ones, on a store that lives and dies with the test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import uuid4

R = TypeVar("R")
N = TypeVar("N")


def in_memory(registry: Callable[..., R], notifier: Callable[..., N], **options: Any) -> tuple[R, N]:
    """Make a registry and a notifier that share a fresh store in memory, and nothing with any other test.

    They are the real ones, and talk over loopback: start the registry as your application does. `options` are the
    registry's::

        async def test_the_page_shows_the_result():
            registry, notifier = in_memory(skyhooks.tornado.Registry, skyhooks.tornado.Notifier)
            async with registry, notifier:
                page = await open_page(registry)
                receipt = await notifier.notify({"account": 42}, {"rows": 12})
                assert receipt.reached == 1

    With the blocking `skyhooks.Notifier`, call it in a thread (`asyncio.to_thread`), or the loop that is to answer its
    POST stands still meanwhile.
    """
    store = f"memory://{uuid4().hex}"
    return registry(store, **options), notifier(store)
