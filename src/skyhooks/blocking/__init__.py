"""The blocking notifier, for jobs, scripts and Celery tasks: thread-safe and fork-safe, on plain sockets."""

from __future__ import annotations

from .._blocking_verbs import Submission
from ._notifier import Notifier

__all__ = ["Notifier", "Submission"]
