"""The own listener and the own client over TLS: verified, whatever the store says."""

from __future__ import annotations

import pytest

from ..._values import Outcome
from ...abc import Store
from ...exceptions import UrlUnreachable
from ..receiver import Receiver
from .base import KEY, NAME, QUICK, Adapter, AdapterTests, Heard, plant

LISTEN = {"listen": "127.0.0.1:0"}
"""Its own listener, also where a mounted handler is judged: that one's server brings its own TLS."""


class TlsTests(AdapterTests):
    """The fixture `certificate` is a path to a PEM file: a key, and a certificate for 127.0.0.1 that it has signed itself."""

    async def test_a_result_arrives_over_tls_where_the_certificate_is_trusted(
        self, adapter: Adapter, certificate: str
    ) -> None:
        _needs_own_client(adapter)
        registry = await adapter.started(certfile=certificate, cafile=certificate, **LISTEN)
        heard = Heard()
        await registry.register(KEY, heard)
        notifier = adapter.notifier(cafile=certificate)
        receipts = [await notifier.notify(KEY, number) for number in range(3)]
        await adapter.until(lambda: heard.data == [0, 1, 2])
        assert str(registry.url).startswith("https://127.0.0.1:")
        assert [receipt.reached for receipt in receipts] == [1, 1, 1]

    async def test_snd_a_certificate_that_is_not_trusted_is_refused_without_a_second_attempt(
        self, adapter: Adapter, certificate: str
    ) -> None:
        _needs_own_client(adapter)
        registry = await adapter.started(certfile=certificate, cafile=certificate, **LISTEN, **QUICK)
        heard = Heard()
        await registry.register(KEY, heard)
        (delivery,) = (await adapter.notifier().notify(KEY, 1)).deliveries
        assert (delivery.outcome, delivery.attempts) == (Outcome.REFUSED, 1)
        assert "certificate" in str(delivery.error)
        await adapter.until(lambda: heard.data == [1])

    async def test_a_certificate_for_another_host_is_refused(
        self, adapter: Adapter, certificate: str, store: Store
    ) -> None:
        _needs_own_client(adapter)
        registry = await adapter.started(certfile=certificate, cafile=certificate, listen="0.0.0.0:0")
        await adapter.in_thread(plant, store, str(registry.url).replace("127.0.0.1", "127.0.0.2"))
        (delivery,) = (await adapter.notifier(cafile=certificate).notify(KEY, 1)).deliveries
        assert (delivery.outcome, delivery.attempts) == (Outcome.REFUSED, 1)

    async def test_an_https_url_is_never_called_without_tls(
        self, adapter: Adapter, certificate: str, store: Store, receiver: Receiver
    ) -> None:
        _needs_own_client(adapter)
        await adapter.in_thread(plant, store, receiver.url.replace("http:", "https:"))
        (delivery,) = (await adapter.notifier(cafile=certificate, timeout_seconds=1.0).notify(KEY, 1)).deliveries
        assert delivery.outcome != Outcome.DELIVERED
        assert not receiver.requests

    async def test_a_registry_that_does_not_trust_its_own_certificate_says_so_at_start(
        self, adapter: Adapter, certificate: str, store: Store
    ) -> None:
        _needs_own_client(adapter)
        with pytest.raises(UrlUnreachable, match=r"certificate.*cafile="):
            await adapter.started(certfile=certificate, **LISTEN)
        assert not await adapter.in_thread(store.instances)
        assert not (await adapter.in_thread(store.targets, [NAME]))[NAME]

    async def test_a_certificate_that_cannot_be_loaded_is_named_at_start(self, adapter: Adapter) -> None:
        with pytest.raises(ValueError, match=r"missing\.pem"):
            await adapter.started(certfile="/nowhere/missing.pem", **LISTEN)


def _needs_own_client(adapter: Adapter) -> None:
    if not adapter.own_client:
        pytest.skip(
            "certfile=, keyfile= and cafile= are the own listener's and the own client's; this client has its own"
        )
