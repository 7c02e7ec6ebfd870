"""A WebSocket's bytes on the server's side: what is heard, what is too much, how it ends."""

from __future__ import annotations

import struct
import tracemalloc

import pytest

from skyhooks._bridge.messages import Close
from skyhooks._bridge.options import MAX_MESSAGE_BYTES
from skyhooks._bridge.refusals import NO_UPGRADE, Refused
from skyhooks._bridge.socket import BAD_VERSION, SocketWire, judge_upgrade, shake_hands
from skyhooks.testing.bridge.sockets import BINARY, CLOSE, PING, PONG, TEXT

ASKED = {
    "upgrade": "websocket",
    "connection": "keep-alive, Upgrade",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def frame(kind, payload, *, final=True):
    """Return a client's frame, masked with nothing."""
    size = struct.pack(">BH", 0xFE, len(payload)) if len(payload) > 125 else bytes([0x80 | len(payload)])
    return bytes([(0x80 if final else 0) | kind]) + size + bytes(4) + payload


def closing(code):
    return bytes([0x80 | CLOSE, 2]) + struct.pack(">H", code)


def hear(wire, *frames):
    return [heard for one in frames for heard in wire.receive(one)]


def test_the_handshake_is_that_of_the_standard_s_example():
    assert judge_upgrade(ASKED.get) is None
    assert b"\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in shake_hands(ASKED["sec-websocket-key"])


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"upgrade": "h2c"}, NO_UPGRADE),
        ({"connection": "close"}, NO_UPGRADE),
        ({"sec-websocket-version": "8"}, BAD_VERSION),
        ({"sec-websocket-key": "short"}, BAD_VERSION),
        ({"sec-websocket-key": "ü"}, BAD_VERSION),
    ],
)
def test_what_asks_for_no_socket_of_this_version_is_refused(change, refused):
    answer = judge_upgrade({**ASKED, **change}.get)
    assert isinstance(answer, Refused)
    assert answer == refused


def test_a_message_in_pieces_is_heard_as_one():
    pieces = [frame(TEXT, b"a", final=False), frame(0, b"\xc3", final=False), frame(PING, b""), frame(0, b"\xbc")]
    assert hear(SocketWire(), b"".join(pieces)) == ["aü"]


def test_a_message_may_be_64_kib_and_no_more():
    wire = SocketWire()
    pieces = [frame(TEXT, b"x" * 60_000, final=False), frame(0, b"x" * (MAX_MESSAGE_BYTES - 60_000))]
    assert len(hear(wire, *pieces, *pieces)[1]) == MAX_MESSAGE_BYTES
    assert hear(wire, frame(TEXT, b"x" * 60_000, final=False), frame(0, b"x" * 5537)) == []
    assert wire.reply == closing(Close.TOO_BIG)


def test_of_a_huge_frame_nothing_is_kept():
    wire = SocketWire()
    tracemalloc.start()
    hear(wire, bytes([0x80 | TEXT]) + struct.pack(">BQ", 0xFF, 1 << 40) + bytes(4), *[b"x" * 40_000] * 50)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert wire.close_code == Close.TOO_BIG
    assert kept < MAX_MESSAGE_BYTES


def test_bytes_are_not_for_this_socket():
    wire = SocketWire()
    assert hear(wire, frame(BINARY, b"{}"), frame(TEXT, b"{}")) == []
    assert wire.reply == closing(Close.POLICY)


def test_of_many_pings_the_last_is_answered():
    wire = SocketWire()
    assert hear(wire, *(frame(PING, b"%d" % number) for number in range(1000))) == []
    assert wire.reply == bytes([0x80 | PONG, 3]) + b"999"


def test_a_pong_is_heard():
    assert hear(SocketWire(), frame(PONG, b"")) == [None]


def test_a_goodbye_is_answered_with_its_code():
    wire = SocketWire()
    hear(wire, frame(CLOSE, struct.pack(">H", 1000)))
    assert (wire.ended, wire.reply) == (True, closing(1000))
    assert (wire.send(b"{}"), wire.ping(), wire.close(Close.POLICY), hear(wire, frame(TEXT, b"{}"))) == (
        b"",
        b"",
        b"",
        [],
    )


def test_after_a_goodbye_only_the_other_s_is_heard():
    wire = SocketWire()
    assert wire.close(Close.GOING_AWAY) == closing(1001)
    assert hear(wire, frame(TEXT, b"{}"), frame(PING, b"")) == []
    assert (wire.ended, wire.reply) == (False, b"")
    hear(wire, frame(CLOSE, struct.pack(">H", 1001)))
    assert (wire.ended, wire.reply) == (True, b"")


@pytest.mark.parametrize(
    ("sent", "code"),
    [(b"\x81\x01x", 1002), (frame(0, b"x"), 1002), (frame(TEXT, b"\xff"), 1007), (b"\xff\x80\0\0\0\0", 1002)],
    ids=["unmasked", "no beginning", "no UTF-8", "reserved bits"],
)
def test_what_is_no_websocket_s_ends_it_and_is_not_listened_to_any_more(sent, code):
    wire = SocketWire()
    assert hear(wire, sent, sent, frame(TEXT, b"{}")) == []
    assert wire.close_code == code
    assert wire.reply[2:4] == struct.pack(">H", code)
