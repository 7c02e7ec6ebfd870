"""Hears Celery's signals, in whichever process each is sent, and tells what they say."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import Celery, Task, signals
from celery.app.task import Context
from celery.exceptions import Retry

from ._event import FAILURE, RETRY, REVOKED, SUCCESS, TaskEvent
from ._installation import AnyTask, Installation

installations: weakref.WeakKeyDictionary[Celery, Installation] = weakref.WeakKeyDictionary()

_MARK = "_skyhooks_told"


def connect() -> None:
    """Begin to listen; twice is fine."""
    for signal, receiver in (
        (signals.task_success, _on_success),
        (signals.task_failure, _on_failure),
        (signals.before_task_publish, _on_publish),
        (signals.task_retry, _on_retry),
        (signals.task_revoked, _on_revoked),
        (signals.celeryd_after_setup, _on_setup),
        (signals.worker_process_shutdown, _on_shutdown),
        (signals.worker_shutdown, _on_shutdown),
    ):
        signal.connect(receiver, weak=False, dispatch_uid=f"skyhooks.{receiver.__name__}")


def installation_of(task: object) -> Installation | None:
    """Return what was installed in a task's application."""
    app = task.app if isinstance(task, Task) else None
    return None if app is None else installations.get(app)


def running_task() -> AnyTask | None:
    """Return the task that is run here, by a worker or eagerly; of applications any may be asked."""
    app = next(iter(installations), None)
    return None if app is None else app.current_worker_task


def require(app: Celery) -> None:
    """Let the tasks of an application succeed only once that was told."""
    if app.finalized:  # type: ignore[attr-defined]  # celery-types 0.26 does not know it
        _require_of_all(app)
    else:
        app.on_after_finalize.connect(_require_of_all, weak=False, dispatch_uid="skyhooks.require")


def _require_of_all(sender: Celery, **_: object) -> None:
    for task in sender.tasks.values():
        _require_of(task)


def _on_setup(**_: object) -> None:
    """Look again when a worker has loaded everything: whoever asked for the tasks before that has finalized too early."""
    for app, installation in list(installations.items()):
        if installation.required:
            _require_of_all(app)


def _require_of(task: AnyTask) -> None:
    # A task with `autoretry_for` keeps what it runs there, and tries again what comes out of it: the store's errors, too.
    name = "_orig_run" if hasattr(task, "_orig_run") else "run"
    inner = getattr(task, name)
    if hasattr(inner, _MARK):
        return

    @wraps(inner)
    def run(*args: Any, **kwargs: Any) -> Any:
        result = inner(*args, **kwargs)
        if _is_required(task) and not task.request.called_directly:
            _tell_success(task, result, required=True)
        return result

    setattr(run, _MARK, True)
    setattr(task, name, run)


def _is_required(task: object) -> bool:
    installation = installation_of(task)
    return installation is not None and installation.required


def _on_success(sender: Any, result: object = None, **_: object) -> None:
    ran = getattr(sender, "_orig_run", getattr(sender, "run", None))
    if not (_is_required(sender) and hasattr(ran, _MARK)):
        _tell_success(sender, result)


def _tell_success(task: AnyTask, result: object, *, required: bool = False) -> None:
    installation = installation_of(task)
    if installation is not None:
        event = TaskEvent(task.name, str(task.request.id), SUCCESS, result=result)
        installation.tell(task, event, required=required)


def _on_failure(
    sender: Any,
    task_id: str,
    exception: BaseException | None = None,
    args: Sequence[object] | None = None,
    kwargs: Mapping[str, object] | None = None,
    einfo: ExceptionInfo | None = None,
    **_: object,
) -> None:
    installation = installation_of(sender)
    if installation is not None:
        event = TaskEvent(sender.name, str(task_id), FAILURE, exception=exception, traceback=_text(einfo))
        # Of a task that ran too long, or whose process died, the worker itself tells, which knows no more of it than this.
        with _request(sender, Context(id=task_id, args=args, kwargs=kwargs, called_directly=False)):
            installation.tell(sender, event)


def _on_publish(headers: Mapping[str, Any] | None = None, **_: object) -> None:
    """Tell of a retry before it is sent: its signal comes after that, when another process may have told the result."""
    task = running_task()
    if task is not None and headers is not None and headers.get("id") == task.request.id:
        installation = installation_of(task)
        if installation is not None and headers.get("retries") == task.request.retries + 1:
            installation.retried.add(task.request)
            _tell_retry(installation, task, task.request, sys.exc_info()[1], None)


def _on_retry(
    sender: Any, request: Context, reason: Retry | None = None, einfo: ExceptionInfo | None = None, **_: object
) -> None:
    installation = installation_of(sender)
    if installation is not None and request not in installation.retried:
        cause = getattr(reason, "exc", None)  # there is no reason where a worker lost its broker
        with _request(sender, request):
            _tell_retry(installation, sender, request, cause, _text(einfo))


def _tell_retry(
    installation: Installation, task: AnyTask, request: Context, cause: object, traceback: str | None
) -> None:
    exception = cause if isinstance(cause, BaseException) else None
    details = {"retries": request.retries + 1}
    installation.tell(task, TaskEvent(task.name, str(request.id), RETRY, None, exception, traceback, details))


def _on_revoked(sender: Any, request: Context, terminated: bool = False, expired: bool = False, **_: object) -> None:
    installation = installation_of(sender)
    if installation is not None:
        details = {"terminated": bool(terminated), "expired": bool(expired)}
        with _request(sender, request):
            installation.tell(sender, TaskEvent(sender.name, str(request.id), REVOKED, details=details))


def _on_shutdown(**_: object) -> None:
    for installation in list(installations.values()):
        installation.close()


@contextmanager
def _request(task: AnyTask, request: Context) -> Iterator[None]:
    """Let `task.request` be this one, for a function that asks for keys; in the worker's own process there is none."""
    if task.request.id == request.id:
        yield
        return
    task.request_stack.push(request)
    try:
        yield
    finally:
        task.request_stack.pop()


def _text(einfo: ExceptionInfo | None) -> str | None:
    return None if einfo is None else str(einfo.traceback)
