"""What the bridges to browsers have in common in every framework: what is sent, when, and to whom. Names no loop."""

from __future__ import annotations
