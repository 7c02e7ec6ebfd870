"""Twisted as the conformance suite sees it: own listener or mounted resource, own client or treq's."""

from __future__ import annotations

import reactor_thread
from skyhooks.testing import Adapter
from skyhooks.twisted import Notifier, Registry


class TwistedAdapter(Adapter):
    """Its verbs return Deferreds, which are awaited as they are."""

    def __init__(self, store_url):
        super().__init__(store_url)
        self.registries = []
        self.notifiers = []

    def run(self, body):
        reactor_thread.run(self._judge(body))

    def registry(self, store=None, **options):
        registry = Registry(store or self.store_url, **self.client_options(), **options)
        self.registries.append(registry)
        return registry

    def notifier(self, store=None, **options):
        notifier = Notifier(store or self.store_url, **self.client_options(), **options)
        self.notifiers.append(notifier)
        return notifier

    def client_options(self):
        return {}

    async def sleep(self, seconds):
        await reactor_thread.sleep(seconds)

    async def in_thread(self, function, *args):
        return await reactor_thread.in_thread(function, *args)

    async def gather(self, *bodies):
        return await reactor_thread.gather(*bodies)

    async def close(self):
        for notifier in self.notifiers:
            await notifier.close()
        for registry in self.registries:
            await registry.stop(drain_seconds=0.1)

    async def _judge(self, body):
        try:
            await body
        finally:
            await self.close()
