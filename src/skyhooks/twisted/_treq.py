"""Posts by the `treq.client.HTTPClient` that an application has configured."""

from __future__ import annotations

import errno
from typing import Any, Protocol, cast

from treq.client import HTTPClient
from twisted.internet import protocol
from twisted.internet.defer import Deferred, DeferredSemaphore, succeed
from twisted.python.failure import Failure
from twisted.web.client import RedirectAgent, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer
from zope.interface import implementer

from .._faults import fault_of, timed_out
from .._http import MAX_ANSWER_BYTES
from .._policy import MAX_CONNECTIONS
from .._unpinned import check_all
from .._urls import Endpoint, UrlPolicy, literal_address, parse_url
from .._values import Answer, Fault, Post
from ..exceptions import UrlBlocked
from ._deferred import Cancelled, inside, within
from ._errors import NotHttp, is_cancelled, os_error
from ._names import resolve
from ._reactor import Reactor


class Response(Protocol):
    """An `IResponse`."""

    code: int
    headers: Headers

    def deliverBody(self, protocol: object) -> None: ...


class TreqClient:
    """Makes attempts with the user's settings for TLS, resolver and pool of connections.

    What treq itself would add is left out: no redirects, no cookies sent or kept, no decompression, and of an answer
    64 KiB at most, within the attempt's whole time. Names are resolved and judged first, then resolved once more by the
    client's agent: what it connects to is not pinned. Of an answer's head, Twisted reads as much as comes in that time.
    """

    def __init__(
        self, reactor: Reactor, client: HTTPClient, policy: UrlPolicy, *, max_connections: int = MAX_CONNECTIONS
    ) -> None:
        self._reactor = reactor
        self._agent = agent_of(client)
        self._policy = policy
        self._places = DeferredSemaphore(max_connections)

    async def post(self, post: Post) -> Answer:
        """Make one attempt."""
        try:
            return await within(self._reactor, post.timeout_seconds, self._attempt(post))
        except TimeoutError as error:
            return fault_of(error) if error.args else timed_out(post.timeout_seconds)
        except NotHttp as error:
            return Answer(fault=Fault.PROTOCOL, error=f"{Fault.PROTOCOL.value}: {error}")
        except (OSError, ValueError, UrlBlocked) as error:
            return fault_of(error)

    async def close(self) -> None:
        """Do nothing: the client is its owner's to close."""

    async def _attempt(self, post: Post) -> Answer:
        endpoint = parse_url(post.url)
        if not post.own:
            await self._check(endpoint.host)
        await inside(self._places.acquire())
        try:
            return await self._exchange(post, endpoint)
        finally:
            self._places.release()

    async def _check(self, host: str) -> None:
        literal = literal_address(host)
        addresses = [literal] if literal is not None else await resolve(self._reactor, host)
        check_all(self._policy, host, addresses)

    async def _exchange(self, post: Post, endpoint: Endpoint) -> Answer:
        url = f"{endpoint.scheme}://{endpoint.host_header}{endpoint.target}"
        try:
            response: Response = await inside(
                self._agent.request(b"POST", url.encode(), _headers(post), _Body(post.body))
            )
            body = await inside(_read(response))
        except Exception as error:
            if is_cancelled(error):
                raise Cancelled from error
            raise os_error(error, endpoint.host) from error
        return Answer(
            status=response.code,
            body=body,
            date=_field(response, "date"),
            retry_after=_field(response, "retry-after"),
        )


def agent_of(client: object) -> Any:
    """Return the agent that does a client's work; treq (26.7) shows it to nobody, but wraps it anew for each request.

    Raises:
        TypeError: saying what to give.
    """
    agent = getattr(client, "_agent", None)
    if not isinstance(client, HTTPClient) or not IAgent.providedBy(agent):
        raise TypeError(
            "client= takes a treq.client.HTTPClient, as HTTPClient(twisted.web.client.Agent(reactor)) is one,"
            f" not {type(client).__name__}"
        )
    if isinstance(agent, RedirectAgent):
        raise TypeError("client= must not follow redirects: give HTTPClient the agent that its RedirectAgent wraps")
    return agent


class _Reader(protocol.Protocol):
    """Reads a body; what is beyond 64 KiB costs the connection."""

    def __init__(self) -> None:
        self.body: Deferred[bytes] = Deferred(lambda _: self._drop())
        self._pieces: list[bytes] = []
        self._room = MAX_ANSWER_BYTES

    def dataReceived(self, data: bytes) -> None:
        if self._room >= 0:
            self._pieces.append(data[: self._room])
            self._room -= len(data)
            if self._room < 0:
                self._drop()
                self._done()

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        if self.body.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self._done()
        else:
            self.body.errback(ConnectionResetError(errno.ECONNRESET, "the connection ended within the answer"))

    def _done(self) -> None:
        self.body.callback(b"".join(self._pieces))

    def _drop(self) -> None:
        # Twisted (26.10) lets who reads a body only ask for an end, which over TLS a peer may put off for ever.
        transport = cast("Any", self.transport)
        abort = getattr(getattr(transport, "_producer", None), "abortConnection", None)
        (abort or transport.loseConnection)()


@implementer(IBodyProducer)
class _Body:
    """A request's body, which is there."""

    def __init__(self, data: bytes) -> None:
        self.length = len(data)
        self._data = data

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Do nothing: all of it has been written."""

    resumeProducing = stopProducing = pauseProducing


def _read(response: Response) -> Deferred[bytes]:
    reader = _Reader()
    response.deliverBody(reader)
    return reader.body


def _headers(post: Post) -> Headers:
    headers = Headers()
    for name, value in post.headers:
        headers.addRawHeader(name, value)
    if post.fresh:
        headers.addRawHeader("connection", "close")
    return headers


def _field(response: Response, name: str) -> str | None:
    values = response.headers.getRawHeaders(name)
    return values[0] if values else None
