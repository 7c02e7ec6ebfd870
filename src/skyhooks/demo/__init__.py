"""The demo: web processes, a job that reads files, a page, and a check that nothing is lost when one is killed."""

from __future__ import annotations
