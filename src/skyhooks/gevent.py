"""gevent: `Registry` and `Notifier` as plain cooperative values, and WSGI applications to be rung by and for browsers."""

from __future__ import annotations

try:
    import gevent  # noqa: F401  # are they there?
    import wsproto  # noqa: F401
except ImportError as error:
    raise ImportError(f'skyhooks.gevent needs {error.name}; install it with: pip install "skyhooks[gevent]"') from error

from ._blocking_verbs import Submission
from ._gevent_app import WebhookApp
from ._gevent_handler import StrictWSGIHandler
from ._gevent_notifier import Notifier
from ._gevent_reading import EventSource, LongPoll
from ._gevent_registry import Registry
from ._gevent_script import Script
from ._gevent_socket import WebSocket
from ._gevent_stream import Subscription
from ._registration import Registration

__all__ = [
    "EventSource",
    "LongPoll",
    "Notifier",
    "Registration",
    "Registry",
    "Script",
    "StrictWSGIHandler",
    "Submission",
    "Subscription",
    "WebSocket",
    "WebhookApp",
]
