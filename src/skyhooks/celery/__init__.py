"""Celery: `install` tells what becomes of tasks to whoever waits for it; `progress` tells how far one is."""

from __future__ import annotations

from collections.abc import Callable

try:
    import celery
except ImportError as error:
    raise ImportError('skyhooks.celery needs Celery; install it with: pip install "skyhooks[celery]"') from error

from ._courier import Given
from ._event import PROGRESS, TaskEvent, encode
from ._installation import Installation, TaskKeys
from ._signals import connect, installation_of, installations, require, running_task

__all__ = ["Installation", "TaskEvent", "encode", "install", "progress"]

PROGRESS_SECONDS = 0.2


def install(
    app: celery.Celery,
    notifier: Given = None,
    *,
    keys: TaskKeys = None,
    encode: Callable[[TaskEvent], object] = encode,
    required: bool = False,
    progress_seconds: float = PROGRESS_SECONDS,
) -> Installation:
    """Notify when a task of this application succeeds, fails, is tried again or is revoked; once, however often it is run.

    Each worker process makes a notifier of its own when it first needs one, after the fork: `notifier` is the store's URL
    (None: the default one), a dict of the notifier's options, or a function that makes one.

    Who is told: `keys` is a function of the task (`task.request` has `id`, `args`, `kwargs`) that returns the mapping of keys,
    or None for nobody. `@app.task(skyhooks=…)` takes the same for one task, and comes first. A task for which neither says
    anything notifies nobody.

    What is told: `encode` of the event. Where that cannot travel as JSON, `{"task", "id", "state", "omitted": why}` is.

    A store that fails fails no task: what could not be told is counted, and logged when the trouble begins. `required=True`
    lets a task succeed only once its success is in the log: it is then told before Celery stores the result, and otherwise the
    task fails with what went wrong, which `autoretry_for` may name.

    `progress_seconds` go by at least between two progresses of a task. Installing again replaces what was installed.

    Raises:
        TypeError: for a notifier that has been made already, and for what no notifier or keys can be made of.
        ValueError: for options that a notifier does not take.
    """
    installation = Installation(
        app, notifier, keys=keys, encode=encode, required=required, progress_seconds=progress_seconds
    )
    before = installations.get(app)
    installations[app] = installation
    if before is not None:
        before.close()
    if required:
        require(app)
    connect()
    return installation


def progress(done: float, total: float | None = None, **info: object) -> None:
    """Tell whoever waits for the running task how far it is: `{…, "state": "PROGRESS", "done", "total", "info"}`.

    Returns at once. It is kept and comes in order, as all else that the task tells does; more often than `progress_seconds`
    allow it is left out, so that it may stand in any loop, but where `done` is `total`. A task that is run again tells it again.
    Outside of a task, and in one that notifies nobody, it does nothing. A thread or greenlet that a task has started is
    outside, since Celery knows the running task by its thread: let the task's own tell what they have done, as they end
    (`concurrent.futures.as_completed`).
    """
    task = running_task()
    installation = installation_of(task)
    if task is None or installation is None:
        return
    details = {"done": done, "total": total, **({"info": info} if info else {})}
    event = TaskEvent(task.name, str(task.request.id), PROGRESS, details=details)
    installation.tell_progress(task, event, last=done == total)
