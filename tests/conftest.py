"""Leaves out what the installed extras do not allow to run."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [f"test_{extra}*.py" for extra in ("tornado", "requests") if find_spec(extra) is None]
collect_ignore = [] if find_spec("tornado") else ["test_promises.py", "test_reliability.py"]
