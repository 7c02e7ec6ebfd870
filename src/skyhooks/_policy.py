"""What the job makes of an answer, and how long anything may take or wait."""

from __future__ import annotations

import enum
import re

import msgspec

from ._dates import parse_http_date
from ._urls import Endpoint, UrlPolicy, parse_url, shown_url
from ._values import Answer, Fault
from ._wire import Taken, parse_answer, parse_problem

__all__ = [
    "ATTEMPTS",
    "ATTEMPT_SECONDS",
    "BACKOFF_BASE_SECONDS",
    "BACKOFF_CAP_SECONDS",
    "CONNECT_SECONDS",
    "HEARTBEAT_JITTER",
    "HEARTBEAT_SECONDS",
    "LEASE_SECONDS",
    "MAX_CONNECTIONS",
    "NOTIFY_SECONDS",
    "Endpoint",
    "Kind",
    "UrlPolicy",
    "Verdict",
    "backoff_seconds",
    "heartbeat_delay",
    "judge",
    "parse_url",
    "shown_url",
]

CONNECT_SECONDS = 1.0
ATTEMPT_SECONDS = 3.0
"""For all of an attempt: name, connection, TLS, request, answer."""
ATTEMPTS = 3
NOTIFY_SECONDS = 10.0
"""For a notification, from the call of `notify`."""
BACKOFF_BASE_SECONDS = 0.1
BACKOFF_CAP_SECONDS = 2.0
MAX_CONNECTIONS = 32
HEARTBEAT_SECONDS = 10.0
HEARTBEAT_JITTER = 0.1
LEASE_SECONDS = 30.0
SIGNATURE_RETRY_SECONDS = 1.0
"""After 401 and 403: the next second has another timestamp, and perhaps another key."""
SIGNATURE_ATTEMPTS = 2
CLOCKS_AGREE_SECONDS = 5.0

_TRANSIENT = frozenset((404, 408, 425, 429))


class Kind(enum.Enum):
    """What to do after an attempt."""

    TAKEN = "taken"
    """The instance took it over."""
    GONE = "gone"
    """That incarnation is dead: remove its hooks."""
    REFUSED = "refused"
    """A fault of configuration: another attempt would be refused as well."""
    RETRY = "retry"
    SPLIT = "split"
    """Too large together: send the notifications in smaller trips."""
    BLOCKED = "blocked"
    """Nothing was sent, nor may be."""
    GIVE_UP = "give up"
    """Not acknowledged: what is in the log is fetched, the rest is lost."""


class Verdict(msgspec.Struct, frozen=True):
    """What one attempt has come to."""

    kind: Kind
    taken: Taken | None = None
    """For TAKEN: what the answer says; None where it is some other 2xx."""
    delay_seconds: float | None = None
    """For RETRY: wait that long, which the caller bounds; None: `backoff_seconds`."""
    error: str | None = None
    """For people; holds nothing of the request or of the answer's body but its problem code."""


def judge(answer: Answer, *, attempt: int, count: int, instance_id: str, now: float) -> Verdict:
    """Judge the answer to a delivery of `count` notifications; `attempt` counts from 1, `now` is Unix time.

    The rules are the table of RELIABILITY section 1, and PROTOCOL 19 and 20.
    """
    status = answer.status
    if status is None:
        return _judge_fault(answer, attempt)
    if 200 <= status < 300:
        return Verdict(Kind.TAKEN, taken=parse_answer(answer.body, count))
    if status in _TRANSIENT or 500 <= status < 600:
        return _again(attempt, ATTEMPTS, Kind.GIVE_UP, _said(answer), _retry_after(answer.retry_after, now))
    if status in (401, 403):
        error = f"{_said(answer)}: give both sides the same secret; {_clocks(answer.date, now)}"
        return _again(attempt, SIGNATURE_ATTEMPTS, Kind.REFUSED, error, SIGNATURE_RETRY_SECONDS)
    if status == 421:
        error = f"{_said(answer)}: the URL is shared with another instance; give each process its own"
        return _again(attempt, ATTEMPTS, Kind.REFUSED, error, None)
    if status == 413 and count > 1:
        return Verdict(Kind.SPLIT, error=_said(answer))
    if status == 410 and parse_problem(answer.body) == ("gone", instance_id):
        return Verdict(Kind.GONE, error=_said(answer))
    if 300 <= status < 400:
        return Verdict(Kind.REFUSED, error=f"{_said(answer)}: redirects are not followed; advertise the final URL")
    return Verdict(Kind.REFUSED, error=_said(answer))


def backoff_seconds(attempt: int, random: float) -> float:
    """Return how long to wait after this attempt, counted from 1: full jitter, `random` from 0 up to 1."""
    doublings = min(attempt - 1, 10)  # far past the cap, and short of what a float can hold
    return random * min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2.0**doublings)


def heartbeat_delay(interval_seconds: float, random: float) -> float:
    """Return the time to the next heartbeat: the interval, 10 % more or less."""
    return interval_seconds * (1.0 + HEARTBEAT_JITTER * (2.0 * random - 1.0))


def _judge_fault(answer: Answer, attempt: int) -> Verdict:
    fault = answer.fault or Fault.RESET
    error = answer.error or fault.value
    if fault is Fault.BLOCKED:
        return Verdict(Kind.BLOCKED, error=error)
    if fault is Fault.TLS:
        return Verdict(Kind.REFUSED, error=error)
    return _again(attempt, ATTEMPTS, Kind.GIVE_UP, error, None)


def _again(attempt: int, attempts: int, otherwise: Kind, error: str, delay_seconds: float | None) -> Verdict:
    if attempt < attempts:
        return Verdict(Kind.RETRY, delay_seconds=delay_seconds, error=error)
    return Verdict(otherwise, error=error)


def _said(answer: Answer) -> str:
    problem = parse_problem(answer.body)
    if problem is None or not re.fullmatch(r"[a-z_]{1,40}", problem[0]):
        return f"answered {answer.status}"
    return f"answered {answer.status} ({problem[0]})"


def _clocks(date: str | None, now: float) -> str:
    theirs = parse_http_date(date or "")
    if theirs is None:
        return "the answer does not say what time it is there"
    ahead = now - theirs
    if abs(ahead) < CLOCKS_AGREE_SECONDS:
        return "the clocks agree"
    return f"the clock here is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the one there"


def _retry_after(text: str | None, now: float) -> float | None:
    if text is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    at = parse_http_date(text)
    return None if at is None else max(0.0, at - now)
