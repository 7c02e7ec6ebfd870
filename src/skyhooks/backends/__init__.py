"""Stores, and what their URLs have in common."""

from __future__ import annotations
