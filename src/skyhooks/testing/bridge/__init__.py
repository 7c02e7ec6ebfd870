"""`BridgeConformance`: bridges to browsers as tests, the same bodies for every framework."""

from __future__ import annotations

from .base import BridgeAdapter
from .lasting import LastingTests
from .reading import ReadingTests
from .refusing import RefusingTests

__all__ = ["BridgeAdapter", "BridgeConformance"]


class BridgeConformance(ReadingTests, RefusingTests, LastingTests):
    """Subclass it in a test module of yours, and give a `BridgeAdapter`; pytest does the rest.

    ::

        from skyhooks.testing import BridgeConformance

        class TestBridges(BridgeConformance):
            @pytest.fixture
            def adapter(self, store_url):
                return MyBridgeAdapter(store_url)

    Each body opens tabs, as small blocking clients in threads, on what the adapter's `serve` has mounted.

    Needs `pip install "skyhooks[testing]"`.
    """
