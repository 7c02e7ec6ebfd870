"""Says which tests need an extra, and leaves out those whose extra is not installed."""

from __future__ import annotations

import os
import sys
from fnmatch import fnmatch
from importlib.util import find_spec

import pytest
from hypothesis import settings

NEEDS = {
    "test_tornado*.py": "tornado",
    "test_gevent*.py": "gevent",
    "test_twisted*.py": "twisted",
    "test_bridge_socket*.py": "twisted",
    "test_mongodb*.py": "mongodb",
    "test_celery*.py": "celery",
    "test_requests*.py": "requests",
    "test_fleet*.py": "fleet",
    "test_examples*.py": "fleet",
    "test_demo_mixed*.py": "fleet",
    "test_script*.py": "browser",
    "test_page*.py": "browser",
    "test_script_celery*.py": "celery",
}
"""What the tests of a file are marked with, by all that fit; a single test, or a case of one, may be marked as well."""

PACKAGES = {
    "tornado": ("tornado",),
    "gevent": ("gevent", "wsproto"),
    "twisted": ("twisted", "treq", "wsproto"),
    "mongodb": ("pymongo",),
    "celery": ("celery", "redis"),
    "requests": ("requests",),
    "fleet": ("tornado", "gevent", "twisted", "treq", "pymongo", "flask", "klein"),
    "browser": ("tornado", "gevent", "twisted", "playwright"),
}
"""What each mark needs."""

# A busy machine is no counterexample. CI judges a change by the same examples as the last one; anew are drawn while working.
settings.register_profile("working", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "working")


def missing(mark):
    return any(find_spec(package) is None for package in PACKAGES[mark])


def is_patched():
    """Tell whether gevent had patched this process before pytest came, as tests/gevent_pytest.py does."""
    return "gevent.monkey" in sys.modules and sys.modules["gevent.monkey"].is_module_patched("socket")


collect_ignore_glob = [pattern for pattern, mark in NEEDS.items() if missing(mark)]
if not is_patched():
    collect_ignore_glob.append("test_gevent*.py")


@pytest.fixture
def certificate(tmp_path):
    from certificates import Certificate

    return Certificate(tmp_path / "certificate.pem").path


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    for item in items:
        for pattern, mark in NEEDS.items():
            if fnmatch(item.path.name, pattern):
                item.add_marker(mark)
    unfit = [item for item in items if any(missing(mark.name) for mark in item.iter_markers() if mark.name in PACKAGES)]
    config.hook.pytest_deselected(items=unfit)
    items[:] = [item for item in items if item not in set(unfit)]
