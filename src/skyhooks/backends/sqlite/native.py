"""The standard library's own locks and threads, be gevent's in their place or not.

SQLite is called from native threads, where gevent's locks do not work and a patched thread would be a greenlet
that blocks the hub. gevent itself is never imported from here.
"""

from __future__ import annotations

import _thread
import sys
import time
from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F")


def new_signal() -> _thread.LockType:
    """Make a lock that one native thread may take and another one release."""
    return _original("_thread", "allocate_lock", _thread.allocate_lock)()


def new_lock() -> _thread.RLock:
    """Make a lock for native threads; reentrant, since a garbage collection within it may close a store."""
    return _original("_thread", "RLock", _thread.RLock)()


def current_thread() -> int:
    """Name the native thread that this runs on."""
    return _original("_thread", "get_ident", _thread.get_ident)()


def start_thread(function: Callable[[], None]) -> None:
    """Run a function on a native thread that the interpreter does not wait for."""
    _original("_thread", "start_new_thread", _thread.start_new_thread)(function, ())


def sleep(seconds: float) -> None:
    """Block this native thread."""
    _original("time", "sleep", time.sleep)(seconds)


def _original(module: str, name: str, function: F) -> F:
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None:
        return function
    original: F = monkey.get_original(module, name)
    return original
