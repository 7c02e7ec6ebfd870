"""Tornado's bridges, put to the suite that all bridges are put to."""

from __future__ import annotations

import pytest

from skyhooks.testing import BridgeConformance
from tornado_bridges import TornadoBridges


class TestBridges(BridgeConformance):
    @pytest.fixture
    def adapter(self, store_url):
        return TornadoBridges(store_url)
