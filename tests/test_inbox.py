"""What an instance answers at its limits and ends: a full window, an old body before it has joined and after it has left."""

from __future__ import annotations

import json
from collections import Counter, deque

import pytest

from skyhooks._callbacks import Callbacks
from skyhooks._identity import Identity
from skyhooks._inbox import Inbox
from skyhooks._registration import Registration
from skyhooks._replay import ForeignWindow
from skyhooks._signing import Key
from skyhooks._values import Position

SECRET = b"s" * 32
BODY = b'{"keys": {"account": 42}, "data": 1}'


class Clock:
    """What an inbox asks of a runtime."""

    def now(self):
        return 1000.0

    def time(self):
        return 1_700_000_000.0

    def token(self):
        return "0" * 32


@pytest.fixture
def identity():
    identity = Identity((SECRET,), max_body_bytes=1_048_576, label="test")
    identity.assume(identity.draw("a" * 32, b"k" * 32, None, 0))
    identity.joined = True
    return identity


@pytest.fixture
def outbox():
    return deque()


@pytest.fixture
def inbox(identity, outbox):
    callbacks = Callbacks(outbox)
    registration = Registration(("account=42",), print, None)
    callbacks.add(registration)
    registration.begin({"account=42": Position("0" * 15 + "1", 0)}, {})
    return Inbox(
        Clock(),
        identity,
        callbacks,
        counts=Counter(),
        attend=lambda _: None,
        unwanted=lambda _: None,
        allow_unsigned=True,
        legacy=True,
    )


def signed(webhook_id):
    timestamp = 1_700_000_000
    return [
        ("webhook-id", webhook_id),
        ("webhook-timestamp", str(timestamp)),
        ("webhook-signature", Key(SECRET).sign(webhook_id, timestamp, BODY)),
    ]


def code(response):
    return response.status, json.loads(response.body).get("code")


def test_rpl_a_full_window_of_foreign_ids_is_503_and_calls_nobody(inbox, outbox):
    inbox._foreign = ForeignWindow(capacity=1)
    assert code(inbox.receive(signed("task-1"), BODY)) == (200, None)
    assert code(inbox.receive(signed("task-2"), BODY)) == (503, "window_full")
    assert code(inbox.receive(signed("task-1"), BODY)) == (200, None)
    assert len(outbox) == 1


@pytest.mark.parametrize("headers", [[], signed("task-1")])
def test_an_old_body_before_the_join_is_asked_to_come_again(inbox, identity, outbox, headers):
    identity.joined = False
    response = inbox.receive(headers, BODY)
    assert code(response) == (503, "draining")
    assert ("retry-after", "1") in response.headers
    assert not outbox


def test_an_old_body_after_the_end_is_asked_to_come_again(inbox, identity, outbox):
    identity.closed = True
    assert code(inbox.receive([], BODY)) == (503, "draining")
    assert not outbox
