"""Brings the result of a background job to every browser that waits for it."""

from __future__ import annotations
