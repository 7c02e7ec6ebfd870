"""gevent's bridges, put to the suite that all bridges are put to."""

from __future__ import annotations

import pytest

from gevent_bridges import GeventBridges
from skyhooks.testing import BridgeConformance


class TestBridges(BridgeConformance):
    @pytest.fixture
    def adapter(self, store_url):
        return GeventBridges(store_url)
