"""Twisted: `Registry` and `Notifier` whose verbs return Deferreds, `WebhookResource` to mount, a service for `twistd`."""

from __future__ import annotations

try:
    import treq  # noqa: F401  # are they there?
    import twisted.internet.ssl  # noqa: F401
except ImportError as error:
    raise ImportError(
        'skyhooks.twisted needs Twisted and treq; install them with: pip install "skyhooks[twisted]"'
    ) from error

from .._registration import Registration
from ._events import EventSource
from ._notifier import Notifier, Submission
from ._poll import LongPoll
from ._registry import Registry
from ._resource import WebhookResource
from ._script import Script
from ._service import RegistryService
from ._site import harden
from ._socket import WebSocket
from ._stream import Subscription

__all__ = [
    "EventSource",
    "LongPoll",
    "Notifier",
    "Registration",
    "Registry",
    "RegistryService",
    "Script",
    "Submission",
    "Subscription",
    "WebSocket",
    "WebhookResource",
    "harden",
]
