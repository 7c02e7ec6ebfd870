"""Real instances for tests that block: registries of plain asyncio, on a loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading

from skyhooks._asyncio.registry import Registry
from skyhooks.testing.adapter.base import KEY, SECONDS


class Heard:
    """A callback that keeps the data it is called with, and lets others wait for it."""

    def __init__(self):
        self.data = []
        self._called = threading.Condition()

    def __call__(self, notification):
        with self._called:
            self.data.append(notification.data)
            self._called.notify_all()

    def wait_for(self, count):
        """Wait for so many calls, and return their data in order."""
        with self._called:
            assert self._called.wait_for(lambda: len(self.data) >= count, SECONDS), f"only {len(self.data)} came"
            return list(self.data)


class Instances:
    """Starts registries, and stops those that still run when it ends."""

    def __init__(self, store_url):
        self._store_url = store_url
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._running = []

    def start(self, callback=None, *, keys=KEY, **options):
        """Start a registry that holds these keys, and return it."""
        registry = Registry(self._store_url, **options)
        self.call(registry.start())
        self._running.append(registry)
        self.call(registry.register(keys, callback or Heard()))
        return registry

    def stop(self, registry):
        self._running.remove(registry)
        self.call(registry.stop(drain_seconds=0))

    def call(self, coroutine):
        """Run a coroutine on the loop, and return what it returns."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(SECONDS)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        try:
            for registry in list(self._running):
                self.stop(registry)
        finally:
            self.call(self._loop.shutdown_default_executor())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(SECONDS)
            self._loop.close()
