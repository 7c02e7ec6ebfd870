"""Waits until descriptors are ready: by `poll`, or by `select` where nothing else is left, as under eventlet."""

from __future__ import annotations

import select
from collections.abc import Mapping
from math import ceil
from select import POLLIN, POLLOUT

__all__ = ["POLLIN", "POLLOUT", "ready_descriptors"]


def ready_descriptors(masks: Mapping[int, int], seconds: float) -> set[int]:
    """Wait for any of these descriptors, each with what it wants of POLLIN and POLLOUT, and return those that are ready.

    The time is rounded up to milliseconds; 0 or less looks and does not wait.
    """
    if not hasattr(select, "poll"):  # looked up late: eventlet takes it away when it patches
        return _by_select(masks, seconds)
    poller = select.poll()
    for fd, mask in masks.items():
        poller.register(fd, mask)
    return {fd for fd, _ in poller.poll(max(0, ceil(seconds * 1000)))}


def _by_select(masks: Mapping[int, int], seconds: float) -> set[int]:
    reading = [fd for fd, mask in masks.items() if mask & POLLIN]
    writing = [fd for fd, mask in masks.items() if mask & POLLOUT]
    readable, writable, broken = select.select(reading, writing, list(masks), max(0.0, seconds))
    return {*readable, *writable, *broken}
