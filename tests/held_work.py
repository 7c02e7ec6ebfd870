"""The work of docs/celery.md's task in the tests: a page is done as soon as the test lets it be."""

from __future__ import annotations

import time
from pathlib import Path

from celery import current_task


def do(page):
    """Wait until the test lets this task do this page, however often it is run."""
    begun(current_task.request.id, page).touch()
    while not leave(current_task.request.id, page).exists():
        time.sleep(0.01)


def leave(task, page, folder="."):
    """Name the file that is there when a task may do a page."""
    return Path(folder, f"{task}-{page}")


def begun(task, page, folder="."):
    """Name the file that is there when a task has come to a page."""
    return Path(folder, f"{task}-{page}-begun")
