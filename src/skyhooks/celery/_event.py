"""What has become of a Celery task, and how it is told: the notification's id and data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SUCCESS, FAILURE, RETRY, REVOKED, PROGRESS = "SUCCESS", "FAILURE", "RETRY", "REVOKED", "PROGRESS"
MESSAGE_CHARACTERS = 2000
"""How much of an exception's message is told."""

_MAX_ID_BYTES = 256


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """One thing that happened to a task: what `encode` makes data of."""

    task: str
    """The task's name."""
    id: str
    state: str
    """`SUCCESS`, `FAILURE`, `RETRY`, `REVOKED` or `PROGRESS`."""
    result: Any = None
    """What the task returned; of `SUCCESS` alone."""
    exception: BaseException | None = None
    """Why it failed, or is tried again."""
    traceback: str | None = field(default=None, repr=False)
    """Where, as text; `encode` leaves it out."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What else is told: `retries`, or `terminated` and `expired`, or `done`, `total` and `info`."""

    @property
    def notification_id(self) -> str | None:
        """The same for each run of the same task that comes to the same end; None where one is to be drawn."""
        if self.state == PROGRESS:
            return None
        number = f":{self.details['retries']}" if self.state == RETRY else ""
        name = f"{self.id}:{self.state}{number}"
        raw = name.encode(errors="surrogatepass")
        return name if name.isprintable() and len(raw) <= _MAX_ID_BYTES else hashlib.sha256(raw).hexdigest()


def encode(event: TaskEvent) -> dict[str, Any]:
    """Make the data of a notification: `{"task": name, "id": …, "state": …}` and what belongs to the state.

    SUCCESS adds `result`; FAILURE `error`, `{"type": …, "message": …}`; RETRY `error`, None where no exception was being
    handled, and `retries`, which counts from 1; REVOKED `terminated` and `expired`; PROGRESS `done`, `total` and `info`.
    """
    data: dict[str, Any] = {"task": event.task, "id": event.id, "state": event.state}
    if event.state == SUCCESS:
        data["result"] = event.result
    if event.state in (FAILURE, RETRY):
        data["error"] = event.exception and _error(event.exception)
    return {**data, **event.details}


def omit(event: TaskEvent, problem: str) -> dict[str, Any]:
    """Make data that can travel of an event whose own data cannot: what happened, and why it is not all told."""
    return {"task": event.task, "id": event.id, "state": event.state, "omitted": problem[:MESSAGE_CHARACTERS]}


def _error(exception: BaseException) -> dict[str, str]:
    # Celery puts what does not pickle into a wrapper, which knows the name.
    name = getattr(exception, "exc_cls_name", None) or type(exception).__name__
    return {"type": name, "message": _message(exception).encode(errors="replace").decode()[:MESSAGE_CHARACTERS]}


def _message(exception: BaseException) -> str:
    try:
        return str(exception)
    except Exception as error:  # noqa: BLE001 - an application's exception may not know its own text
        return f"its message is not to be had: {type(error).__name__}"
