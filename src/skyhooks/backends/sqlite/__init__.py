"""The embedded default: many processes, one machine, one file. `sqlite:///path.db`."""

from __future__ import annotations

from .store import SQLiteStore

__all__ = ["SQLiteStore"]
