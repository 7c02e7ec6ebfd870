"""gevent: `Registry` and `Notifier` as plain cooperative values, and `WebhookApp` to mount in a WSGI application."""

from __future__ import annotations

try:
    import gevent  # noqa: F401  # is it there?
except ImportError as error:
    raise ImportError('skyhooks.gevent needs gevent; install it with: pip install "skyhooks[gevent]"') from error

from ._gevent_app import WebhookApp
from ._gevent_handler import StrictWSGIHandler
from ._gevent_notifier import Notifier, Submission
from ._gevent_registry import Registry
from ._gevent_stream import Subscription
from ._registration import Registration

__all__ = ["Notifier", "Registration", "Registry", "StrictWSGIHandler", "Submission", "Subscription", "WebhookApp"]
