"""HTTP on plain asyncio: the instance's own listener, and the client that jobs and pings go by."""

from __future__ import annotations

from .client import Client
from .listener import Listener

__all__ = ["Client", "Listener"]
