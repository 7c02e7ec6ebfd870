"""What one Celery application was told to tell, and to whom: from what happened to a task to a notification."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Mapping
from inspect import getattr_static
from typing import Any, TypeAlias

from celery import Celery, Task
from celery.app.task import Context
from celery.exceptions import SoftTimeLimitExceeded

from .._json import encode_data
from .._keys import canonical_keys
from ..exceptions import InvalidData, InvalidKey, SkyhooksError
from ._courier import STORE, Courier, Couriers, Given
from ._event import PROGRESS, TaskEvent, omit

AnyTask: TypeAlias = "Task[Any, Any]"  # text, because in Celery 5.5 it cannot be subscripted
TaskKeys = Mapping[str, object] | Callable[[AnyTask], Mapping[str, object] | None] | None
"""Who is told of a task: a mapping of keys, a function of the task that returns one, or None for nobody."""

ATTRIBUTE = "skyhooks"
"""What a task of its own mind is given: `@app.task(skyhooks=…)`."""
_CELERYS_OWN = "celery.app.builtins"
_NOTHING = object()


class Installation:
    """What `install` returns: says what this process has told.

    `counts`: `sent`, which are in the log; `failed`, not told; `omitted`, told without the data, which could not travel.
    """

    def __init__(
        self,
        app: Celery,
        notifier: Given,
        *,
        keys: TaskKeys,
        encode: Callable[[TaskEvent], object],
        required: bool,
        progress_seconds: float,
    ) -> None:
        _check_keys(keys)
        if not progress_seconds >= 0:
            raise ValueError(f"progress_seconds must be 0 or more, not {progress_seconds!r}")
        self.required = required
        self.retried: weakref.WeakSet[Context] = weakref.WeakSet()
        """The runs that have told of their retry."""
        self._app = weakref.ref(app)
        self._couriers = Couriers(notifier)
        self._keys = keys
        self._encode = encode
        self._progress_seconds = progress_seconds
        self._told_at: weakref.WeakKeyDictionary[Context, float] = weakref.WeakKeyDictionary()

    @property
    def counts(self) -> Mapping[str, int]:
        """What this process has told, and what it could not."""
        courier = self._couriers.peek()
        return dict(courier.counts) if courier is not None else {}

    def close(self) -> None:
        """Flush and close this process's notifier; it is made anew where it is needed again."""
        self._couriers.close()

    def tell(self, task: AnyTask, event: TaskEvent, *, required: bool = False) -> None:
        """Tell whoever waits for this task.

        Within a task it returns when the notification is in the log and those who wait were rung; in the worker's own loop,
        which nothing may hold up, it returns at once.

        Raises:
            Exception: whatever went wrong, but only where it is `required`.
        """
        courier = self._couriers.get()
        try:
            self._tell(courier, task, event)
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:
            trouble = STORE if isinstance(error, SkyhooksError) and not isinstance(error, InvalidKey) else event.task
            courier.take_trouble(
                "failed", trouble, f"{event.state} of {event.task}[{event.id}] could not be told", error
            )
            if required:
                raise

    def tell_progress(self, task: AnyTask, event: TaskEvent, *, last: bool) -> None:
        """Tell how far it is, unless that was told just before; the last of it always."""
        now = time.monotonic()
        told_at = self._told_at.get(task.request, -math.inf)
        if last or now - told_at >= self._progress_seconds:
            self._told_at[task.request] = now
            self.tell(task, event)

    def _tell(self, courier: Courier, task: AnyTask, event: TaskEvent) -> None:
        keys = self._keys_of(task)
        if keys is None:
            return
        data, error = self._encoded(event)
        if error is not None:
            what = f"{event.state} of {event.task}[{event.id}] is told without its data"
            courier.take_trouble("omitted", event.task, what, error)
        wait = event.state != PROGRESS and self._within_task()
        courier.send(keys, data, id=event.notification_id, wait=wait)
        if error is None:
            courier.end_trouble(event.task)

    def _keys_of(self, task: AnyTask) -> Mapping[str, object] | None:
        given = getattr_static(task, ATTRIBUTE, _NOTHING)
        if given is _NOTHING:
            given = None if type(task).__module__ == _CELERYS_OWN else self._keys
        found: Mapping[str, object] | None = given(task) if callable(given) else given
        return found

    def _encoded(self, event: TaskEvent) -> tuple[object, Exception | None]:
        """Return the data of an event, and what was wrong with it where it is told without."""
        try:
            data = self._encode(event)
            encode_data(data)  # refuses here, where there is something to send instead
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:  # noqa: BLE001 - the application's own function may raise anything
            return omit(event, str(error) if isinstance(error, InvalidData) else type(error).__name__), error
        return data, None

    def _within_task(self) -> bool:
        app = self._app()
        return app is not None and app.current_worker_task is not None


def _check_keys(keys: TaskKeys) -> None:
    if isinstance(keys, Mapping):
        canonical_keys(keys)
    elif keys is not None and not callable(keys):
        raise TypeError(f"keys= takes a function of the task, a mapping or None, not {type(keys).__name__}")
