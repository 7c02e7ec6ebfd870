"""What a client is answered that gets no stream: problems (RFC 9457) of fixed texts."""

from __future__ import annotations

import msgspec

from .._wire import encode_problem
from ..exceptions import InvalidCursor, InvalidKey, NotStarted, StoreCorrupt, StoreUnavailable

PROBLEM = "application/problem+json"
PROBLEMS = {
    "cursor": ("Bad Request", "That is no cursor of skyhooks; begin without one."),
    "timeout": ("Bad Request", "The timeout is a number of seconds."),
    "unauthorized": ("Unauthorized", "Say first who you are."),
    "forbidden": ("Forbidden", "These notifications are not for you."),
    "origin": ("Forbidden", "Pages of that site may not connect."),
    "method": ("Method Not Allowed", "Notifications are read by GET."),
    "upgrade": ("Upgrade Required", "This is a WebSocket."),
    "keys": ("Internal Server Error", "The application failed to say which keys to serve; its log says why."),
    "unavailable": ("Service Unavailable", "The store is away, or this process stops; try again."),
}
"""Title and detail by code: fixed texts, so that nothing of a request is ever echoed."""


class Refused(msgspec.Struct, frozen=True):
    """What a client is answered that gets no stream."""

    status: int
    code: str
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def body(self) -> bytes:
        """The problem as JSON (RFC 9457), of the type `PROBLEM`."""
        title, detail = PROBLEMS[self.code]
        return encode_problem(self.status, self.code, title, detail)


NO_GET = Refused(405, "method", (("allow", "GET"),))
NO_UPGRADE = Refused(426, "upgrade", (("connection", "upgrade"), ("upgrade", "websocket")))
FOREIGN = Refused(403, "origin")
UNAUTHORIZED = Refused(401, "unauthorized")
FORBIDDEN = Refused(403, "forbidden")

Trouble = (InvalidCursor, InvalidKey, StoreUnavailable, StoreCorrupt, NotStarted, PermissionError)
"""What may go wrong before a stream begins, and has an answer."""


def refusal_of(error: BaseException) -> Refused:
    """Return the answer to what went wrong before a stream began; one of `Trouble`."""
    if isinstance(error, InvalidCursor):
        return Refused(400, "cursor")
    if isinstance(error, PermissionError):
        return FORBIDDEN
    if isinstance(error, InvalidKey):
        return Refused(500, "keys")  # the application's mistake, not the browser's
    return Refused(503, "unavailable", (("retry-after", "1"),))
