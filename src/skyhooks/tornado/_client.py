"""Posts by the `AsyncHTTPClient` that an application has configured."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.httputil import HTTPHeaders, HTTPInputError
from tornado.iostream import StreamClosedError, UnsatisfiableReadError
from tornado.simple_httpclient import HTTPStreamClosedError, HTTPTimeoutError, SimpleAsyncHTTPClient

from .._faults import fault_of, timed_out
from .._http import MAX_ANSWER_BYTES, MAX_HEAD_BYTES
from .._policy import CONNECT_SECONDS
from .._pool import Peer, peer
from .._resolver import lookup
from .._unpinned import check_all
from .._urls import Endpoint, UrlPolicy, literal_address, parse_url
from .._values import Answer, Fault, Post
from ..exceptions import UrlBlocked

MAX_SUSPECTS = 1000
MAX_LENGTH_DIGITS = 20


class TornadoClient:
    """Makes attempts with the user's settings for TLS, resolver and sockets; a new connection for each, as Tornado does.

    No redirects, no decompression, an answer of 64 KiB at most. Names are resolved and judged first, then resolved
    once more by Tornado: what it connects to is not pinned.

    Tornado makes `max_clients` requests at a time, 10 unless given otherwise, and all others wait: attempts wait here,
    within their time. While targets hang, each holds a place for its whole attempt; those that hung the last time get
    no more than half of the places, so that the others are served. Still, give the client a `max_clients` above the
    number of processes that may hang at once.
    """

    def __init__(self, client: AsyncHTTPClient, policy: UrlPolicy) -> None:
        self._client = check_client(client)
        self._policy = policy
        self._places = asyncio.Semaphore(self._client.max_clients)
        self._suspects_places = asyncio.Semaphore((self._client.max_clients + 1) // 2)
        self._suspects: set[Peer] = set()

    async def post(self, post: Post) -> Answer:
        """Make one attempt."""
        sent_to: Peer | None = None
        try:
            async with asyncio.timeout(post.timeout_seconds) as limit:
                endpoint = parse_url(post.url)
                if not post.own:
                    await self._check(endpoint.host)
                its_peer = peer(endpoint, own=post.own)
                async with self._place(its_peer):
                    sent_to = its_peer
                    answer = await self._fetch(post, endpoint, limit.when() or 0.0)
        except TimeoutError:
            answer = timed_out(post.timeout_seconds) if sent_to else self._never_sent(post)
        except (OSError, ValueError, UrlBlocked) as error:
            answer = fault_of(error)
        if sent_to:
            self._remember(sent_to, hung=answer.fault is Fault.TIMEOUT)
        return answer

    async def close(self) -> None:
        """Do nothing: the client is its owner's to close."""

    async def _check(self, host: str) -> None:
        literal = literal_address(host)
        if literal is not None:
            addresses = [literal]
        else:
            addresses = await asyncio.get_running_loop().run_in_executor(None, lookup, host)
        check_all(self._policy, host, addresses)

    # -- whose turn it is -------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _place(self, its_peer: Peer) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            if its_peer in self._suspects:
                await stack.enter_async_context(self._suspects_places)
            await stack.enter_async_context(self._places)
            yield

    def _remember(self, its_peer: Peer, *, hung: bool) -> None:
        if not hung:
            self._suspects.discard(its_peer)
            return
        if len(self._suspects) >= MAX_SUSPECTS:
            self._suspects.clear()
        self._suspects.add(its_peer)

    def _never_sent(self, post: Post) -> Answer:
        places = self._client.max_clients
        problem = f"not sent within {post.timeout_seconds:.3g} s: the client's max_clients={places} were busy; raise it"
        return Answer(fault=Fault.TIMEOUT, error=f"{Fault.TIMEOUT.value}: {problem}")

    # -- one request ------------------------------------------------------------------------------

    async def _fetch(self, post: Post, endpoint: Endpoint, deadline: float) -> Answer:
        reading = _Reading()
        seconds = max(deadline - asyncio.get_running_loop().time(), 0.001)  # 0 is for ever to Tornado
        request = HTTPRequest(
            f"{endpoint.scheme}://{endpoint.host_header}{endpoint.target}",
            "POST",
            _headers(post),
            post.body,
            # Tornado takes it for the time in its queue too, where the application's own requests may be.
            connect_timeout=seconds if self._is_full() else min(seconds, CONNECT_SECONDS),
            request_timeout=seconds,
            follow_redirects=False,
            decompress_response=False,
            header_callback=reading.take_line,
            streaming_callback=reading.take_body,
        )
        try:
            await self._client.fetch(request, raise_error=False)
        except HTTPTimeoutError as error:
            return Answer(fault=Fault.TIMEOUT, error=f"{Fault.TIMEOUT.value}: {error}")
        except (HTTPClientError, HTTPInputError, StreamClosedError, UnsatisfiableReadError) as error:
            return reading.answer() if reading.enough else reading.cut(error)
        except RuntimeError:  # its owner has closed it
            return Answer(fault=Fault.RESET, error="the AsyncHTTPClient has been closed")
        return reading.answer()

    def _is_full(self) -> bool:
        return len(self._client.active) >= self._client.max_clients


