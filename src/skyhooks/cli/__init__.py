"""The command line, on the standard library alone: `skyhooks`, or `python -m skyhooks`."""

from __future__ import annotations

from .entry import main

__all__ = ["main"]
