"""The MongoDB store: where a team outgrows one machine. Any server from 4.4 on, single, replicated or sharded."""

from __future__ import annotations

from .store import MongoDBStore

__all__ = ["MongoDBStore"]
