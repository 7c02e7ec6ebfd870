"""What a forked child does not go on with: gevent runs its parent's greenlets in it, and watches its parent's sockets."""

from __future__ import annotations

import os
from collections.abc import Callable

import gevent


class ForkWatch:
    """Calls `forget`, in the hub, in every child that goes on with this hub; one that executes a program never does.

    Not `os.register_at_fork`: there the loop still shares its descriptor with the parent's, and to close what it watches
    would take it from the parent, at least with libuv.
    """

    def __init__(self, forget: Callable[[], None]) -> None:
        self._forget = forget
        self._pid = os.getpid()
        self._watcher = gevent.get_hub().loop.fork(ref=False)
        self._watcher.start(self._forked)

    def close(self) -> None:
        """Watch no longer. Twice is fine."""
        self._watcher.stop()
        self._watcher.close()

    def _forked(self) -> None:
        if os.getpid() != self._pid:  # else it was made in the child, before its hub has seen that it is one
            self.close()
            self._forget()
