"""Posts by the `requests.Session` that a job has configured."""

from __future__ import annotations

import http.client
import os
import queue
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator

try:
    import requests
    import urllib3
    from requests.adapters import BaseAdapter, HTTPAdapter
except ImportError as error:
    raise ImportError('client= needs requests; install it with: pip install "skyhooks[requests]"') from error

from ._faults import fault_of, timed_out
from ._http import MAX_ANSWER_BYTES
from ._policy import CONNECT_SECONDS
from ._pool import Peer, peer
from ._resolver import lookup
from ._unpinned import check_all
from ._urls import Endpoint, UrlPolicy, parse_url
from ._values import Answer, Fault, Post
from .exceptions import UrlBlocked

MAX_HANGING = 3
"""How many threads a target may keep after their time: it can only be one that sends its answer byte by byte."""
READ_BYTES = 65_536


class RequestsClient:
    """Makes attempts with the session's headers, auth, proxies, adapters and TLS settings, in sockets of its own.

    No redirects, no cookies kept, no hooks, no decompression, an answer of 64 KiB at most; proxies, netrc and CA bundles
    come from the session, never from the environment. Names are resolved and judged first, then resolved once more by
    urllib3: what it connects to is not pinned.

    requests cannot be interrupted. So each attempt has a thread, and gets its verdict when its time is over, even if
    the thread cannot end yet. Thread-safe as far as the session is: configure it before. A forked child begins anew.
    """

    def __init__(self, session: requests.Session, policy: UrlPolicy) -> None:
        check_session(session)
        self._session = session
        self._policy = policy
        self._closed = False
        self._begin()
        _clients.add(self)

    def post(self, post: Post) -> Answer:
        """Make one attempt, and block."""
        if self._closed:
            return Answer(fault=Fault.RESET, error="this client has been closed")
        try:
            endpoint = parse_url(post.url)
        except ValueError as error:
            return fault_of(error)
        its_peer = peer(endpoint, own=post.own)
        if self._hanging[its_peer] >= MAX_HANGING:
            problem = "earlier attempts still hang in the middle of an answer"
            return Answer(fault=Fault.TIMEOUT, error=f"{Fault.TIMEOUT.value}: {problem}")
        return self._in_thread(post, endpoint, its_peer)

    def close(self) -> None:
        """Close the sockets that were kept; the session is its owner's to close. Twice is fine."""
        self._closed = True
        with self._lock:
            twins = list(self._twins.values())
            self._twins.clear()
        for twin in twins:
            twin.close()

    # -- one attempt ------------------------------------------------------------------------------

    def _in_thread(self, post: Post, endpoint: Endpoint, its_peer: Peer) -> Answer:
        deadline = time.monotonic() + post.timeout_seconds
        attempt = _Attempt()

        def work() -> None:
            answer = self._attempt(post, endpoint, deadline)
            with self._lock:
                attempt.ended = True
                self._count_hanging(its_peer, -attempt.abandoned)
            attempt.answers.put(answer)

        try:
            threading.Thread(target=work, name="skyhooks-requests", daemon=True).start()
        except RuntimeError as error:  # the system has no thread left, or Python is shutting down
            return Answer(fault=Fault.REFUSED, error=str(error))
        try:
            return attempt.answers.get(timeout=post.timeout_seconds)
        except queue.Empty:
            return timed_out(post.timeout_seconds)
        finally:
            with self._lock:
                attempt.abandoned = not attempt.ended
                self._count_hanging(its_peer, attempt.abandoned)

    def _count_hanging(self, its_peer: Peer, change: int) -> None:
        self._hanging[its_peer] += change
        if not self._hanging[its_peer]:
            del self._hanging[its_peer]

    def _attempt(self, post: Post, endpoint: Endpoint, deadline: float) -> Answer:
        try:
            if not post.own:
                check_all(self._policy, endpoint.host, lookup(endpoint.host))
            return self._exchange(post, endpoint, deadline)
        except Exception as error:  # noqa: BLE001  # nobody above this thread could tell; adapters raise what they like
            return _fault(error)

    def _exchange(self, post: Post, endpoint: Endpoint, deadline: float) -> Answer:
        session = self._session
        prepared = self._prepare(post, endpoint)
        adapter = self._adapter(f"{endpoint.scheme}://{endpoint.host_header}/", fresh=post.fresh)
        left = max(deadline - time.monotonic(), 0.001)
        try:
            # Not through the session: it reads the whole body of a redirect, also of one that it does not follow.
            response = adapter.send(
                prepared,
                stream=True,
                timeout=(min(left, CONNECT_SECONDS), left),
                verify=session.verify,
                cert=session.cert,
                proxies=session.proxies,
            )
            with response:
                return _read(response, deadline) or timed_out(post.timeout_seconds)
        finally:
            if post.fresh and isinstance(adapter, HTTPAdapter):
                adapter.close()

    def _prepare(self, post: Post, endpoint: Endpoint) -> requests.PreparedRequest:
        headers = {**dict(post.headers), "accept-encoding": "identity"}
        if post.fresh:
            headers["connection"] = "close"
        request = requests.Request(
            "POST",
            f"{endpoint.scheme}://{endpoint.host_header}{endpoint.target}",
            headers=headers,
            data=post.body,
            auth=self._session.auth or _no_auth,
        )
        return self._session.prepare_request(request)

    # -- sockets of its own -----------------------------------------------------------------------

    def _adapter(self, url: str, *, fresh: bool) -> BaseAdapter:
        """Return what sends to a URL: a twin of the session's adapter, whose sockets no other process has."""
        theirs = self._session.get_adapter(url)
        if not isinstance(theirs, HTTPAdapter):
            return theirs
        if fresh:
            return _twin(theirs)
        with self._lock:
            if theirs not in self._twins:
                self._twins[theirs] = _twin(theirs)
            return self._twins[theirs]

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._hanging: Counter[Peer] = Counter()
        self._twins: dict[HTTPAdapter, HTTPAdapter] = {}

    def begin_anew(self) -> None:
        """In a forked child: leave alone what the parent uses. Even to drop it would take locks of its threads."""
        _inherited.append(self._twins)
        self._begin()


