"""Twisted: `Registry` and `Notifier` whose verbs return Deferreds, `WebhookResource` to mount, a service for `twistd`."""

from __future__ import annotations

try:
    import treq  # noqa: F401  # are they there?
    import twisted.internet.ssl  # noqa: F401
except ImportError as error:
    raise ImportError(
        'skyhooks.twisted needs Twisted and treq; install them with: pip install "skyhooks[twisted]"'
    ) from error

from ._registration import Registration
from ._twisted_events import EventSource
from ._twisted_notifier import Notifier, Submission
from ._twisted_poll import LongPoll
from ._twisted_registry import Registry
from ._twisted_resource import WebhookResource
from ._twisted_script import Script
from ._twisted_service import RegistryService
from ._twisted_site import harden
from ._twisted_socket import WebSocket
from ._twisted_stream import Subscription

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
