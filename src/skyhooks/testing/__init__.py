"""The conformance suites, and what they stand on. Each is imported when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .store import StoreConformance

__all__ = ["StoreConformance"]

_HOMES = {"StoreConformance": ".store"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest

    module = f"{__name__}{_HOMES[name]}"
    pytest.register_assert_rewrite(module)
    return getattr(import_module(module), name)
