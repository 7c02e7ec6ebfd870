"""Tornado's notifier: asyncio's, whose client may be Tornado's own."""

from __future__ import annotations

from .._asyncio import notifier
from .._asyncio.runtime import Poster
from ._client import TornadoClient, check_client


class Notifier(notifier.Notifier):
    """Brings results to whoever waits for them, from Tornado code. `client` may be an `AsyncHTTPClient`, as the registry's."""

    def _check_client(self, client: object) -> None:
        if client is not None:
            check_client(client)

    def _make_client(self) -> Poster:
        if self._client is None:
            return super()._make_client()
        return TornadoClient(self._client, self._settings.url_policy)
