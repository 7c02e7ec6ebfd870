"""Tornado: `Registry` and `Notifier` as coroutines, `WebhookHandler` to mount in an application, bridges to browsers."""

from __future__ import annotations

try:
    import tornado.httpclient  # noqa: F401  # is it there?
except ImportError as error:
    raise ImportError('skyhooks.tornado needs Tornado; install it with: pip install "skyhooks[tornado]"') from error

from .._asyncio.notifier import Submission
from .._asyncio.stream import Subscription
from .._registration import Registration
from ._handler import WebhookHandler
from ._notifier import Notifier
from ._reading import EventSource, LongPoll
from ._registry import Registry
from ._script import Script
from ._socket import WebSocket

__all__ = [
    "EventSource",
    "LongPoll",
    "Notifier",
    "Registration",
    "Registry",
    "Script",
    "Submission",
    "Subscription",
    "WebSocket",
    "WebhookHandler",
]
