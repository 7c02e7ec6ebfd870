"""gevent: `Registry` and `Notifier` as plain cooperative values, and WSGI applications to be rung by and for browsers."""

from __future__ import annotations

try:
    import gevent  # noqa: F401  # are they there?
    import wsproto  # noqa: F401
except ImportError as error:
    raise ImportError(f'skyhooks.gevent needs {error.name}; install it with: pip install "skyhooks[gevent]"') from error

from .._blocking_verbs import Submission
from .._registration import Registration
from ._app import WebhookApp
from ._handler import StrictWSGIHandler
from ._notifier import Notifier
from ._reading import EventSource, LongPoll
from ._registry import Registry
from ._script import Script
from ._socket import WebSocket
from ._stream import Subscription

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
