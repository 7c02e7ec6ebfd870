"""The own listener and the own clients over TLS: verified against `cafile`, and refused where that does not fit."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager

import pytest

from certificates import Certificate
from skyhooks import Notifier, Outcome, UrlUnreachable
from skyhooks._asyncio import Registry
from skyhooks._tls import client_context, server_context

LIMIT_SECONDS = 20.0


@pytest.fixture
def certificate(tmp_path):
    return Certificate(tmp_path / "certificate.pem").path


@asynccontextmanager
async def listening(store, certificate, got):
    registry = Registry(store, certfile=certificate, cafile=certificate)
    async with registry, asyncio.timeout(LIMIT_SECONDS):
        await registry.register({"account": 42}, got.append)
        yield registry


def notify(store, **options):
    with Notifier(store, **options) as notifier:
        return notifier.notify({"account": 42}, "hello")


def test_a_result_arrives_over_tls_where_the_certificate_is_trusted(tmp_path, certificate):
    store = f"sqlite:///{tmp_path / 'tls.db'}"
    got = []

    async def main():
        async with listening(store, certificate, got) as registry:
            assert registry.url.startswith("https://")
            return await asyncio.to_thread(notify, store, cafile=certificate)

    receipt = asyncio.run(main())
    assert [delivery.outcome for delivery in receipt.deliveries] == [Outcome.DELIVERED]
    assert [notification.data for notification in got] == ["hello"]


def test_a_certificate_that_is_not_trusted_is_refused_without_a_second_attempt(tmp_path, certificate):
    store = f"sqlite:///{tmp_path / 'tls.db'}"
    got = []

    async def main():
        async with listening(store, certificate, got):
            receipt = await asyncio.to_thread(notify, store)
            (delivery,) = receipt.deliveries
            assert (delivery.outcome, delivery.attempts) == (Outcome.REFUSED, 1)
            assert not got

    asyncio.run(main())


def test_a_registry_that_does_not_trust_its_own_certificate_says_so_at_start(tmp_path, certificate):
    async def main():
        await Registry(f"sqlite:///{tmp_path / 'tls.db'}", certfile=certificate).start()

    with pytest.raises(UrlUnreachable, match="certificate"):
        asyncio.run(main())


def test_verification_is_always_on(certificate):
    context = client_context(certificate)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert server_context(None, None) is None
