"""One HTTP/1.1 connection as a state machine, both ends: bytes in, events and bytes out; no I/O, no clock."""

from __future__ import annotations

from .._dates import http_date
from .client import MAX_ANSWER_BYTES, ClientConnection
from .head import TOO_LARGE, Headers, Refusal, judge_request
from .parser import MAX_HEAD_BYTES, MAX_HEADERS
from .requests import Continue, Event, Request
from .server import (
    BODY_SECONDS,
    CONTINUE,
    HEAD_SECONDS,
    LINGER_SECONDS,
    Response,
    ServerConnection,
)

__all__ = [
    "BODY_SECONDS",
    "CONTINUE",
    "HEAD_SECONDS",
    "LINGER_SECONDS",
    "MAX_ANSWER_BYTES",
    "MAX_HEADERS",
    "MAX_HEAD_BYTES",
    "TOO_LARGE",
    "ClientConnection",
    "Continue",
    "Event",
    "Headers",
    "Refusal",
    "Request",
    "Response",
    "ServerConnection",
    "http_date",
    "judge_request",
]
