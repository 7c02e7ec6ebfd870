"""Plain asyncio, as the command line uses it, put to the suite that every adapter is put to."""

from __future__ import annotations

import pytest

from adapters import AsyncioAdapter
from skyhooks.testing import AdapterConformance


class TestAsyncio(AdapterConformance):
    @pytest.fixture
    def adapter(self, store_url):
        return AsyncioAdapter(store_url)
