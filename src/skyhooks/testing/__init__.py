"""The conformance suites, what they stand on, and what users' own tests need. Each is imported when it is first asked for."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .adapter import Adapter, AdapterConformance
    from .bridge import BridgeAdapter, BridgeConformance
    from .memory import in_memory
    from .receiver import Received, Receiver, Reply
    from .store import StoreConformance

__all__ = [
    "Adapter",
    "AdapterConformance",
    "BridgeAdapter",
    "BridgeConformance",
    "Received",
    "Receiver",
    "Reply",
    "StoreConformance",
    "in_memory",
]

_HOMES = {
    "Adapter": ".adapter",
    "AdapterConformance": ".adapter",
    "BridgeAdapter": ".bridge",
    "BridgeConformance": ".bridge",
    "Received": ".receiver",
    "Receiver": ".receiver",
    "Reply": ".receiver",
    "StoreConformance": ".store",
    "in_memory": ".memory",
}
_SUITES = (".adapter", ".bridge", ".store")


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = f"{__name__}{_HOMES[name]}"
    if _HOMES[name] in _SUITES and module not in sys.modules:
        import pytest

        pytest.register_assert_rewrite(module)
    return getattr(import_module(module), name)
