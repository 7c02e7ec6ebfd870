"""The gevent adapter as the conformance suite sees it: what blocks, made awaitable."""

from __future__ import annotations

import inspect

import gevent

from skyhooks._driver import run
from skyhooks.gevent import Notifier, Registry
from skyhooks.testing import Adapter

BODY_SECONDS = 30


class Call:
    """A call that is made when it is awaited, and is over by then."""

    def __init__(self, function, *args, **options):
        self._call = (function, args, options)

    def __await__(self):
        function, args, options = self._call
        return function(*args, **options)
        yield  # a generator, as `__await__` must be


def native(callback):
    """Say in gevent's tongue what an async callback of the suite says: it returns what goes on by itself, a greenlet."""
    if not inspect.iscoroutinefunction(callback):
        return callback
    return lambda *args: gevent.spawn(run, callback(*args))


class Awaited:
    """Something whose verbs block, as something whose verbs are awaited."""

    verbs = frozenset()

    def __init__(self, blocking):
        self.blocking = blocking

    def __getattr__(self, name):
        attribute = getattr(self.blocking, name)
        return (lambda *args, **options: Call(attribute, *args, **options)) if name in self.verbs else attribute


class AwaitedRegistry(Awaited):
    verbs = frozenset(("start", "stop", "unregister", "cursor", "notify"))

    def register(self, keys, callback, **options):
        return Call(self.blocking.register, keys, native(callback), **options)

    def subscribe(self, *args, **options):
        return AwaitedStream(self.blocking.subscribe(*args, **options))


class AwaitedStream(Awaited):
    def __aenter__(self):
        return Call(self._enter)

    def __aexit__(self, *error):
        return Call(self.blocking.__exit__, *error)

    def __aiter__(self):
        return self

    def __anext__(self):
        return Call(self._next)

    def _enter(self):
        self.blocking.__enter__()
        return self

    def _next(self):
        try:
            return next(self.blocking)
        except StopIteration:
            raise StopAsyncIteration from None


class AwaitedNotifier(Awaited):
    verbs = frozenset(("notify", "notify_many", "flush", "interest", "close"))

    def submit(self, *args, **options):
        return Call(lambda: AwaitedSubmission(self.blocking.submit(*args, **options)))


class AwaitedSubmission(Awaited):
    verbs = frozenset(("result",))


class GeventAdapter(Adapter):
    """Bodies are coroutines that never suspend: each runs in one step, in a greenlet, and every await blocks that."""

    def __init__(self, store_url):
        super().__init__(store_url)
        self.registries = []
        self.notifiers = []

    def run(self, body):
        try:
            with gevent.Timeout(BODY_SECONDS):
                run(body)
        finally:
            self.close()

    def registry(self, store=None, **options):
        registry = AwaitedRegistry(Registry(store or self.store_url, **self.client_options(), **options))
        self.registries.append(registry)
        return registry

    def notifier(self, store=None, **options):
        notifier = AwaitedNotifier(Notifier(store or self.store_url, **self.client_options(), **options))
        self.notifiers.append(notifier)
        return notifier

    def client_options(self):
        return {}

    async def sleep(self, seconds):
        gevent.sleep(seconds)

    async def in_thread(self, function, *args):
        return function(*args)

    async def gather(self, *bodies):
        greenlets = [gevent.spawn(run, body) for body in bodies]
        gevent.joinall(greenlets, raise_error=True)
        return [greenlet.value for greenlet in greenlets]

    def close(self):
        for notifier in self.notifiers:
            notifier.blocking.close()
        for registry in self.registries:
            registry.blocking.stop(drain_seconds=0.1)
