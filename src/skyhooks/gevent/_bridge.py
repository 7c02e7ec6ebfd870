"""What gevent's bridges have in common: who may have which keys, and how a client is refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from .._bridge.feed import Feed, open_feed
from .._bridge.options import COMMENT_SECONDS, MAX_PENDING, Policy, bridge_options, cors_headers
from .._bridge.refusals import FORBIDDEN, NO_GET, PROBLEM, UNAUTHORIZED, Refused
from .._driver import run

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

    from ._registry import Registry

Keys = Mapping[str, object]
KeysOf = Callable[["WSGIEnvironment"], Keys]
"""Says which keys a request may have, given its environ; or refuses, by an error whose `code` is 401 or 403 (as those of
werkzeug, which Flask's `abort` raises, have it) or by `PermissionError`."""
Headers = Iterable[tuple[str, str]]


class Bridge:
    """A WSGI application that reads a registry for a browser."""

    def __init__(
        self,
        registry: Registry,
        *,
        keys: KeysOf,
        max_pending: int = MAX_PENDING,
        policy: Policy = "lossless",
        comment_seconds: float = COMMENT_SECONDS,
        origins: Collection[str] = (),
    ) -> None:
        self._registry = registry
        self._keys = keys
        self._options = bridge_options(
            max_pending=max_pending, policy=policy, comment_seconds=comment_seconds, origins=origins
        )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Judge the request, ask for its keys, answer."""
        answer = Answering(environ, start_response, cors_headers(environ.get("HTTP_ORIGIN"), self._options.origins))
        refused = self._judge(environ)
        if refused is not None:
            return answer.refuse(refused)
        try:
            keys = self._keys(environ)
        except PermissionError:
            return answer.refuse(FORBIDDEN)
        except Exception as error:
            if getattr(error, "code", None) not in (401, 403):
                raise
            return answer.refuse_as(error)
        return self._answer(answer, keys)

    def _judge(self, environ: WSGIEnvironment) -> Refused | None:
        return None if environ["REQUEST_METHOD"] == "GET" else NO_GET

    def _answer(self, answer: Answering, keys: Keys) -> Iterable[bytes]:
        raise NotImplementedError

    def _open_feed(self, keys: Keys, since: str | None) -> Feed | Refused:
        return run(open_feed(lambda: self._registry.feed(self._options), keys, since))


class Answering:
    """A request, and how it is answered; pages of other sites that were named may read every answer, refusals too."""

    def __init__(self, environ: WSGIEnvironment, start_response: StartResponse, cors: Headers) -> None:
        self.environ = environ
        self._start_response = start_response
        self._cors = [*cors]

    def query(self, name: str) -> str | None:
        """Return an argument of the query; the last one, where it is there twice."""
        values = parse_qs(self.environ.get("QUERY_STRING", ""), keep_blank_values=True).get(name)
        return values[-1] if values else None

    def start(self, status: int, headers: Headers) -> None:
        """Begin."""
        self._start_response(f"{status} {HTTPStatus(status).phrase}", [*headers, *self._cors])

    def whole(self, status: int, body: bytes, headers: Headers) -> list[bytes]:
        """Answer in one piece; HEAD has only the head of it."""
        length = [("content-length", str(len(body)))] if body else []
        self.start(status, [*headers, *length])
        return [body] if body and self.environ["REQUEST_METHOD"] != "HEAD" else []

    def refuse(self, refused: Refused) -> list[bytes]:
        """Say no."""
        return self.whole(refused.status, refused.body, [("content-type", PROBLEM), *refused.headers])

    def refuse_as(self, error: Exception) -> Iterable[bytes]:
        """Say no in an error's own words, where it has some: werkzeug's are WSGI applications."""
        if not callable(error):
            return self.refuse(UNAUTHORIZED if getattr(error, "code", 403) == 401 else FORBIDDEN)
        answer: Iterable[bytes] = error(self.environ, self._start_with_cors)
        return answer

    def _start_with_cors(self, status: str, headers: list[tuple[str, str]], *_: object) -> Callable[[bytes], object]:
        return self._start_response(status, [*headers, *self._cors])
