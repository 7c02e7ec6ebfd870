"""Listener, client and runtime on plain asyncio: what the Tornado adapter and the command line stand on."""

from __future__ import annotations
