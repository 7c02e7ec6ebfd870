"""Twisted's bridges, put to the suite that all bridges are put to, and what they alone have."""

from __future__ import annotations

import pytest

from skyhooks.testing import BridgeConformance
from twisted_bridges import TwistedBridges


class TestBridges(BridgeConformance):
    @pytest.fixture
    def adapter(self, store_url):
        return TwistedBridges(store_url)
