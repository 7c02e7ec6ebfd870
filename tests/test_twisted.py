"""Twisted, put to the suite that every adapter is put to: both ways to be rung, with both clients."""

from __future__ import annotations

import pytest

from skyhooks.testing import AdapterConformance
from twisted_adapter import Mounted, MountedWithTreq, TwistedAdapter, WithTreq


class TestOwnListenerOwnClient(AdapterConformance):
    @pytest.fixture
    def store_url(self, tmp_path):
        return f"sqlite:///{tmp_path}/skyhooks.db"

    @pytest.fixture
    def adapter(self, store_url):
        return TwistedAdapter(store_url)


@pytest.mark.long
class TestOwnListenerTreq(AdapterConformance):
    @pytest.fixture
    def adapter(self, store_url):
        return WithTreq(store_url)


@pytest.mark.long
class TestMountedResourceOwnClient(AdapterConformance):
    @pytest.fixture
    def adapter(self, store_url):
        return Mounted(store_url)


class TestMountedResourceTreq(AdapterConformance):
    @pytest.fixture
    def adapter(self, store_url):
        return MountedWithTreq(store_url)
