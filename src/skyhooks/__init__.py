"""Brings the result of a background job to every browser that waits for it, with the database you already run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._notification import Gap, Notification
from ._registration import Registration
from ._urls import UrlPolicy
from ._values import Delivery, Instance, Outcome, Position, Receipt
from .exceptions import (
    BodyRejected,
    ForkedRegistry,
    InvalidCursor,
    InvalidData,
    InvalidKey,
    NotStarted,
    QueueFull,
    SkyhooksError,
    StoreCorrupt,
    StoreUnavailable,
    UnknownStore,
    UnverifiedEntry,
    UrlBlocked,
    UrlShared,
    UrlUnreachable,
)

if TYPE_CHECKING:
    from .blocking import Notifier, Submission

__all__ = [
    "BodyRejected",
    "Delivery",
    "ForkedRegistry",
    "Gap",
    "Instance",
    "InvalidCursor",
    "InvalidData",
    "InvalidKey",
    "NotStarted",
    "Notification",
    "Notifier",
    "Outcome",
    "Position",
    "QueueFull",
    "Receipt",
    "Registration",
    "SkyhooksError",
    "StoreCorrupt",
    "StoreUnavailable",
    "Submission",
    "UnknownStore",
    "UnverifiedEntry",
    "UrlBlocked",
    "UrlPolicy",
    "UrlShared",
    "UrlUnreachable",
]


def __getattr__(name: str) -> object:
    """Import the blocking notifier when it is asked for: a web process has one of its framework's."""
    if name not in ("Notifier", "Submission"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import blocking

    globals().update(Notifier=blocking.Notifier, Submission=blocking.Submission)
    return globals()[name]
