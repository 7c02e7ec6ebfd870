"""What all bridges have in common: options, origins, refusals; events, messages and polls as they are written."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from uuid import uuid4

import msgspec
import pytest

from skyhooks import Gap, InvalidCursor, InvalidKey, NotStarted, StoreUnavailable
from skyhooks._asyncio.registry import Registry
from skyhooks._bridge.audience import Audience
from skyhooks._bridge.events import (
    COMMENT,
    PIECE_BYTES,
    TAKEN,
    check_event_name,
    encode_event,
    encode_fields,
    event_stream,
    join_pieces,
)
from skyhooks._bridge.feed import open_feed
from skyhooks._bridge.messages import Close, close_of, encode_message, message_stream, read_first
from skyhooks._bridge.options import (
    COMMENT_SECONDS,
    MAX_MESSAGE_BYTES,
    MAX_PENDING,
    BridgeOptions,
    bridge_options,
    cors_headers,
    is_foreign,
    since_of,
)
from skyhooks._bridge.poll import MAX_POLL_SECONDS, POLL_SECONDS, poll, poll_seconds
from skyhooks._bridge.refusals import Refused, refusal_of
from skyhooks._cursor import decode_cursor, encode_cursor, key_hash
from skyhooks._notification import Notification
from skyhooks._stream import MAX_PENDING_BYTES
from skyhooks._values import Position

KEY = {"account": 42}
HERE = "https://app.example"
OPTIONS = BridgeOptions(comment_seconds=0.05)
NOTIFICATION = Notification("n1", "account=42", (), b'{"a":\n1}', 1.5, "00" * 8, 7)
GAP = Gap("account=42", "trimmed", (("account=42", "00" * 8, 9),), Position("00" * 8, 7))


def options(**given):
    return bridge_options(
        **{"max_pending": 1, "policy": "lossless", "comment_seconds": 15.0, "origins": [HERE], **given}
    )


# -- options, origins, refusals -----------------------------------------------------------------------


def test_the_defaults_are_those_of_the_documents():
    assert (MAX_PENDING, COMMENT_SECONDS, MAX_MESSAGE_BYTES, MAX_PENDING_BYTES) == (256, 15.0, 64 * 1024, 1024 * 1024)


def test_options_are_kept_as_given():
    made = options(policy="latest", comment_seconds=2)
    assert (made.max_pending, made.policy, made.origins) == (1, "latest", frozenset([HERE]))
    assert made.stall_seconds == 4


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"max_pending": 0}, "above 0"),
        ({"comment_seconds": 0}, "above 0"),
        ({"comment_seconds": float("nan")}, "above 0"),
        ({"policy": "oldest"}, "neither"),
        ({"origins": ["app.example"]}, "no origin"),
        ({"origins": ["https://app.example/"]}, "no origin"),
        ({"origins": ["https://App.example"]}, "no origin"),
        ({"origins": ["null"]}, "no origin"),
        ({"origins": ["*"]}, "no origin"),
        ({"origins": ["https://["]}, "no origin"),
        ({"origins": ["https://app.example:x"]}, "no origin"),
        ({"origins": ["https://app.example:443"]}, "no origin"),
        ({"origins": ["http://app.example:80"]}, "no origin"),
        ({"origins": ["https://app example"]}, "no origin"),
    ],
)
def test_options_that_cannot_be_are_refused(given, says):
    with pytest.raises(ValueError, match=says):
        options(**given)


def test_origins_are_a_list():
    with pytest.raises(TypeError, match="a list"):
        options(origins=HERE)


@pytest.mark.parametrize(
    ("origin", "host", "foreign"),
    [
        (None, "app.example", False),
        ("https://app.example", "app.example", False),
        ("HTTPS://APP.example", "App.Example", False),
        ("https://app.example:8443", "app.example:8443", False),
        ("https://app.example:8443", "app.example", True),
        ("https://evil.example", "app.example", True),
        ("https://named.example", "app.example", False),
        ("https://sub.named.example", "app.example", True),
        ("null", "app.example", True),
        ("null", None, True),
        ("null", "", True),
        ("https://app.example", None, True),
        ("", "", True),
        ("http://[", "app.example", True),
    ],
)
def test_a_page_of_another_site_is_foreign_unless_it_is_named(origin, host, foreign):
    assert is_foreign(origin, host, {"https://named.example"}) is foreign


@pytest.mark.parametrize(("origin", "count"), [(None, 0), ("https://evil.example", 0), (HERE, 4)])
def test_only_pages_of_named_sites_may_read(origin, count):
    headers = dict(cors_headers(origin, {HERE}))
    assert len(headers) == count
    assert headers.get("access-control-allow-origin") == (HERE if count else None)


@pytest.mark.parametrize(
    ("last", "asked", "since"),
    [("a", "b", "a"), (None, "b", "b"), ("", "b", "b"), (None, "", None), (None, None, None)],
)
def test_one_that_comes_again_begins_where_it_was(last, asked, since):
    assert since_of(last, asked) == since


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidCursor("hunter2"), 400, "cursor"),
        (PermissionError("hunter2"), 403, "forbidden"),
        (InvalidKey("hunter2"), 500, "keys"),
        (StoreUnavailable("hunter2"), 503, "unavailable"),
        (NotStarted("hunter2", "hunter2"), 503, "unavailable"),
    ],
)
def test_what_goes_wrong_first_has_an_answer_without_an_echo(error, status, code):
    refused = refusal_of(error)
    told = msgspec.json.decode(refused.body)
    assert (refused.status, told["status"], told["code"]) == (status, status, code)
    assert b"hunter2" not in refused.body
    assert ("retry-after" in dict(refused.headers)) is (status == 503)


# -- events -------------------------------------------------------------------------------------------


def test_an_event_holds_the_cursor_and_each_line_of_the_data():
    cursor = NOTIFICATION.cursor.encode()
    assert encode_event(NOTIFICATION) == b'id: %b\ndata: {"a":\ndata: 1}\n\n' % cursor


@pytest.mark.parametrize(
    ("event", "line"),
    [("result", b"event: result\n"), (lambda n: n.id, b"event: n1\n"), (lambda n: None, b""), ("", b"")],
)
def test_an_event_has_the_name_that_it_is_given(event, line):
    begin = b"id: %b\n%bdata: " % (NOTIFICATION.cursor.encode(), line)
    assert encode_event(NOTIFICATION, event).startswith(begin)


@pytest.mark.parametrize(
    ("name", "says"), [("a\nb", "line end"), ("a\rb", "line end"), *((name, "of its own") for name in TAKEN)]
)
def test_a_name_that_cannot_be_is_refused_at_once(name, says):
    with pytest.raises(ValueError, match=says):
        check_event_name(name)


@pytest.mark.parametrize("event", [None, "", "result", lambda n: n.id])
def test_a_name_that_can_be_is_kept(event):
    assert check_event_name(event) is event


@pytest.mark.parametrize("event", [lambda n: n.nonsense, lambda _: "a\nb", lambda _: "gap", lambda _: 7])
def test_a_function_that_fails_to_name_an_event_is_logged_and_the_event_told(event, caplog):
    notification = NOTIFICATION.variant(replayed=False, positions=None)
    assert encode_event(notification, event) == encode_event(NOTIFICATION)
    assert encode_event(notification, event) == encode_event(NOTIFICATION)
    (record,) = caplog.records
    assert "without a name" in record.getMessage()


def test_two_bridges_that_name_a_notification_differently_disturb_each_other_not():
    for event in ("a", "b", "a"):
        assert b"\nevent: %b\n" % event.encode() in encode_event(NOTIFICATION, event)


def test_an_event_is_written_once_for_all_who_get_it():
    assert encode_event(NOTIFICATION, "result") is encode_event(NOTIFICATION, "result")
    assert b"event: other\n" in encode_event(NOTIFICATION, "other")


def test_a_gap_is_an_event_of_its_own():
    cursor = GAP.cursor.encode()
    told = b'id: %b\nevent: gap\ndata: {"key":"account=42","reason":"trimmed"}\n\n' % cursor
    assert encode_event(GAP, "result") == told


@pytest.mark.parametrize("data", [b"a\nb", b"a\r\nb", b"a\rb"])
def test_all_line_ends_are_one_to_a_browser(data):
    assert encode_fields(None, data, "c") == b"id: c\ndata: a\ndata: b\n\n"


def test_what_looks_like_a_line_end_and_is_none_stays():
    data = "\u2028\u2029\x85\x0b\x0c".encode()
    assert encode_fields(None, data, "c") == b"id: c\ndata: %b\n\n" % data


@pytest.mark.parametrize(
    ("sizes", "pieces"),
    [([], []), ([1], [1]), ([1] * 5, [5]), ([PIECE_BYTES], [PIECE_BYTES]), ([40_000] * 5, [80_000, 80_000, 40_000])],
)
def test_events_are_sent_in_pieces_of_a_length_that_a_slow_client_can_read_in_time(sizes, pieces):
    assert list(map(len, join_pieces(b"x" * size for size in sizes))) == pieces


# -- silences -----------------------------------------------------------------------------------------


class Later:
    """A clock that stands, and what is to be done when it has gone on."""

    def __init__(self):
        self.now = 0.0
        self.due = []

    def __call__(self, seconds, work):
        timer = _Timer(self.now + seconds, work, self.due)
        self.due.append(timer)
        return timer

    def pass_to(self, now):
        self.now = now
        for timer in [timer for timer in self.due if timer.at <= now]:
            timer.cancel()
            timer.work()


class _Timer:
    def __init__(self, at, work, due):
        self.at, self.work, self._due = at, work, due

    def cancel(self):
        self._due.remove(self)


def audience():
    later, broken = Later(), []
    return Audience(lambda: later.now, later, 10, broken.append), later, broken


def test_each_silence_is_broken_in_its_time_by_one_timer():
    made, later, broken = audience()
    made.told("a")
    later.now = 4
    made.told("b")
    assert len(later.due) == 1
    later.pass_to(10)
    assert broken == ["a"]
    later.pass_to(14)
    assert broken == ["a", "b"]
    later.pass_to(20)
    assert broken == ["a", "b", "a"]


def test_who_was_told_something_is_not_silent_yet():
    made, later, broken = audience()
    made.told("a")
    later.now = 9
    made.told("a")
    later.pass_to(10)
    assert broken == []
    later.pass_to(19)
    assert broken == ["a"]


def test_without_clients_there_is_no_timer():
    made, later, _ = audience()
    made.told("a")
    made.told("b")
    made.leave("a")
    assert len(later.due) == 1
    made.leave("b")
    made.leave("b")
    assert later.due == []


def test_one_who_leaves_when_its_silence_is_broken_leaves_no_timer():
    later = Later()
    made = Audience(lambda: later.now, later, 10, lambda client: made.leave(client))
    made.told("a")
    later.pass_to(10)
    assert later.due == []


# -- messages and polls -------------------------------------------------------------------------------


def test_a_message_passes_the_data_on_untouched():
    assert b'"data":{"a":\n1}' in encode_message(NOTIFICATION)


def test_a_gap_is_a_message_of_its_own():
    told = msgspec.json.decode(encode_message(GAP))
    assert told == {"type": "gap", "key": "account=42", "reason": "trimmed", "cursor": GAP.cursor}


@pytest.mark.parametrize(
    ("message", "cursor"),
    [
        ('{"since": "abc"}', "abc"),
        ('{"since": ""}', ""),
        ('{"since": 1}', None),
        ("{}", None),
        ('{"since": "a", "keys": {}}', None),
        ("since", None),
        ("[" * 100_000, None),
        (b"\xff", None),
    ],
)
def test_the_first_message_has_a_cursor_and_nothing_else(message, cursor):
    assert read_first(message) == cursor


@pytest.mark.parametrize(("status", "code"), [(400, Close.POLICY), (503, Close.TRY_AGAIN), (500, Close.TRY_AGAIN)])
def test_a_socket_is_closed_with_what_a_status_would_say(status, code):
    assert close_of(Refused(status, "cursor")) is code


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        (None, POLL_SECONDS),
        ("", POLL_SECONDS),
        ("0", 0),
        ("1.5", 1.5),
        ("1e9", MAX_POLL_SECONDS),
        ("inf", MAX_POLL_SECONDS),
    ],
)
def test_a_poll_waits_as_long_as_it_is_told_within_reason(asked, seconds):
    assert poll_seconds(asked) == seconds


@pytest.mark.parametrize("asked", ["-1", "nan", "-inf", "soon", "1,5"])
def test_a_poll_that_says_nonsense_is_refused(asked):
    assert poll_seconds(asked) == Refused(400, "timeout")


# -- feeds, on a real registry ------------------------------------------------------------------------


@asynccontextmanager
async def registry(store=None):
    async with asyncio.timeout(20):
        registry = Registry(store or f"memory://{uuid4().hex}", listen=None, heartbeat_seconds=0.05)
        await registry.start()
        try:
            yield registry
        finally:
            await registry.stop(drain_seconds=0)


@asynccontextmanager
async def feed_of(registry, keys=KEY, since=None, options=OPTIONS):
    feed = await open_feed(lambda: registry.feed(options), keys, since)
    try:
        yield feed
    finally:
        await feed.close()


async def read(feed, count):
    items = []
    while len(items) < count:
        items += await feed.next(5.0)
    return items


async def next_but(silence, told):
    while (one := await anext(told)) == silence:
        pass
    return one


def test_a_feed_gives_what_is_there_and_says_where_it_is():
    async def body():
        async with registry() as here, feed_of(here) as feed:
            assert feed.cursor == await here.cursor(KEY)
            assert await feed.next(0.01) == []
            await here.notify(KEY, 1)
            await here.notify(KEY, 2)
            assert [item.data for item in await read(feed, 2)] == [1, 2]
            assert feed.cursor == await here.cursor(KEY)

    asyncio.run(body())


def test_a_feed_does_not_wait_for_what_is_there():
    async def body():
        async with registry() as here, feed_of(here) as feed, feed_of(here) as other:
            await here.notify(KEY, 1)
            await read(other, 1)
            assert [item.data for item in await feed.next(0)] == [1]

    asyncio.run(body())


@pytest.mark.parametrize(("max_pending", "size"), [(2, 10), (100, 120_000)])
def test_a_feed_gives_no_more_at_once_than_may_be_pending(max_pending, size):
    async def body():
        options = BridgeOptions(max_pending=max_pending)
        async with registry("memory://much?keep_bytes=10000000") as here, feed_of(here, options=options) as feed:
            for _ in range(20):
                await here.notify(KEY, "x" * size)
            batches, count = [], 0
            while count < 20:
                batches.append(await feed.next(5.0))
                count += len(batches[-1])
        assert max(map(len, batches)) <= max_pending
        assert max(sum(len(item.raw) for item in batch) for batch in batches) <= 1_048_576 + size + 2

    asyncio.run(body())


def test_a_feed_that_got_nothing_is_where_its_cursor_says_and_now_in_all_other_keys():
    async def body():
        keys = {"account": [42, 43]}
        async with registry() as here:
            cursor = await here.cursor(KEY)
            await here.notify(keys, 1)
            async with feed_of(here, keys, cursor) as feed:
                begun = decode_cursor(feed.cursor)
                now = decode_cursor(await here.cursor(keys))
        digest, other = key_hash("account=42"), key_hash("account=43")
        assert begun == {digest: decode_cursor(cursor)[digest], other: now[other]}

    asyncio.run(body())


def test_a_feed_from_the_start_has_that_for_a_cursor_until_it_has_got_something():
    async def body():
        async with registry() as here, feed_of(here, since="start") as feed:
            assert feed.cursor == "start"
            await here.notify(KEY, 1)
            await read(feed, 1)
            assert feed.cursor == await here.cursor(KEY)

    asyncio.run(body())


def test_a_feed_whose_client_has_gone_comes_to_its_end():
    async def body():
        async with registry() as here, feed_of(here) as feed:
            waiting = asyncio.ensure_future(feed.next(5.0))
            await asyncio.sleep(0)
            feed.end()
            assert await waiting == []
            assert feed.ended

    asyncio.run(body())


def test_a_feed_that_was_not_opened_can_be_closed_and_nothing_else():
    async def body():
        async with registry() as here:
            feed = here.feed(OPTIONS)
            feed.end()
            await feed.close()
            with pytest.raises(RuntimeError, match="not opened"):
                await feed.next(0)

    asyncio.run(body())


@pytest.mark.parametrize(
    ("keys", "since", "code"), [(KEY, "bad", "cursor"), ({}, None, "keys"), ({"a": None}, None, "keys")]
)
def test_a_feed_that_cannot_be_opened_is_refused(keys, since, code):
    async def body():
        async with registry() as here:
            refused = await open_feed(lambda: here.feed(OPTIONS), keys, since)
            assert refused.code == code

    asyncio.run(body())


def test_without_a_registry_that_runs_there_is_no_feed():
    async def body():
        refused = await open_feed(lambda: Registry("memory://").feed(OPTIONS), KEY, None)
        assert refused.status == 503

    asyncio.run(body())


def test_events_begin_with_a_place_go_on_with_comments_and_end_with_a_word():
    async def body():
        async with (
            registry() as here,
            feed_of(here) as feed,
            aclosing(event_stream(feed, OPTIONS, lambda: 0.5)) as blocks,
        ):
            first = await anext(blocks)
            assert first == b"retry: 2500\nid: %b\nevent: hello\ndata: {}\n\n" % feed.cursor.encode()
            assert await anext(blocks) == COMMENT
            await here.notify(KEY, 1)
            assert b"data: 1" in await next_but(COMMENT, blocks)
            feed.end()
            rest = [block async for block in blocks]
            assert rest[-1] == b"id: %b\nevent: reconnect\ndata: {}\n\n" % feed.cursor.encode()

    asyncio.run(body())


def test_messages_begin_with_hello_go_on_with_pings_and_end_with_a_word():
    async def body():
        async with registry() as here, feed_of(here) as feed, aclosing(message_stream(feed, OPTIONS)) as messages:
            assert msgspec.json.decode(await anext(messages)) == {"type": "hello", "cursor": feed.cursor}
            assert await anext(messages) == b""
            await here.notify(KEY, 1)
            assert msgspec.json.decode(await next_but(b"", messages))["data"] == 1
            feed.end()
            rest = [message async for message in messages]
            assert [msgspec.json.decode(one) for one in rest] == [{"type": "reconnect", "cursor": feed.cursor}]

    asyncio.run(body())


def test_a_poll_that_is_not_to_wait_brings_what_the_log_has(tmp_path):
    async def body():
        async with registry(f"sqlite:///{tmp_path}/skyhooks.db") as here:
            await here.notify(KEY, 1)
            async with feed_of(here, since="start") as feed:
                answer = await poll(feed, 0)
            told = msgspec.json.decode(answer.body)
            assert (answer.status, [one["data"] for one in told["notifications"]]) == (200, [1])
            async with feed_of(here, since=told["cursor"]) as feed:
                assert (await poll(feed, 0)).status == 204

    asyncio.run(body())


def test_a_poll_whose_cursor_is_ahead_of_the_log_does_not_wait_for_it():
    async def body():
        async with registry() as here:
            ((digest, (epoch, seq)),) = decode_cursor(await here.cursor(KEY)).items()
            assert digest == key_hash("account=42")
            async with feed_of(here, since=encode_cursor([("account=42", epoch, seq + 5)])) as feed:
                answer = await poll(feed, 0)
            assert answer.status in (200, 204)

    asyncio.run(body())
