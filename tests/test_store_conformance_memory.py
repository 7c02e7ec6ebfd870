"""The memory store, put to the suite that any store is put to."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest

from skyhooks.testing import StoreConformance


class TestMemoryStore(StoreConformance):
    multi_process = False
    moved_is_exact = True

    @pytest.fixture
    def new_url(self) -> Callable[[str], str]:
        return lambda query: f"memory://{uuid4().hex}?{query}"
