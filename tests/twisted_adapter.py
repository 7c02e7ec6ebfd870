"""Twisted as the conformance suite sees it: own listener or mounted resource, own client or treq's."""

from __future__ import annotations

from treq.client import HTTPClient
from twisted.internet.defer import maybeDeferred
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.resource import Resource
from twisted.web.server import Site

import reactor_thread
from reactor_thread import reactor
from skyhooks.testing import Adapter
from skyhooks.twisted import Notifier, Registry, WebhookResource, harden


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
        """Stop what was made."""
        for notifier in self.notifiers:
            await notifier.close()
        for registry in self.registries:
            await registry.stop(drain_seconds=0.1)

    async def _judge(self, body):
        try:
            await body
        finally:
            await self.close()


class WithTreq(TwistedAdapter):
    own_client = False

    def __init__(self, store_url):
        super().__init__(store_url)
        self.pools = []

    def client_options(self):
        pool = HTTPConnectionPool(reactor)
        self.pools.append(pool)
        return {"client": HTTPClient(Agent(reactor, pool=pool))}

    async def close(self):
        await super().close()
        for pool in self.pools:
            await pool.closeCachedConnections()


class Mounted(TwistedAdapter):
    """Serves `WebhookResource` on a hardened site of its own for each registry that is not to listen for itself."""

    mounted = True
    refuses_first = frozenset(("another version", "nonsense"))

    def __init__(self, store_url):
        super().__init__(store_url)
        self.ports = []

    def registry(self, store=None, **options):
        if {"url", "listen", "advertise"} & set(options):
            return super().registry(store, **options)
        root = Resource()
        site = Site(root)
        port = reactor.listenTCP(0, site, interface="127.0.0.1")
        self.ports.append(port)
        registry = super().registry(store, url=f"http://127.0.0.1:{port.getHost().port}/webhook", **options)
        root.putChild(b"webhook", WebhookResource(registry))
        harden(site, registry)
        return registry

    async def close(self):
        await super().close()
        for port in self.ports:
            await maybeDeferred(port.stopListening)


class MountedWithTreq(Mounted, WithTreq):
    pass
