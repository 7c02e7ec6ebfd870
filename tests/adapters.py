"""The asyncio adapter as the conformance suite sees it, and the blocking notifier made awaitable."""

from __future__ import annotations

import asyncio

from skyhooks import Notifier
from skyhooks._asyncio.notifier import Notifier as AsyncioNotifier
from skyhooks._asyncio.registry import Registry
from skyhooks.testing import Adapter

BODY_SECONDS = 30


class AsyncioAdapter(Adapter):
    """Plain asyncio: its verbs are coroutines as they are."""

    registry_class = Registry
    notifier_class = AsyncioNotifier

    def __init__(self, store_url):
        super().__init__(store_url)
        self.registries = []
        self.notifiers = []

    def run(self, body):
        asyncio.run(self._judge(body))

    def registry(self, store=None, **options):
        registry = self.registry_class(store or self.store_url, **self.client_options(), **options)
        self.registries.append(registry)
        return registry

    def notifier(self, store=None, **options):
        notifier = self.notifier_class(store or self.store_url, **self.client_options(), **options)
        self.notifiers.append(notifier)
        return notifier

    def client_options(self):
        return {}

    async def sleep(self, seconds):
        await asyncio.sleep(seconds)

    async def in_thread(self, function, *args):
        return await asyncio.to_thread(function, *args)

    async def gather(self, *bodies):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(body) for body in bodies]
        return [task.result() for task in tasks]

    async def close(self):
        for notifier in self.notifiers:
            await notifier.close()
        for registry in self.registries:
            await registry.stop(drain_seconds=0.1)

    async def _judge(self, body):
        try:
            async with asyncio.timeout(BODY_SECONDS):
                await body
        finally:
            await self.close()


class Threaded:
    """Awaits what blocks: each verb runs in a thread."""

    def __init__(self, blocking):
        self.blocking = blocking

    def __getattr__(self, name):
        verb = getattr(self.blocking, name)
        return verb if not callable(verb) else lambda *args, **options: self._call(verb, args, options)

    async def _call(self, verb, args, options):
        result = await asyncio.to_thread(verb, *args, **options)
        return Threaded(result) if hasattr(result, "result") else result


class BlockingAdapter(AsyncioAdapter):
    """Registries of asyncio, rung by the blocking notifier from threads."""

    def notifier(self, store=None, **options):
        notifier = Threaded(Notifier(store or self.store_url, **self.notifier_options(), **options))
        self.notifiers.append(notifier)
        return notifier

    def notifier_options(self):
        return {}
