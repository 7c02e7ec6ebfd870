"""Tornado's registry: asyncio's, whose client may be Tornado's own."""

from __future__ import annotations

from .._asyncio import registry
from .._asyncio.runtime import Poster
from ._client import TornadoClient, check_client


class Registry(registry.Registry):
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
