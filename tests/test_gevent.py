"""gevent, put to the suite that every adapter is put to: both ways to be rung, with both clients."""

from __future__ import annotations

import pytest

from gevent_adapter import GeventAdapter
from skyhooks.testing import AdapterConformance


class TestOwnListenerOwnClient(AdapterConformance):
    @pytest.fixture
    def store_url(self, tmp_path):
        return f"sqlite:///{tmp_path}/skyhooks.db"

    @pytest.fixture
    def adapter(self, store_url):
        return GeventAdapter(store_url)
