"""Says which tests need an extra, and leaves out those whose extra is not installed."""

from __future__ import annotations

import os
from fnmatch import fnmatch
from importlib.util import find_spec

import pytest
from hypothesis import settings

NEEDS = {
    "test_tornado*.py": "tornado",
    "test_promises.py": "tornado",
    "test_reliability.py": "tornado",
    "test_requests*.py": "requests",
}

# A busy machine is no counterexample. CI judges a change by the same examples as the last one; anew are drawn while working.
settings.register_profile("working", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "working")

collect_ignore_glob = [pattern for pattern, package in NEEDS.items() if find_spec(package) is None]


def pytest_collection_modifyitems(items):
    for item in items:
        if any(fnmatch(item.path.name, pattern) for pattern in NEEDS):
            item.add_marker(pytest.mark.extras)