def check_client(client: object) -> SimpleAsyncHTTPClient:
    """Refuse what is no client of Tornado's own kind.

    Raises:
        TypeError: saying what to give.
    """
    if not isinstance(client, SimpleAsyncHTTPClient):
        # What curl reads cannot be stopped before its end, nor can curl be kept from the environment's proxies.
        raise TypeError(
            "client= takes a tornado.httpclient.AsyncHTTPClient of Tornado's own kind,"
            f" tornado.simple_httpclient.SimpleAsyncHTTPClient, not {type(client).__name__}"
        )
    return client


class _Reading:
    """What has arrived of an answer. Tornado closes a connection quietly whose callback raises `HTTPInputError`."""

    def __init__(self) -> None:
        self.enough = False
        self._too_long = False
        self._status = 0
        self._head_bytes = 0
        self._fields: dict[str, str] = {}
        self._body: list[bytes] = []
        self._room = MAX_ANSWER_BYTES

    def take_line(self, line: str) -> None:
        """Take the status line, a header, or the empty line behind them; those of a 100 come first."""
        self._head_bytes += len(line)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._too_long = True
            raise HTTPInputError("the head is too long")
        name, colon, value = line.rstrip("\r\n").partition(": ")
        if line.startswith("HTTP/"):
            self._status = int(line.split()[1])
            self._fields.clear()
        elif colon:
            self._fields[name.lower()] = value
        elif self._is_long(self._fields.get("content-length", "")):
            self._stop()  # where Tornado would: of a body that is declared too long it reads nothing

    def take_body(self, chunk: bytes) -> None:
        """Take a piece of the body; what is beyond 64 KiB costs the connection."""
        self._body.append(chunk[: self._room])
        self._room -= len(chunk)
        if self._room < 0:
            self._stop()

    def answer(self) -> Answer:
        """Return what was answered."""
        return Answer(
            status=self._status,
            body=b"".join(self._body),
            date=self._fields.get("date"),
            retry_after=self._fields.get("retry-after"),
        )

    def cut(self, error: Exception) -> Answer:
        """Return what an answer is worth that did not come to its end."""
        if self._too_long or isinstance(error, UnsatisfiableReadError):
            return Answer(fault=Fault.PROTOCOL, error=f"{Fault.PROTOCOL.value}: its head is too long")
        if isinstance(error, (HTTPStreamClosedError, StreamClosedError)):
            return Answer(fault=Fault.RESET, error=f"{Fault.RESET.value}: the connection ended before the answer")
        return Answer(fault=Fault.PROTOCOL, error=f"{Fault.PROTOCOL.value}: {type(error).__name__}")

    @staticmethod
    def _is_long(length: str) -> bool:
        return length.isdecimal() and (len(length) > MAX_LENGTH_DIGITS or int(length) > MAX_ANSWER_BYTES)

    def _stop(self) -> None:
        self.enough = True
        raise HTTPInputError("enough of the body")


def _headers(post: Post) -> HTTPHeaders:
    headers = HTTPHeaders()
    for name, value in post.headers:
        headers.add(name, value)
    return headers