def check_session(client: object) -> None:
    """Refuse what is no session.

    Raises:
        TypeError: saying what to give.
    """
    if not isinstance(client, requests.Session):
        raise TypeError(f"client= takes a requests.Session here, not {type(client).__name__}")


class _Attempt:
    """An attempt in a thread of its own, and whether anybody still waits for it."""

    def __init__(self) -> None:
        self.answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self.ended = False
        self.abandoned = False


def _twin(adapter: HTTPAdapter) -> HTTPAdapter:
    """Copy an adapter with all that a subclass may have added, but its pools: as requests does after unpickling."""
    twin: HTTPAdapter = object.__new__(type(adapter))
    twin.__dict__.update(adapter.__dict__)
    twin.proxy_manager = {}
    twin.init_poolmanager(adapter._pool_connections, adapter._pool_maxsize, block=adapter._pool_block)
    return twin


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request  # given so that requests does not look for a netrc file


def _read(response: requests.Response, deadline: float) -> Answer | None:
    """Read an answer up to 64 KiB, as it comes; None when the time was over first."""
    body = bytearray()
    while len(body) <= MAX_ANSWER_BYTES:
        chunk = response.raw.read1(READ_BYTES, decode_content=False)
        if not chunk:
            break
        body += chunk
        if time.monotonic() > deadline:
            return None
    headers = response.headers
    return Answer(
        status=response.status_code,
        body=bytes(body[:MAX_ANSWER_BYTES]),
        date=headers.get("date"),
        retry_after=headers.get("retry-after"),
    )


def _fault(error: Exception) -> Answer:
    """Tell what went wrong below requests: it wraps what urllib3 wraps."""
    if isinstance(error, UrlBlocked):
        return fault_of(error)
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException):
            return fault_of(cause)
    if any(isinstance(cause, urllib3.exceptions.TimeoutError) for cause in causes):
        return Answer(fault=Fault.TIMEOUT, error=f"{Fault.TIMEOUT.value}: {type(error).__name__}")
    if any(isinstance(cause, http.client.IncompleteRead) for cause in causes):
        return Answer(fault=Fault.RESET, error=f"{Fault.RESET.value}: the connection ended within the answer")
    return Answer(fault=Fault.PROTOCOL, error=f"{Fault.PROTOCOL.value}: {type(causes[-1]).__name__}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those it was made of, the outermost first."""
    seen: set[int] = set()
    errors = [error]
    while errors:
        one = errors.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inside = (*one.args, getattr(one, "reason", None), one.__cause__, one.__context__)
        errors += [each for each in inside if isinstance(each, BaseException)]


_clients: weakref.WeakSet[RequestsClient] = weakref.WeakSet()
_inherited: list[dict[HTTPAdapter, HTTPAdapter]] = []


def _after_fork() -> None:
    for client in list(_clients):
        client.begin_anew()


os.register_at_fork(after_in_child=_after_fork)
