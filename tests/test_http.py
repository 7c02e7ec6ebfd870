"""Both ends of a connection as state machines: RELIABILITY section 2 HTTP (HTP) and section 1 (SND), without a socket."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyhooks._http import (
    CONTINUE,
    MAX_ANSWER_BYTES,
    MAX_HEAD_BYTES,
    ClientConnection,
    Continue,
    Refusal,
    Request,
    ServerConnection,
    http_date,
    judge_request,
)
from skyhooks._values import Answer, Fault, Post

JSON = b"content-type: application/json\r\n"
START = b"POST /hook HTTP/1.1\r\nhost: here\r\n"
PLAIN = START + JSON + b"content-length: 2\r\n\r\n{}"
CHUNKED = START + JSON + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


def serve(*chunks, max_body_bytes=1000):
    connection = ServerConnection(max_body_bytes=max_body_bytes, now=0.0)
    return [event for chunk in chunks for event in connection.feed(chunk, 0.0)]


def bytewise(data):
    return [data[index : index + 1] for index in range(len(data))]


def post(body=b"{}", headers=(("content-type", "application/json"),), fresh=False):
    return Post("http://here/hook", headers, body, 3.0, fresh=fresh)


def ask(*chunks, end=False, fresh=False):
    connection = ClientConnection()
    connection.request(post(fresh=fresh), "here", "/hook")
    answers = [connection.feed(chunk) for chunk in chunks]
    if end:
        answers.append(connection.eof())
    return connection, [answer for answer in answers if answer is not None]


# -- what is taken --------------------------------------------------------------------------------


def test_post_is_taken_with_names_in_lower_case_and_repeats_kept():
    [request] = serve(
        START + JSON + b"Webhook-Id: a\r\nWEBHOOK-ID:  b \r\nX-Empty:\r\nX-Latin: \xe9\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert request == Request(
        headers=[
            ("host", "here"),
            ("content-type", "application/json"),
            ("webhook-id", "a"),
            ("webhook-id", "b"),
            ("x-empty", ""),
            ("x-latin", "é"),
            ("content-length", "2"),
        ],
        body=b"{}",
        keep_alive=True,
    )


def test_chunks_are_joined_and_trailers_ignored():
    [request] = serve(CHUNKED[:-2] + b"webhook-id: smuggled\r\n\r\n")
    assert request.body == b"{}"
    assert ("webhook-id", "smuggled") not in request.headers


@pytest.mark.parametrize("target", [b"/", b"/a?b=c", b"http://elsewhere:80/a", b"*"])
def test_any_form_of_target_is_taken(target):
    [request] = serve(PLAIN.replace(b"/hook", target))
    assert request.body == b"{}"


@pytest.mark.parametrize("value", [b"application/json; charset=utf-8", b"Application/JSON", b"application/json ;v=1"])
def test_parameters_of_the_content_type_do_not_matter(value):
    assert isinstance(serve(PLAIN.replace(b"application/json", value))[0], Request)


def test_pipelined_requests_come_in_order():
    bodies = [event.body for event in serve(PLAIN + CHUNKED + PLAIN.replace(b"{}", b"[]"))]
    assert bodies == [b"{}", b"{}", b"[]"]


@pytest.mark.parametrize(
    ("head", "keep_alive"),
    [
        (PLAIN, True),
        (PLAIN.replace(JSON, JSON + b"connection: close\r\n"), False),
        (PLAIN.replace(b"1.1", b"1.0"), False),
        (PLAIN.replace(b"1.1", b"1.0").replace(JSON, JSON + b"connection: keep-alive\r\n"), True),
    ],
)
def test_connection_is_kept_as_the_peer_asks(head, keep_alive):
    [request] = serve(head)
    assert request.keep_alive is keep_alive


def test_nothing_is_taken_behind_a_request_that_ends_the_connection():
    last = PLAIN.replace(JSON, JSON + b"connection: close\r\n")
    assert len(serve(last + PLAIN)) == 1
    assert len(serve(last, PLAIN)) == 1


def test_expectation_is_met_before_the_body():
    head, body = PLAIN.replace(JSON, JSON + b"Expect: 100-Continue\r\n")[:-2], b"{}"
    first, second = serve(head, body)
    assert first == Continue()
    assert isinstance(second, Request)
    assert CONTINUE == b"HTTP/1.1 100 Continue\r\n\r\n"


def test_http_1_0_is_not_told_to_continue():
    [request] = serve(PLAIN.replace(b"1.1", b"1.0").replace(JSON, JSON + b"expect: 100-continue\r\n"))
    assert isinstance(request, Request)


@pytest.mark.parametrize("plain", [PLAIN, CHUNKED, PLAIN.replace(b"length: 2\r\n\r\n{}", b"length: 0\r\n\r\n")])
def test_offered_upgrade_is_ignored(plain):
    [expected] = serve(plain)
    upgrade = plain.replace(JSON, JSON + b"connection: upgrade\r\nupgrade: h2c\r\n")
    requests = serve(upgrade + upgrade + plain)
    assert [request.body for request in requests] == [expected.body] * 3
    assert [request.keep_alive for request in requests] == [True] * 3


# -- what is refused ------------------------------------------------------------------------------

MALFORMED = {
    "content-length twice": START + JSON + b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}",
    "content-length list": START + JSON + b"content-length: 2, 2\r\n\r\n{}",
    "content-length sign": START + JSON + b"content-length: +2\r\n\r\n{}",
    "content-length empty": START + JSON + b"content-length:\r\n\r\n{}",
    "content-length hex": START + JSON + b"content-length: 0x2\r\n\r\n{}",
    "content-length huge": START + JSON + b"content-length: 99999999999999999999999\r\n\r\n{}",
    "content-length then chunked": START + JSON + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked then content-length": START + JSON + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n",
    "gzip, chunked": START + JSON + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "gzip": START + JSON + b"transfer-encoding: gzip\r\n\r\n{}",
    "identity": START + JSON + b"transfer-encoding: identity\r\n\r\n{}",
    "chunked twice": START + JSON + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "almost chunked": START + JSON + b"transfer-encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "chunk without end": START + JSON + b"transfer-encoding: chunked\r\n\r\n2\r\n{}X\r\n0\r\n\r\n",
    "chunk size": START + JSON + b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}",
    "bare CR": START + b"x: a\rb\r\n" + JSON + b"content-length: 2\r\n\r\n{}",
    "bare CR before a header": START + b"x: a\rcontent-length: 2\r\n" + JSON + b"\r\n{}",
    "bare LF": PLAIN.replace(b"\r\n", b"\n"),
    "NUL": START + b"x: a\0b\r\n" + JSON + b"content-length: 2\r\n\r\n{}",
    "control character": START + b"x: a\x01b\r\n" + JSON + b"content-length: 2\r\n\r\n{}",
    "folded header": START + b"x: a\r\n b\r\n" + JSON + b"content-length: 2\r\n\r\n{}",
    "folded length": START + JSON + b"content-length:\r\n 2\r\n\r\n{}",
    "space before the colon": START + JSON + b"content-length : 2\r\n\r\n{}",
    "no colon": START + b"hello\r\n" + JSON + b"content-length: 2\r\n\r\n{}",
    "HTTP/0.9": b"POST /hook\r\n\r\n",
    "HTTP/2.0": PLAIN.replace(b"HTTP/1.1", b"HTTP/2.0"),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "target": PLAIN.replace(b"/hook", b"/ho\x01ok"),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_htp_ambiguous_requests_are_refused_at_any_split(data):
    refusal = Refusal(400, "malformed")
    assert serve(data) == [refusal]
    assert serve(*bytewise(data)) == [refusal]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "BREW", "post"])
def test_htp_other_methods_are_told_which_one_is_allowed(method):
    [refusal] = serve(f"{method} / HTTP/1.1\r\nhost: here\r\n\r\n".encode())
    assert refusal == Refusal(405, "method", (("allow", "POST"),))


def test_htp_head_is_answered_without_body():
    connection = ServerConnection(max_body_bytes=10, now=0.0)
    [refusal] = connection.feed(b"HEAD / HTTP/1.1\r\nhost: here\r\n\r\n", 0.0)
    head = connection.refuse(refusal, b"problem")
    assert head.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert b"content-length: 7\r\nallow: POST\r\nconnection: close\r\n" in head
    assert head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("data", "refusal"),
    [
        (START + JSON + b"\r\n", Refusal(411, "length_required")),
        (START + b"content-length: 2\r\n\r\n{}", Refusal(415, "media_type")),
        (PLAIN.replace(b"application/json", b"text/plain"), Refusal(415, "media_type")),
        (PLAIN.replace(JSON, JSON + JSON), Refusal(415, "media_type")),
        (PLAIN.replace(JSON, JSON + b"content-encoding: gzip\r\n"), Refusal(415, "media_type")),
        (
            PLAIN.replace(JSON, JSON + b"content-encoding: identity\r\ncontent-encoding: br\r\n"),
            Refusal(415, "media_type"),
        ),
    ],
)
def test_htp_requests_without_length_or_in_other_codings_are_refused(data, refusal):
    assert serve(data) == [refusal]
    assert serve(*bytewise(data)) == [refusal]


def test_identity_is_no_coding():
    assert isinstance(serve(PLAIN.replace(JSON, JSON + b"content-encoding: Identity\r\n"))[0], Request)


def test_htp_declared_length_over_the_limit_is_refused_before_the_body():
    head = START + JSON + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n"
    assert serve(head % 1001) == [Refusal(413, "too_large")]
    assert serve(head % 10**18) == [Refusal(413, "too_large")]
    assert serve(head % 1000) == [Continue()]


def test_htp_chunks_over_the_limit_are_refused_as_they_come():
    head = START + JSON + b"transfer-encoding: chunked\r\n\r\n"
    assert serve(head, b"3e8\r\n" + b"x" * 1000) == []
    assert serve(head, b"3e8\r\n" + b"x" * 1000, b"\r\n1\r\ny") == [Refusal(413, "too_large")]


def padded(size):
    """Make a request whose target and headers are that long, as the limit counts them."""
    head = START + JSON + b"content-length: 2\r\n"
    rest = size - (len(head) - len(b"POST  HTTP/1.1\r\n")) - len(b"x: \r\n") + 1
    return head + b"x: " + b"a" * rest + b"\r\n\r\n{}"


def test_htp_headers_up_to_the_limit_are_taken():
    assert isinstance(serve(*bytewise(padded(MAX_HEAD_BYTES - 100)))[0], Request)
    assert isinstance(serve(padded(MAX_HEAD_BYTES - 100))[0], Request)


@pytest.mark.parametrize(
    "data",
    [
        padded(MAX_HEAD_BYTES + 100),
        padded(100_000),
        START + b"x: y\r\n" * 100 + JSON + b"content-length: 2\r\n\r\n{}",
        START + b"x: y\r\n" * 2000 + b"\r\n",
        PLAIN.replace(b"/hook", b"/" + b"a" * MAX_HEAD_BYTES),
        CHUNKED[:-2] + b"x: y\r\n" * 100 + b"\r\n",
        CHUNKED[:-2] + b"x: " + b"y" * 40_000 + b"\r\n\r\n",
        START + JSON + b"transfer-encoding: chunked\r\n\r\n1;" + b"x" * 60_000,
    ],
    ids=["limit", "100 KB", "101", "2000", "target", "trailers", "trailer", "extension"],
)
def test_htp_long_heads_and_framings_are_refused(data):
    assert serve(*bytewise(data)) == [Refusal(431, "headers_too_large")]
    if b"1;" not in data:
        assert serve(data) == [Refusal(431, "headers_too_large")]


def test_a_body_in_chunks_of_one_byte_is_taken():
    body = b"1\r\nx\r\n" * 60_000
    [request] = serve(
        START + JSON + b"transfer-encoding: chunked\r\n\r\n",
        *(body[at : at + 4096] for at in range(0, len(body), 4096)),
        b"0\r\n\r\n",
        max_body_bytes=60_000,
    )
    assert len(request.body) == 60_000


def test_a_head_may_begin_in_a_read_that_ends_a_long_body():
    body = b"x" * 60_000
    first = START + JSON + b"content-length: 60000\r\n\r\n"
    events = serve(first, body + PLAIN[:20], PLAIN[20:], max_body_bytes=60_000)
    assert [len(event.body) for event in events] == [60_000, 2]


def test_after_a_refusal_nothing_is_taken():
    connection = ServerConnection(max_body_bytes=10, now=0.0)
    good, bad = connection.feed(PLAIN + b"GET / HTTP/1.1\r\n\r\n" + PLAIN, 0.0)
    assert isinstance(good, Request)
    assert bad.status == 405
    assert connection.feed(PLAIN, 0.0) == []
    assert connection.closing
    assert connection.lingering


def test_htp_body_cut_short_is_never_dispatched():
    connection = ServerConnection(max_body_bytes=10, now=0.0)
    assert connection.feed(PLAIN[:-1], 0.0) == []
    connection.eof()
    assert connection.closing
    assert not connection.lingering
    assert connection.feed(b"}", 0.0) == []


@pytest.mark.parametrize(
    ("method", "version", "headers", "status"),
    [
        ("POST", "1.1", [("host", "x"), ("content-type", "application/json"), ("content-length", "1000")], None),
        ("POST", "1.1", [("content-type", "application/json"), ("content-length", "1001")], 413),
        ("POST", "1.1", [("content-type", "application/json"), ("content-length", "5"), ("content-length", "5")], 400),
        ("POST", "1.1", [("content-type", "application/json"), ("content-length", "9" * 5000)], 400),
        ("POST", "1.1", [("content-length", "5"), ("transfer-encoding", "chunked")], 400),
        ("POST", "1.0", [("transfer-encoding", "chunked")], 400),
        ("POST", "1.1", [("content-type", "text/plain"), ("content-length", "5")], 415),
        ("POST", "1.1", [("content-type", "application/json")], 411),
        ("PUT", "1.1", [], 405),
        ("POST", "1.1", [("x", "y")] * 101, 431),
        ("POST", "1.1", [("x", "y" * 20_000)], 431),
    ],
)
def test_htp_heads_that_other_servers_parsed_are_judged_alike(method, version, headers, status):
    refusal = judge_request(method, version, "/hook", headers, max_body_bytes=1000)
    assert (refusal and refusal.status) == status


# -- time -----------------------------------------------------------------------------------------


def test_htp_head_has_ten_seconds_from_its_first_byte():
    connection = ServerConnection(max_body_bytes=10, now=0.0)
    connection.feed(PLAIN[:1], 5.0)
    connection.feed(PLAIN[1:9], 14.0)
    assert connection.deadline == 15.0
    assert not connection.expired(14.9)
    assert connection.expired(15.0)


def test_htp_body_has_ten_seconds_from_the_end_of_the_head():
    connection = ServerConnection(max_body_bytes=10, now=0.0)
    connection.feed(PLAIN[:9], 5.0)
    connection.feed(PLAIN[9:-2], 8.0)
    connection.feed(PLAIN[-2:-1], 17.0)
    assert connection.deadline == 18.0


def test_idle_connection_lives_longer_and_line_ends_do_not_keep_it():
    connection = ServerConnection(max_body_bytes=10, now=1.0)
    assert connection.deadline == 76.0
    connection.feed(PLAIN, 10.0)
    connection.feed(b"\r\n", 20.0)
    assert connection.idle
    assert connection.deadline == 85.0
    connection.feed(PLAIN[:1], 30.0)
    assert not connection.idle


def test_rest_frees_an_idle_connection_and_never_half_a_request():
    connection = ServerConnection(max_body_bytes=10, now=0.0)
    events = []
    for byte in bytewise(PLAIN + CHUNKED + PLAIN):
        events += connection.feed(byte, 0.0)
        connection.rest()
    assert [event.body for event in events] == [b"{}"] * 3


def test_idle_connection_does_not_hold_the_last_body():
    connection = ServerConnection(max_body_bytes=10_000, now=0.0)
    body = connection.feed(PLAIN.replace(b": 2", b": 9999") + b"x" * 9997, 0.0)[0].body
    references = sys.getrefcount(body)  # `body` and the call's argument
    assert references == 2


def test_refused_peer_has_two_seconds_to_read_why():
    connection = ServerConnection(max_body_bytes=10, now=0.0)
    connection.feed(b"GET / HTTP/1.1\r\n\r\n", 3.0)
    connection.feed(b"more", 4.0)
    assert connection.deadline == 5.0


# -- answers --------------------------------------------------------------------------------------


def test_answers_say_whether_the_connection_stays():
    connection = ServerConnection(max_body_bytes=10, now=0.0)
    assert connection.respond(200, b"{}", headers=(("date", "now"),)) == (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\ndate: now\r\n\r\n{}"
    )
    assert b"connection: close" in connection.respond(200, b"", close=True)
    connection.feed(PLAIN.replace(b"1.1", b"1.0"), 0.0)
    assert b"connection: keep-alive" in connection.respond(299, b"")


def test_http_date_is_in_english_and_utc():
    assert http_date(784111777.9) == "Sun, 06 Nov 1994 08:49:37 GMT"


# -- any split gives the same events --------------------------------------------------------------

STREAMS = (
    PLAIN + CHUNKED + PLAIN,
    CHUNKED[:-2] + b"a: b\r\n\r\n" + PLAIN,
    PLAIN.replace(JSON, JSON + b"expect: 100-continue\r\nconnection: upgrade\r\nupgrade: h2c\r\n") + CHUNKED + PLAIN,
    PLAIN + b"GET / HTTP/1.1\r\n\r\n" + PLAIN,
    PLAIN + MALFORMED["folded header"],
    PLAIN.replace(JSON, JSON + b"connection: close\r\n") + PLAIN,
    PLAIN + padded(MAX_HEAD_BYTES + 1000),
)


def pieces(data, cuts):
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


@given(stream=st.sampled_from(STREAMS), cuts=st.lists(st.integers(0, 100_000), max_size=12))
def test_any_split_of_requests_gives_the_same_events(stream, cuts):
    assert serve(*pieces(stream, cuts)) == serve(stream)


values = st.text(st.characters(codec="ascii", min_codepoint=33, max_codepoint=126), max_size=20)
names = st.from_regex(r"x-[a-z0-9-]{1,12}", fullmatch=True)


@given(
    headers=st.lists(st.tuples(names, values), max_size=20),
    bodies=st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 100_000), max_size=8),
)
def test_what_the_client_sends_the_server_takes_and_back(headers, bodies, cuts):
    server, client = ServerConnection(max_body_bytes=300, now=0.0), ClientConnection()
    sent = (("content-type", "application/json"), *headers)
    for number, body in enumerate(bodies):
        data = client.request(post(body, sent), "here:80", "/hook")
        [request] = [event for piece in pieces(data, cuts) for event in server.feed(piece, 0.0)]
        assert request.body == body
        assert request.headers[2:] == [*sent]
        answer = server.respond(200 + number, body)
        answers = [client.feed(piece) for piece in pieces(answer, cuts) if piece]
        assert answers[-1] == Answer(200 + number, body)
        assert client.reusable


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=5))
def test_no_bytes_make_either_end_raise(noise, cuts):
    for prefix in (b"", START + JSON, CHUNKED[:-5]):
        serve(*pieces(prefix + noise, cuts))
    for prefix in (b"", OK, OK + b"transfer-encoding: chunked\r\n\r\n"):
        ask(*pieces(prefix + noise, cuts), end=True)


# -- what a job reads -----------------------------------------------------------------------------


def test_answer_has_status_body_and_the_two_headers_of_use():
    connection, answers = ask(OK + b"Date: now\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\n{}")
    assert answers == [Answer(200, b"{}", "now", "7")]
    assert connection.reusable
    assert connection.started


def test_request_names_the_host_and_says_when_it_is_the_last():
    data = ClientConnection().request(post(fresh=True), "here:81", "/hook?a")
    assert data == (
        b"POST /hook?a HTTP/1.1\r\nhost: here:81\r\ncontent-length: 2\r\ncontent-type: application/json\r\n"
        b"connection: close\r\n\r\n{}"
    )


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\0", "\x7f", "é"])
def test_headers_cannot_be_smuggled_in(value):
    with pytest.raises(ValueError, match="header"):
        ClientConnection().request(post(headers=(("skyhooks-instance", value),)), "here", "/")


ANSWERS = {
    "length": (OK + b"content-length: 3\r\n\r\nabc", Answer(200, b"abc"), True),
    "chunks": (OK + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n", Answer(200, b"abc"), True),
    "no phrase": (b"HTTP/1.1 503\r\ncontent-length: 0\r\n\r\n", Answer(503), True),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", Answer(204), True),
    "close": (OK + b"connection: close\r\ncontent-length: 0\r\n\r\n", Answer(200), False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", Answer(200), False),
    "announced": (b"HTTP/1.1 103 Early\r\nDate: then\r\n\r\n" + OK + b"content-length: 0\r\n\r\n", Answer(200), True),
    "surplus": (OK + b"content-length: 0\r\n\r\n" + OK, Answer(200), False),
    "surplus after the last": (OK + b"connection: close\r\ncontent-length: 0\r\n\r\nmore", Answer(200), False),
    "redirect": (b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n", Answer(302), True),
    "upgrade offered": (OK + b"connection: upgrade\r\nupgrade: h2\r\ncontent-length: 0\r\n\r\n", Answer(200), True),
}


@pytest.mark.parametrize(("data", "answer", "reusable"), ANSWERS.values(), ids=ANSWERS.keys())
def test_snd_answers_of_all_kinds_are_read(data, answer, reusable):
    connection, answers = ask(data)
    assert answers == [answer]
    assert connection.reusable is reusable
    assert ask(*bytewise(data))[1] == [answer]


def test_answer_that_ends_with_the_connection_is_whole_then():
    connection, answers = ask(OK + b"\r\nab", b"c", end=True)
    assert answers == [Answer(200, b"abc")]
    assert not connection.reusable
    assert ask(OK + b"transfer-encoding: gzip\r\n\r\nabc", end=True)[1] == [Answer(200, b"abc")]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 20",
        OK + b"content-le",
        OK + b"content-length: 3\r\n\r\nab",
        OK + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
def test_answer_cut_short_is_a_reset(data):
    [answer] = ask(data, end=True)[1]
    assert answer.fault is Fault.RESET
    assert "within" in answer.error


def test_connection_that_breaks_ends_no_answer():
    connection, _ = ask(OK + b"\r\nabc")
    assert connection.reset().fault is Fault.RESET


def test_connection_closed_before_the_answer_is_told_apart():
    connection, [answer] = ask(end=True)
    assert answer.fault is Fault.RESET
    assert not connection.started
    assert connection.eof() is None


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 099 Odd\r\n\r\n",
        b"HTTP/1.1 1000 Odd\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\nx",
        OK + b"x: a\r\n b\r\n\r\n",
    ],
)
def test_snd_what_is_no_answer_is_a_fault(data):
    connection, [answer] = ask(data)
    assert answer.fault is Fault.PROTOCOL
    assert not connection.reusable


@pytest.mark.parametrize(
    "chunk",
    [b"x: y\r\n", b"x" * 1000, b"y: " + b"z" * 90_000 + b"\r\n"],
    ids=["many", "one without end", "long"],
)
def test_snd_endless_headers_are_a_fault(chunk):
    _, answers = ask(OK, *[chunk] * 5000)
    assert [answer.fault for answer in answers] == [Fault.PROTOCOL]


@pytest.mark.parametrize("interim", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 " + b"x" * 20_000])
def test_snd_endless_announcements_are_a_fault(interim):
    _, answers = ask(*[interim] * 5000)
    assert [answer.fault for answer in answers] == [Fault.PROTOCOL]


def test_snd_endless_framing_is_a_fault():
    _, answers = ask(OK + b"transfer-encoding: chunked\r\n\r\n1;", *[b"x" * 1000] * 5000)
    assert [answer.fault for answer in answers] == [Fault.PROTOCOL]


def test_answer_that_came_whole_is_taken_whatever_its_framing_cost():
    _, answers = ask(OK + b"transfer-encoding: chunked\r\n\r\n", b"1;" + b"x" * 80_000 + b"\r\na\r\n0\r\n\r\n")
    assert answers == [Answer(200, b"a")]


@pytest.mark.parametrize("framing", [b"content-length: 300000000\r\n\r\n", b"\r\n"])
def test_snd_long_body_is_cut_and_costs_the_connection(framing):
    connection, answers = ask(OK + framing, *[b"x" * 10_000] * 100)
    assert answers == [Answer(200, b"x" * MAX_ANSWER_BYTES)]
    assert not connection.reusable


def test_body_as_long_as_may_be_read_costs_nothing():
    connection, answers = ask(OK + b"content-length: 65536\r\n\r\n" + b"x" * 65_536)
    assert len(answers[0].body) == 65_536
    assert connection.reusable


def test_last_request_costs_the_connection_whatever_the_answer():
    connection, _ = ask(OK + b"content-length: 0\r\n\r\n", fresh=True)
    assert not connection.reusable


def test_bytes_that_nobody_asked_for_cost_the_connection():
    connection, _ = ask(OK + b"content-length: 0\r\n\r\n")
    assert connection.feed(OK + b"content-length: 0\r\n\r\n") is None
    assert not connection.reusable


def test_interrupt_within_a_callback_is_no_fault_of_the_peer(monkeypatch):
    """httptools hides whatever a callback raises, and a signal handler raises wherever it likes."""

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("skyhooks._http.client._Answers.on_header", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ask(OK + b"content-length: 0\r\n\r\n")
