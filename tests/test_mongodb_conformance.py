"""The MongoDB store, put to the suite that any store is put to."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mongodb_server import Server, server  # noqa: F401 - a fixture
from skyhooks.testing import StoreConformance


@pytest.mark.external
@pytest.mark.timeout(300)  # some ten thousand operations, each on disk before the next
class TestMongoDBStore(StoreConformance):
    moved_is_exact = False  # a renewal tells again what was published up to 30 s before its token

    @pytest.fixture
    def new_url(self, server: Server) -> Callable[[str], str]:  # noqa: F811 - the fixture
        return server.url
