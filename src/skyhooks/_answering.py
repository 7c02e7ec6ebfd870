"""What an own listener does with its connections and with what they bring: the same in every world, without I/O."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from ._http import CONTINUE, Event, Headers, Refusal, Request, Response, ServerConnection, http_date
from ._identity import RETRY_AFTER_SECONDS
from ._wire import problem
from .exceptions import ForkedRegistry, NotStarted

log = logging.getLogger("skyhooks")

H = TypeVar("H")

BACKLOG = 1024
MAX_CONNECTIONS = 1000
"""Below the 1024 descriptors that a process may have open by default; beyond, the longest idle one makes room."""
SWEEP_SECONDS = 1.0
CLOSE_SECONDS = 1.0
"""How long `close` lets answers flow that are already written."""

PROBLEM = "application/problem+json"

Receive = Callable[[list[tuple[str, str]], bytes], Response]


class Answering:
    """Hands POSTs to `receive` and makes bytes of what it returns; `dispatch` is due when they are on their way.

    Neither must wait. `receive` gets header names in lower case.
    """

    def __init__(self, receive: Receive, dispatch: Callable[[], None], *, max_body_bytes: int) -> None:
        self._receive = receive
        self._dispatch = dispatch
        self._max_body_bytes = max_body_bytes
        self._date: Headers = ()

    def connection(self, now: float) -> ServerConnection:
        """Make the state of a connection that was accepted at this monotonic time."""
        return ServerConnection(max_body_bytes=self._max_body_bytes, now=now)

    def tick(self, unix_time: float) -> None:
        """Take note of the time, about once a second, for the date that answers carry."""
        self._date = (("date", http_date(unix_time)),)

    def answer(self, http: ServerConnection, event: Event) -> tuple[bytes, bool]:
        """Return what to send on an event, and whether to close then: whoever was refused has to begin anew."""
        if isinstance(event, Request):
            response = self._respond(event)
            refused = response.status != 200
            data = http.respond(
                response.status,
                response.body,
                content_type=response.content_type,
                headers=response.headers + self._date,
                close=refused or not event.keep_alive,
            )
            return data, refused
        if isinstance(event, Refusal):
            return http.refuse(event, problem(event.status, event.code), headers=self._date), False
        return CONTINUE, False

    def dispatch(self) -> None:
        """Start the calls that are due; call it when an answer has been handed to the socket."""
        start_calls(self._dispatch)

    def _respond(self, request: Request) -> Response:
        return respond(self._receive, request.headers, request.body)


def respond(receive: Callable[[H, bytes], Response], headers: H, body: bytes) -> Response:
    """Answer a POST, whatever happens: one that comes to a mounted handler before the start or after the stop, too."""
    try:
        return receive(headers, body)
    except (NotStarted, ForkedRegistry):
        return Response(503, problem(503, "draining"), PROBLEM, (("retry-after", str(RETRY_AFTER_SECONDS)),))
    except Exception as error:  # noqa: BLE001  # whatever it is, the sender must be answered
        _log("receiving a request", error)
        return Response(500, problem(500, "internal"), PROBLEM)


def start_calls(dispatch: Callable[[], None]) -> None:
    """Start the calls that are due; what goes wrong with that has nothing to do with the connection."""
    try:
        dispatch()
    except Exception as error:  # noqa: BLE001  # the connection has nothing to do with it
        _log("dispatching callbacks", error)


def refused(refusal: Refusal) -> Response:
    """Return the answer to what a handler has refused."""
    return Response(refusal.status, problem(refusal.status, refusal.code), PROBLEM, refusal.headers)


class Inbound(Protocol):
    """An accepted connection, as far as it has to be kept in bounds."""

    http: ServerConnection

    def abort(self) -> object:
        """Close it at once."""


C = TypeVar("C", bound=Inbound)


class Accepted(Generic[C]):
    """The connections of a listener: so many at most, none beyond its time."""

    def __init__(self, max_connections: int) -> None:
        self._max_connections = max_connections
        self._connections: set[C] = set()

    def __iter__(self) -> Iterator[C]:
        return iter(tuple(self._connections))

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, connection: C) -> None:
        """Take note of a connection; where there are too many, the one that has been idle longest has to go."""
        self._connections.add(connection)
        if len(self._connections) > self._max_connections:
            idle = [one for one in self._connections if one.http.idle and one is not connection]
            min(idle, key=lambda one: one.http.deadline, default=connection).abort()

    def discard(self, connection: C) -> None:
        """Forget a connection."""
        self._connections.discard(connection)

    def sweep(self, now: float) -> None:
        """Close what is overdue, about once a second, and free what idle connections can do without."""
        for connection in self:
            if connection.http.expired(now):
                connection.abort()
            else:
                connection.http.rest()


def _log(what: str, error: Exception) -> None:
    # Where it happened, but not what it said: messages of errors quote what they stumbled over.
    where = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s failed: %s\n%s", what, type(error).__name__, where)
