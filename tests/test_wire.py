"""The wire: round trips, and what is not ours is refused with one of the known answers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import skyhooks
from skyhooks._json import encode_data, is_sound
from skyhooks._keys import canonical_keys
from skyhooks._values import Position
from skyhooks._wire import (
    PROBLEMS,
    Delivered,
    Ping,
    Taken,
    WireItem,
    body_prefix,
    encode_answer,
    encode_body,
    encode_item,
    encode_legacy_answer,
    encode_ping,
    encode_pong,
    join_body,
    parse_answer,
    parse_body,
    parse_legacy,
    parse_pong,
    parse_problem,
    problem,
)
from skyhooks.exceptions import BodyRejected

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
KEYS = st.lists(st.text("abé= ", min_size=1, max_size=5), min_size=1, max_size=5, unique=True).map(
    lambda values: canonical_keys({"n": values})
)
POSITIONS = st.builds(Position, st.text("0123456789abcdef", min_size=16, max_size=16), st.integers(1, 2**63 - 1))
DATA = st.sampled_from([None, "é", [1, {"a": [2.5]}], {"rows": 12}]).map(encode_data)


@st.composite
def items(draw):
    keys = draw(KEYS)
    position = draw(st.none() | POSITIONS)
    return WireItem(
        id=draw(TEXTS),
        key=draw(st.sampled_from(keys)),
        keys=keys if len(keys) > 1 else (),
        epoch=position.epoch if position else "",
        seq=position.seq if position else 0,
        ephemeral=position is None,
        sent_at=draw(st.floats(0, 1e12)),
        raw=draw(DATA),
    )


def encoded(item: WireItem) -> bytes:
    position = None if item.ephemeral else Position(item.epoch, item.seq)
    return encode_item(id=item.id, key=item.key, keys=item.keys, position=position, sent_at=item.sent_at, data=item.raw)


ITEM = {"id": "1", "key": "a=1", "epoch": "0123456789abcdef", "seq": 1, "sent_at": 1.5, "data": None}
EPHEMERAL = {"id": "1", "key": "a=1", "ephemeral": True, "sent_at": 1.5, "data": None}


def body_with(item: object = ITEM, **members: object) -> bytes:
    return json.dumps({"v": 1, "aud": "i", "notifications": [item], **members}).encode()


def without(item: dict[str, object], name: str) -> dict[str, object]:
    return {other: value for other, value in item.items() if other != name}


def refusal(parse, body: bytes) -> tuple[int, str]:
    with pytest.raises(BodyRejected) as raised:
        parse(body)
    return raised.value.status, raised.value.code


def outcome(parse, body: bytes) -> object:
    try:
        parse(body)
    except BodyRejected as refused:
        return refused.status, refused.code
    return "read"


MALFORMED = (400, "malformed")


# -- deliveries ---------------------------------------------------------------------------------------


@given(TEXTS, st.lists(items(), max_size=5))
def test_a_delivery_arrives_as_it_was_sent(instance_id, sent):
    body = encode_body(instance_id, [encoded(item) for item in sent])
    assert parse_body(body) == Delivered(instance_id, sent)


def test_a_prepared_prefix_makes_the_same_body():
    item = encode_item(id="1", key="a=1", keys=(), position=Position("0" * 16, 1), sent_at=1.5, data=b"[1, 2]")
    assert join_body(body_prefix('i"é'), [item, item]) == encode_body('i"é', [item, item])


def test_a_body_is_what_the_design_shows():
    retained = encode_item(
        id="t", key="a=1", keys=("b=2", "a=1"), position=Position("0" * 16, 7), sent_at=1.5, data=b'{"rows": 12}'
    )
    ephemeral = encode_item(id="t", key="a=1", keys=(), position=None, sent_at=1.5, data=b"null")
    assert encode_body("i", [retained, ephemeral]) == (
        b'{"v":1,"aud":"i","notifications":['
        b'{"id":"t","key":"a=1","keys":["b=2","a=1"],"epoch":"0000000000000000","seq":7,"sent_at":1.5,"data":{"rows": 12}},'
        b'{"id":"t","key":"a=1","ephemeral":true,"sent_at":1.5,"data":null}]}'
    )


def test_unknown_members_are_passed_over():
    delivered = parse_body(body_with({**ITEM, "new": [1]}, more={"a": None}))
    assert delivered == parse_body(body_with())


@pytest.mark.parametrize("sent_at", [0, 1763940000, -1, 1e300])
def test_sent_at_is_any_number(sent_at):
    delivered = parse_body(body_with({**ITEM, "sent_at": sent_at}))
    assert delivered.notifications[0].sent_at == sent_at


def test_500_notifications_are_taken_and_501_are_too_large():
    item = json.dumps(ITEM).encode()
    assert len(parse_body(encode_body("i", [item] * 500)).notifications) == 500
    assert refusal(parse_body, encode_body("i", [item] * 501)) == (413, "too_large")


def test_64_keys_are_taken():
    keys = canonical_keys({"n": list(range(64))})
    assert parse_body(body_with({**ITEM, "key": keys[63], "keys": keys})).notifications[0].keys == keys


WRONG = {
    "id": [1, None, ["1"]],
    "key": ["", "a", "=1", "a=", "a=\n", "a=1\u0085", "a=" + "x" * 257, "a b=1", 1, None],
    "keys": [
        *([], ["a=1"], ["a=1", "a=1"], ["b=1", "c=1"], ["a=1", "b"], ["a=1", 2], "a=1", {"a=1": 1}),
        [f"a={number}" for number in range(65)],
    ],
    "epoch": ["", "0" * 15, "0" * 17, "0123456789ABCDEF", "0123456789abcdeg", "é" * 16, " " * 16, 1, None],
    "seq": [0, -1, 2**63, 1.5, "1", True, None],
    "ephemeral": [True, 1, "true", None],
    "sent_at": ["1", None, True],
}


@pytest.mark.parametrize(("member", "value"), [(member, value) for member, values in WRONG.items() for value in values])
def test_a_member_of_another_kind_is_malformed(member, value):
    assert refusal(parse_body, body_with({**ITEM, member: value})) == MALFORMED


@pytest.mark.parametrize("member", ITEM)
def test_a_member_that_is_missing_is_malformed(member):
    assert refusal(parse_body, body_with(without(ITEM, member))) == MALFORMED


@pytest.mark.parametrize(
    "extra", [{"seq": 1}, {"epoch": "0" * 16}, {"seq": 1, "epoch": "0" * 16}, {"ephemeral": False}]
)
def test_an_ephemeral_one_has_no_position(extra):
    assert parse_body(body_with(EPHEMERAL)).notifications[0].ephemeral
    assert refusal(parse_body, body_with({**EPHEMERAL, **extra})) == MALFORMED


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"[]", b"1", b"{}", b"\xff", b"[" * 200_000, b'{"v":1}', b'{"v":1,"aud":"i"}'),
        *(body_with(v=2), body_with(v="1"), body_with(v=True), body_with(aud=1), body_with(notifications={})),
        *(body_with(1), body_with(None), body_with(ping="n"), body_with()[:-1], body_with() + b"x"),
        *(body_with().decode().encode("utf-16"), b"\xef\xbb\xbf" + body_with()),
        json.dumps({"v": 1, "aud": "i", "ping": 1}).encode(),
        json.dumps({"aud": "i", "notifications": [ITEM]}).encode(),
        json.dumps({"v": 1, "notifications": [ITEM]}).encode(),
    ],
    ids=lambda body: ascii(body[:40]),
)
def test_another_body_is_malformed(body):
    assert refusal(parse_body, body) == MALFORMED


def with_data(data: bytes) -> bytes:
    return encode_body("i", [encode_item(id="1", key="a=1", keys=(), position=None, sent_at=1.5, data=data)])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[1,]",
        b"NaN",
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b"[" * 65 + b"]" * 65,
        b"[" * 200_000,
        b"1 2",
        b"'a'",
    ],
    ids=lambda data: ascii(data[:12]),
)
def test_jsn_data_that_is_not_sound_is_malformed(data):
    assert refusal(parse_body, with_data(data)) == MALFORMED


@pytest.mark.parametrize(
    "data", [b"[" * 64 + b"]" * 64, '"é€\U0001f600"'.encode(), b"1e999", b"9" * 400, b'{"a":1,"a":2}']
)
def test_jsn_sound_data_passes_untouched(data):
    assert parse_body(with_data(data)).notifications[0].raw == data


def test_a_passed_over_member_that_is_not_utf8_is_malformed():
    assert refusal(parse_body, body_with(new="!").replace(b'"!"', b'"\xff"')) == MALFORMED


def test_a_number_that_is_not_finite_is_malformed():
    assert refusal(parse_body, body_with().replace(b"1.5", b"1e999")) == MALFORMED


@given(
    st.binary(max_size=60)
    | st.builds(bytes.join, st.just(b""), st.lists(st.sampled_from(re.findall(rb'[^",:]+|.', body_with()))))
)
@example(b"[" * 200_000)
def test_whatever_comes_is_read_or_refused(body):
    assert outcome(parse_body, body) in ("read", MALFORMED)
    assert outcome(parse_legacy, body) in ("read", MALFORMED, (401, "signature"))
    assert parse_answer(body, 1) is parse_pong(body) is parse_problem(body) is None


@given(st.data())
def test_a_changed_byte_is_read_or_refused(data):
    body = bytearray(encode_body("i", [encoded(data.draw(items())) for _ in range(2)]))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    assert outcome(parse_body, bytes(body)) in ("read", MALFORMED)
    if outcome(parse_body, bytes(body)) == "read":
        assert all(is_sound(item.raw) for item in parse_body(bytes(body)).notifications)


# -- pings --------------------------------------------------------------------------------------------


@given(TEXTS, TEXTS)
def test_a_ping_and_its_answer_arrive_as_they_were_sent(instance_id, nonce):
    assert parse_body(encode_ping(instance_id, nonce)) == Ping(instance_id, nonce)
    assert parse_pong(encode_pong(nonce, instance_id)) == (nonce, instance_id)


def test_a_ping_is_what_the_design_shows():
    assert json.loads(encode_ping("i", "n")) == {"v": 1, "aud": "i", "ping": "n"}
    assert json.loads(encode_pong("n", "i")) == {"status": "ok", "ping": "n", "instance": "i"}


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b'{"status":"ok"}', b'{"status":"no","ping":"n","instance":"i"}', b"\xff"]
)
def test_what_is_no_answer_to_a_ping_is_none(body):
    assert parse_pong(body) is None


# -- answers ------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 10**6), max_size=9), st.data())
def test_an_answer_arrives_as_it_was_given(callbacks, data):
    indexes = st.lists(st.sampled_from(range(len(callbacks))), unique=True) if callbacks else st.just([])
    duplicates, full = data.draw(indexes), data.draw(indexes)
    taken = parse_answer(encode_answer(callbacks, duplicates, full), len(callbacks))
    assert taken == Taken(tuple(callbacks), frozenset(duplicates), frozenset(full))


def test_an_answer_is_what_the_design_shows():
    assert json.loads(encode_answer([0, 2], [1], [0])) == {
        "status": "ok",
        "notified": True,
        "callbacks": [0, 2],
        "duplicates": [1],
        "full": [0],
    }
    assert json.loads(encode_answer([0], [], []))["notified"] is False
    assert json.loads(encode_legacy_answer(notified=True)) == {"status": "ok", "notified": True}


ANSWER = {"status": "ok", "notified": True, "callbacks": [1, 0], "duplicates": [], "full": [1]}


@pytest.mark.parametrize(
    "other",
    [
        *(
            {"status": "error"},
            {"callbacks": [1]},
            {"callbacks": [1, 0, 0]},
            {"callbacks": [1, -1]},
            {"callbacks": None},
        ),
        *(
            {"callbacks": [1, 1.5]},
            {"callbacks": [1, 2**63]},
            {"duplicates": [2]},
            {"full": [2]},
            {"full": [-1]},
            {"full": 1},
        ),
    ],
)
def test_snd_an_answer_that_does_not_fit_the_delivery_is_none(other):
    assert parse_answer(json.dumps(ANSWER).encode(), 2) is not None
    assert parse_answer(json.dumps({**ANSWER, **other}).encode(), 2) is None


@pytest.mark.parametrize(
    "body", [b"", b"OK", b"{}", b"[]", b"\xff", b"[" * 60_000, encode_legacy_answer(notified=True)]
)
def test_snd_any_other_body_is_none(body):
    assert parse_answer(body, 1) is None


# -- problems -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", PROBLEMS)
def test_a_problem_says_its_code_and_a_fixed_text(code):
    said = json.loads(problem(499, code))
    assert said == {
        "type": "about:blank",
        "title": said["title"],
        "status": 499,
        "detail": said["detail"],
        "code": code,
    }
    assert parse_problem(problem(499, code)) == (code, None)


def test_snd_a_problem_names_the_instance_that_is_gone():
    assert parse_problem(problem(410, "gone", instance="i1")) == ("gone", "i1")


@pytest.mark.parametrize(
    "body", [b"", b"Gone", b"{}", b'{"code":1}', b'{"code":"gone","instance":1}', b"\xff", b"[" * 60_000]
)
def test_snd_what_is_no_problem_of_ours_is_none(body):
    assert parse_problem(body) is None


def test_every_code_that_is_raised_has_its_text():
    sources = Path(skyhooks.__file__).parent.rglob("*.py")
    raised = {code for source in sources for code in re.findall(r'BodyRejected\(\s*\d+,\s*"(\w+)"', source.read_text())}
    assert {"malformed", "too_large", "signature"} <= raised <= PROBLEMS.keys()


# -- the first skyhooks' body -------------------------------------------------------------------------


def test_the_first_body_gives_its_keys_and_data():
    assert parse_legacy(b'{"keys": {"account": [1, "2"]}, "data": {"rows": 1.50}}') == (
        {"account": [1, "2"]},
        b'{"rows":1.5}',
    )
    assert parse_legacy(b'{"keys": {}, "data": null, "new": 1}') == ({}, b"null")


LEGACY_REFUSED = {
    "200 000 deep": b'{"keys":{},"data":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "65 deep": b'{"keys":{},"data":' + b"[" * 65 + b"]" * 65 + b"}",
    "keys 65 deep": b'{"data":1,"keys":{"a":' + b"[" * 65 + b"]" * 65 + b"}}",
    "int past int64": b'{"keys":{},"data":9223372036854775808}',
    "4301 digits": b'{"keys":{},"data":' + b"1" * 4301 + b"}",
    "NaN": b'{"keys":{},"data":NaN}',
    "1e999": b'{"keys":{},"data":1e999}',
    "doubled name": b'{"keys":{},"data":1,"data":2}',
    "lone surrogate": b'{"keys":{},"data":"\\ud800"}',
    "BOM": b'\xef\xbb\xbf{"keys":{},"data":1}',
    "UTF-16": '{"keys":{},"data":1}'.encode("utf-16"),
    "truncated": b'{"keys":{},"data":1',
    "trailing": b'{"keys":{},"data":1}]',
    "empty": b"",
    "a list": b"[]",
    "a text": b'"keys"',
    "null": b"null",
    "no keys": b'{"data":1}',
    "no data": b'{"keys":{}}',
    "keys are a list": b'{"keys":["a=1"],"data":1}',
    "data too large": b'{"keys":{},"data":"' + b"x" * 131_072 + b'"}',
}


@pytest.mark.parametrize("body", LEGACY_REFUSED.values(), ids=LEGACY_REFUSED.keys())
def test_jsn_another_first_body_is_malformed(body):
    assert refusal(parse_legacy, body) == MALFORMED


def test_jsn_data_of_the_first_body_may_be_64_deep():
    data = b"[" * 64 + b"]" * 64
    assert parse_legacy(b'{"keys":{},"data":%b}' % data) == ({}, data)


def test_sig_a_body_of_ours_under_the_raw_secret_is_refused_as_unsigned():
    assert refusal(parse_legacy, body_with()) == (401, "signature")
    assert refusal(parse_legacy, b'{"v":null,"keys":{},"data":1}') == (401, "signature")
