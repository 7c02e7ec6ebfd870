"""Runs pytest in a process that gevent has patched first; of all tests only gevent's own, unless files are named."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import sys
from pathlib import Path

import pytest

arguments = sys.argv[1:]
if not any(".py" in argument for argument in arguments):
    arguments += sorted(map(str, Path(__file__).parent.glob("test_gevent*.py")))
sys.exit(pytest.main(arguments))
