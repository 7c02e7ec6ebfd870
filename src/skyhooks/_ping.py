"""Proves that a URL reaches this very instance, before anybody is told of it (PROTOCOL 25)."""

from __future__ import annotations

from ._identity import Identity
from ._signing import Key
from ._values import Answer, Fault, Post
from ._wire import (
    AUDIENCE,
    WEBHOOK_ID,
    WEBHOOK_SIGNATURE,
    WEBHOOK_TIMESTAMP,
    encode_ping,
    parse_pong,
    parse_problem,
)
from .abc import Runtime
from .exceptions import UrlShared, UrlUnreachable

TLS_ADVICE = (
    "jobs would not trust it either: certfile= takes the certificate with its whole chain, and cafile=, here and in jobs, who"
    " has signed it, where that is nobody whom the system knows"
)
PINGS = 8
"""On fresh connections, so that a twin behind the same address is missed with a chance of 2**-8."""
PING_SECONDS = 3.0


async def prove_url(runtime: Runtime, url: str, identity: Identity) -> None:
    """Ping the URL over fresh connections; each must be answered by this instance, with its own nonce.

    Raises:
        UrlUnreachable: no answer, or one that is not ours.
        UrlShared: another instance answered.
    """
    sender = runtime.token()
    for number in range(PINGS):
        nonce = runtime.token()
        answer = await runtime.post(_ping(runtime, url, identity, f"{sender}-{number}", nonce))
        _judge(url, identity, nonce, answer)


def signed_post(
    key: Key,
    url: str,
    instance_id: str,
    webhook_id: str,
    body: bytes,
    *,
    timestamp: int,
    timeout_seconds: float,
    fresh: bool = False,
    own: bool = False,
) -> Post:
    """Sign a body for an instance: Standard Webhooks headers, and its audience beside them."""
    headers = (
        ("content-type", "application/json"),
        (AUDIENCE, instance_id),
        (WEBHOOK_ID, webhook_id),
        (WEBHOOK_TIMESTAMP, str(timestamp)),
        (WEBHOOK_SIGNATURE, key.sign(webhook_id, timestamp, body)),
    )
    return Post(url, headers, body, timeout_seconds, fresh=fresh, own=own)


def _ping(runtime: Runtime, url: str, identity: Identity, webhook_id: str, nonce: str) -> Post:
    return signed_post(
        identity.keys[0],
        url,
        identity.instance_id,
        webhook_id,
        encode_ping(identity.instance_id, nonce),
        timestamp=int(runtime.time()),
        timeout_seconds=PING_SECONDS,
        fresh=True,
        own=True,
    )


def _judge(url: str, identity: Identity, nonce: str, answer: Answer) -> None:
    if answer.status == 200 and parse_pong(answer.body) == (nonce, identity.instance_id):
        return
    if answer.fault is Fault.TLS:
        raise UrlUnreachable(url, answer.error or "", TLS_ADVICE)
    if answer.status is None:
        raise UrlUnreachable(url, answer.error or "no answer")
    if parse_pong(answer.body) is not None or parse_problem(answer.body) is not None:
        raise UrlShared(url, "another instance answered a ping that was meant for this one")
    raise UrlUnreachable(url, f"a ping was answered {answer.status}, and not by skyhooks")
