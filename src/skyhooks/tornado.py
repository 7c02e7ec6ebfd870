"""Tornado: `Registry` and `Notifier` as coroutines, `WebhookHandler` to mount in an application, bridges to browsers."""

from __future__ import annotations

try:
    import tornado.httpclient  # noqa: F401  # is it there?
except ImportError as error:
    raise ImportError('skyhooks.tornado needs Tornado; install it with: pip install "skyhooks[tornado]"') from error

from . import _asyncio, _asyncio_notifier
from ._asyncio_notifier import Submission
from ._asyncio_runtime import Poster
from ._asyncio_stream import Subscription
from ._registration import Registration
from ._tornado_client import TornadoClient, check_client
from ._tornado_handler import WebhookHandler
from ._tornado_reading import EventSource, LongPoll
from ._tornado_script import Script
from ._tornado_socket import WebSocket

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


class Registry(_asyncio.Registry):
    """This process's callbacks, and its place among those who are rung.

    By default it opens its own listener, which works under pre-forking servers and behind load balancers. With `url=`
    mount `WebhookHandler` in your application instead, `(r"/webhook", WebhookHandler, {"registry": registry})`, and
    start the registry once the application listens. `client` may be a `tornado.httpclient.AsyncHTTPClient` of Tornado's
    own kind: `AsyncHTTPClient(force_instance=True, max_clients=100)`; the default client is faster, and connects to the
    very address that the URL policy has checked.
    """

    framework = "tornado"

    def _check_client(self, client: object) -> None:
        if client is not None:
            check_client(client)

    def _make_client(self) -> Poster:
        if self._client is None:
            return super()._make_client()
        return TornadoClient(self._client, self._settings.url_policy)


class Notifier(_asyncio_notifier.Notifier):
    """Brings results to whoever waits for them, from Tornado code. `client` may be an `AsyncHTTPClient`, as above."""

    def _check_client(self, client: object) -> None:
        if client is not None:
            check_client(client)

    def _make_client(self) -> Poster:
        if self._client is None:
            return super()._make_client()
        return TornadoClient(self._client, self._settings.url_policy)
