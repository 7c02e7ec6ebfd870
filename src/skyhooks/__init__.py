"""Brings the result of a background job to every browser that waits for it, with the database you already run."""

from __future__ import annotations

from ._notification import Gap, Notification
from ._registration import Registration
from ._urls import UrlPolicy
from ._values import Delivery, Instance, Outcome, Position, Receipt
from .blocking import Notifier, Submission
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
