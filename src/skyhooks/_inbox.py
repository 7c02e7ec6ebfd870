"""What an instance does with a POST: verify it, hand it to the tracks, answer. Never waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from ._callbacks import Callbacks
from ._http import Response
from ._identity import RETRY_AFTER_SECONDS, Identity
from ._keys import canonical_keys
from ._notification import Notification
from ._replay import Admission, ForeignWindow, Replay, SenderWindows, split
from ._signing import Signed, read_signature, verify
from ._track import Offer, Track
from ._wire import (
    AUDIENCE,
    Delivered,
    Ping,
    WireItem,
    encode_answer,
    encode_legacy_answer,
    encode_pong,
    parse_body,
    parse_legacy,
    problem,
)
from .abc import Runtime
from .exceptions import BodyRejected, InvalidKey

Headers = Sequence[tuple[str, str]]


class Inbox:
    """Takes what was POSTed to this instance.

    Order of checks: (limits and headers, by the HTTP side) audience header, signature over the raw bytes, strict parse,
    audience in the body, replay, dispatch. What is refused leaves no trace.
    """

    def __init__(
        self,
        runtime: Runtime,
        identity: Identity,
        callbacks: Callbacks,
        *,
        counts: Counter[str],
        attend: Callable[[Track], None],
        unwanted: Callable[[str], None],
        allow_unsigned: bool,
        legacy: bool,
    ) -> None:
        self._runtime = runtime
        self._identity = identity
        self._callbacks = callbacks
        self._counts = counts
        self._attend = attend
        self._unwanted = unwanted
        self._allow_unsigned = allow_unsigned
        self._legacy = legacy
        self._senders = SenderWindows()
        self._foreign = ForeignWindow()

    def receive(self, headers: Headers, body: bytes) -> Response:
        """Answer a POST; header names are in lower case, repeated ones kept. Calls are due afterwards, not made."""
        try:
            answer = self._take(headers, body)
        except BodyRejected as refused:
            self._counts[f"refused_{refused.code}"] += 1
            extra = (("retry-after", str(RETRY_AFTER_SECONDS)),) if refused.status == 503 else ()
            return Response(
                refused.status,
                problem(refused.status, refused.code, **refused.extra),
                "application/problem+json",
                extra,
            )
        return Response(200, answer)

    # -- whose it is ------------------------------------------------------------------------------

    def _take(self, headers: Headers, body: bytes) -> bytes:
        audience = _audience(headers)
        if audience is not None:
            self._identity.admit(audience, ping=True)
        signed = read_signature(headers)
        if signed is None:
            return self._take_unsigned(audience, body)
        if verify(signed, body, self._identity.keys, self._runtime.time()):
            return self._take_ours(audience, signed, body)
        if audience is None and self._legacy and verify(signed, body, self._identity.legacy_keys, self._runtime.time()):
            return self._take_legacy(signed.webhook_id, body)
        raise BodyRejected(401, "signature")

    def _take_unsigned(self, audience: str | None, body: bytes) -> bytes:
        if audience is not None or not (self._allow_unsigned and self._legacy):
            raise BodyRejected(400, "malformed")
        return self._take_legacy(None, body)

    def _take_ours(self, audience: str | None, signed: Signed, body: bytes) -> bytes:
        message = parse_body(body)
        if audience is not None and message.aud != audience:
            raise BodyRejected(421, "not_this_instance")
        self._identity.admit(message.aud, ping=isinstance(message, Ping))
        if isinstance(message, Ping):
            return encode_pong(message.ping, self._identity.instance_id)
        return self._take_once(signed.webhook_id, message)

    # -- whether it is new ------------------------------------------------------------------------

    def _take_once(self, webhook_id: str, message: Delivered) -> bytes:
        now = self._runtime.now()
        ours = split(webhook_id)
        if ours is None:
            seen = self._admit_foreign(webhook_id, now)
            return self._deliver(message.notifications, repeated=seen)
        before = self._senders.seen(*ours, now)
        if before.answer is not None:
            return before.answer
        answer = self._deliver(message.notifications, repeated=before is not Replay.FRESH)
        self._senders.remember(*ours, answer, now)
        return answer

    def _admit_foreign(self, webhook_id: str, now: float) -> bool:
        admission = self._foreign.admit(webhook_id, now)
        if admission is Admission.FULL:
            raise BodyRejected(503, "window_full")
        return admission is Admission.SEEN

    # -- what it says -----------------------------------------------------------------------------

    def _deliver(self, items: Sequence[WireItem], *, repeated: bool) -> bytes:
        callbacks: list[int] = []
        duplicates: list[int] = []
        full: list[int] = []
        for index, item in enumerate(items):
            track = self._callbacks.get(item.key)
            if track is None:
                callbacks.append(0)
                self._unwanted(item.key)
                continue
            n = Notification(item.id, item.key, item.keys, bytes(item.raw), item.sent_at, item.epoch, item.seq)
            if item.ephemeral and not repeated:
                callbacks.append(track.ring(n))
                continue
            callbacks.append(track.count(n))
            offer = Offer.DUPLICATE if item.ephemeral else track.offer(n)
            if offer is Offer.DUPLICATE:
                duplicates.append(index)
            elif offer is Offer.FULL:
                full.append(index)
            self._attend(track)
        self._counts["received"] += len(items)
        return encode_answer(callbacks, duplicates, full)

    def _take_legacy(self, webhook_id: str | None, body: bytes) -> bytes:
        if self._identity.closed or not self._identity.joined:
            raise BodyRejected(503, "draining")
        named, raw = parse_legacy(body)
        try:
            keys = canonical_keys(named)
        except InvalidKey:
            raise BodyRejected(400, "malformed") from None
        registrations = self._callbacks.registrations(keys)
        if webhook_id is None or not self._admit_foreign(webhook_id, self._runtime.now()):
            n_id = webhook_id or self._runtime.token()
            now = self._runtime.time()
            for key in keys:
                track = self._callbacks.get(key)
                if track is not None:
                    track.ring(Notification(n_id, key, keys if len(keys) > 1 else (), raw, now))
        return encode_legacy_answer(bool(registrations))


def _audience(headers: Headers) -> str | None:
    values = [value for name, value in headers if name == AUDIENCE]
    if len(values) > 1:
        raise BodyRejected(400, "malformed")
    return values[0] if values else None
