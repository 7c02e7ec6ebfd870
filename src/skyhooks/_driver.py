"""Runs the core's coroutines in worlds where every runtime method simply blocks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, in one step, and return what it returns.

    Raises:
        RuntimeError: it suspended, so it awaited something that is not of this world; a bug in skyhooks.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # StopIteration.value is Any in the stubs
    coroutine.close()
    raise RuntimeError(f"{coroutine!r} suspended in a world that blocks; please report this to skyhooks")


def iterate(values: AsyncGenerator[T]) -> Generator[T, None, None]:
    """Iterate over what an async generator yields that never suspends; close it, however that ends."""
    try:
        while True:
            try:
                value = run(values.__anext__())
            except StopAsyncIteration:
                return
            yield value
    finally:
        run(values.aclose())
