"""The SQLite store, put to the suite that any store is put to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from skyhooks.testing import StoreConformance


class TestSQLiteStore(StoreConformance):
    moved_is_exact = True

    @pytest.fixture
    def new_url(self, tmp_path: Path) -> Callable[[str], str]:
        return lambda query: f"sqlite:///{tmp_path}/{uuid4().hex}.db?{query}"
