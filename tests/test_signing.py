"""Signatures (SIG): ours verify, those of the reference library too, and nothing else does."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from skyhooks._signing import (
    Key,
    Signed,
    entry_mac,
    instance_key,
    parse_secrets,
    read_signature,
    row_mac,
    verify,
    verify_mac,
)
from skyhooks.exceptions import BodyRejected

SECRET = b"s" * 32
KEY = Key(SECRET)
NOW = 1_763_940_000
BODY = b'{"rows":12}'
IDS = st.from_regex(r"[A-Za-z0-9_-]{1,128}", fullmatch=True)


def whsec(secret: bytes) -> str:
    return "whsec_" + base64.b64encode(secret).decode()


def headers(webhook_id: str = "m-1", timestamp: object = NOW, signature: str | None = None) -> list[tuple[str, str]]:
    return [
        ("host", "localhost"),
        ("webhook-id", webhook_id),
        ("webhook-timestamp", str(timestamp)),
        ("webhook-signature", KEY.sign("m-1", NOW, BODY) if signature is None else signature),
    ]


def signed(*signatures: str, webhook_id: str = "m-1", timestamp: int = NOW) -> Signed:
    return Signed(webhook_id, timestamp, signatures or (KEY.sign("m-1", NOW, BODY),))


def malformed(pairs: list[tuple[str, str]]) -> bool:
    with pytest.raises(BodyRejected) as raised:
        read_signature(pairs)
    return (raised.value.status, raised.value.code) == (400, "malformed")


# -- keys ---------------------------------------------------------------------------------------------


@given(st.binary(max_size=150), st.binary(max_size=300))
def test_a_prepared_key_makes_the_hmac_of_the_standard_library(secret, message):
    assert Key(secret).digest(message) == hmac.digest(secret, message, hashlib.sha256)


@given(IDS, st.integers(0, 10**12), st.binary(max_size=100))
def test_a_key_signs_id_timestamp_and_body(webhook_id, timestamp, body):
    message = f"{webhook_id}.{timestamp}.".encode() + body
    assert KEY.sign(webhook_id, timestamp, body) == "v1," + base64.b64encode(KEY.digest(message)).decode()


def test_a_key_keeps_its_secret_out_of_repr():
    assert "s" * 8 not in repr(KEY)
    assert not hasattr(KEY, "__dict__")


# -- headers ------------------------------------------------------------------------------------------


@given(
    IDS,
    st.integers(0, 10**12),
    st.lists(st.from_regex(r"[a-z0-9]{1,4},[!-~]{0,44}", fullmatch=True), min_size=1, max_size=16),
)
def test_sig_headers_are_read_as_they_were_written(webhook_id, timestamp, signatures):
    assert read_signature(headers(webhook_id, timestamp, " ".join(signatures))) == Signed(
        webhook_id, timestamp, tuple(signatures)
    )


def test_sig_a_request_without_any_of_them_is_unsigned():
    assert read_signature([]) is None
    assert read_signature([("host", "localhost"), ("skyhooks-instance", "i")]) is None


@pytest.mark.parametrize("index", [1, 2, 3])
def test_sig_a_missing_or_doubled_header_is_malformed(index):
    pairs = headers()
    assert malformed(pairs[:index] + pairs[index + 1 :])
    assert malformed([*pairs, pairs[index]])
    assert malformed([pairs[index]])
    assert malformed([pairs[index]] * 3)


@pytest.mark.parametrize(
    "webhook_id", ["", "x" * 129, "a.b", "a b", "é", "a\n", "a\x00", "ａ", "a,b"], ids=lambda value: ascii(value)[:12]
)
def test_sig_an_id_of_other_characters_is_malformed(webhook_id):
    assert malformed(headers(webhook_id))


@pytest.mark.parametrize(
    "timestamp",
    ["", "-1", "+1", "1.5", "1e9", " 1", "1 ", "0x1", "1_0", "٣", "１", "²", "1\n", "1" * 17, "9" * 5000],
    ids=lambda value: ascii(value)[:12],
)
def test_sig_a_timestamp_is_ascii_digits_only(timestamp):
    assert malformed(headers(timestamp=timestamp))


@pytest.mark.parametrize(
    "signature",
    [
        "",
        " ",
        "v1",
        "v1,a ",
        "v1,a  v1,b",
        ",a",
        "v1,é",
        "v1,\ud800",
        "v1,a\n",
        "v1,a\tv1,b",
        "v1;a",
        "v-1,a",
        "v1,\x00",
    ],
    ids=ascii,
)
def test_sig_a_malformed_list_of_signatures_is_malformed(signature):
    assert malformed(headers(signature=signature))


def test_sig_16_signatures_are_taken_and_17_are_malformed():
    taken = read_signature(headers(signature=" ".join(["v1,x"] * 15 + [KEY.sign("m-1", NOW, BODY)])))
    assert taken is not None
    assert verify(taken, BODY, [KEY], NOW)
    assert malformed(headers(signature=" ".join(["v1,x"] * 17)))
    assert malformed(headers(signature="v1,x " * 100_000))


@given(
    st.lists(
        st.tuples(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "x"]), st.text(max_size=8)),
        max_size=5,
    )
)
def test_sig_whatever_stands_there_is_read_or_malformed(pairs):
    try:
        read_signature(pairs)
    except BodyRejected as refused:
        assert refused.status == 400  # noqa: PT017 - either is right


# -- verification -------------------------------------------------------------------------------------


@given(IDS, st.integers(0, 10**12), st.binary(max_size=100))
def test_sig_what_was_signed_verifies(webhook_id, timestamp, body):
    ours = Signed(webhook_id, timestamp, (KEY.sign(webhook_id, timestamp, body),))
    assert verify(ours, body, [KEY], timestamp)


@given(st.integers(0, len(BODY) * 8 - 1))
def test_sig_a_changed_bit_does_not_verify(bit):
    changed = bytearray(BODY)
    changed[bit // 8] ^= 1 << bit % 8
    assert not verify(signed(), bytes(changed), [KEY], NOW)


def test_sig_a_changed_id_or_timestamp_or_key_does_not_verify():
    assert verify(signed(), BODY, [KEY], NOW)
    assert not verify(signed(webhook_id="m-2"), BODY, [KEY], NOW)
    assert not verify(signed(timestamp=NOW + 1), BODY, [KEY], NOW)
    assert not verify(signed(), BODY, [Key(b"t" * 32)], NOW)
    assert not verify(signed(), BODY, [], NOW)


def test_sig_a_boundary_between_the_parts_cannot_be_moved():
    ours = KEY.sign("m", 1, b"2.x")
    assert not verify(Signed("m", 1, (ours,)), b".2.x", [KEY], 1)
    assert not verify(Signed("m-1", 2, (ours,)), b"x", [KEY], 2)


@pytest.mark.parametrize(
    ("now", "verifies"), [(NOW - 300, True), (NOW + 300.0, True), (NOW - 300.5, False), (NOW + 301, False), (0, False)]
)
def test_sig_a_timestamp_is_good_for_300_seconds_both_ways(now, verifies):
    assert verify(signed(), BODY, [KEY], now) is verifies


def test_sig_the_tolerance_may_be_another():
    assert verify(signed(), BODY, [KEY], NOW + 9, tolerance_seconds=10)
    assert not verify(signed(), BODY, [KEY], NOW + 11, tolerance_seconds=10)


def test_sig_any_right_one_of_several_is_enough():
    right = KEY.sign("m-1", NOW, BODY)
    wrong = KEY.sign("m-2", NOW, BODY)
    assert verify(signed("v2,x", wrong, right), BODY, [KEY], NOW)
    assert not verify(signed(wrong, wrong), BODY, [KEY], NOW)


def test_sig_unknown_versions_are_passed_over():
    right = KEY.sign("m-1", NOW, BODY)
    assert not verify(
        signed(right.replace("v1,", "v2,"), right.replace("v1,", "v1a,"), f"V{right[1:]}"), BODY, [KEY], NOW
    )


def test_sig_old_and_new_key_verify_while_rotating():
    old, new = (Key(secret) for secret in parse_secrets([whsec(b"o" * 24), whsec(b"n" * 64)]))
    for key in (old, new):
        assert verify(signed(key.sign("m-1", NOW, BODY)), BODY, (new, old), NOW)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60))
def test_sig_malformed_base64_never_verifies_nor_raises(text):
    taken = read_signature(headers(signature=f"v1,{text}"))
    assert taken is not None
    assert verify(taken, BODY, [KEY], NOW) is (f"v1,{text}" == KEY.sign("m-1", NOW, BODY))


# -- the reference library ----------------------------------------------------------------------------


@given(st.binary(min_size=24, max_size=64), IDS, st.text(max_size=50))
def test_sig_the_reference_library_verifies_ours(secret, webhook_id, text):
    timestamp = int(dt.datetime.now(dt.UTC).timestamp())  # it reads the clock itself
    body = json.dumps(text)
    signature = Key(secret).sign(webhook_id, timestamp, body.encode())
    theirs = {"webhook-id": webhook_id, "webhook-timestamp": str(timestamp), "webhook-signature": signature}
    assert standardwebhooks.Webhook(whsec(secret)).verify(body, theirs) == text


@given(
    st.binary(min_size=24, max_size=64),
    IDS,
    st.integers(0, 4_000_000_000),
    st.text(st.characters(exclude_categories=("Cs",))),
)
def test_sig_ours_verifies_the_reference_library(secret, webhook_id, timestamp, text):
    when = dt.datetime.fromtimestamp(timestamp, dt.UTC)
    signature = standardwebhooks.Webhook(whsec(secret)).sign(webhook_id, when, text)
    taken = read_signature(headers(webhook_id, timestamp, signature))
    assert taken is not None
    assert verify(taken, text.encode(), map(Key, parse_secrets(whsec(secret))), timestamp)


# -- secrets ------------------------------------------------------------------------------------------


@given(st.lists(st.binary(min_size=24, max_size=64), min_size=1, max_size=3))
def test_secrets_are_decoded_in_their_order(secrets):
    assert parse_secrets([whsec(secret) for secret in secrets]) == tuple(secrets)
    assert parse_secrets(whsec(secrets[0])) == (secrets[0],)
    assert parse_secrets(None) == ()


@pytest.mark.parametrize(
    ("secret", "problem"),
    [
        ("", "does not begin"),
        (base64.b64encode(SECRET).decode(), "does not begin"),
        ("whsek_" + base64.b64encode(SECRET).decode(), "does not begin"),
        (SECRET, "does not begin"),
        (42, "does not begin"),
        ("whsec_c3NzcyEhISE", "is not base64"),
        ("whsec_" + "sé" * 20, "is not base64"),
        ("whsec_ " + base64.b64encode(SECRET).decode(), "is not base64"),
        (whsec(SECRET) + "\n", "is not base64"),
        ("whsec_", "holds 0 bytes"),
        (whsec(b"s" * 23), "holds 23 bytes"),
        (whsec(b"s" * 65), "holds 65 bytes"),
    ],
)
def test_a_secret_that_is_none_is_refused_with_a_recipe_and_never_shown(secret, problem):
    with pytest.raises(ValueError, match=problem) as raised:
        parse_secrets([whsec(SECRET), secret])
    said = f"{raised.value} {raised.value.__cause__}"
    assert "secrets.token_bytes(32)" in said
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
    assert len(str(secret)) < 8 or str(secret)[6:] not in said


def test_no_secret_in_a_list_is_refused():
    with pytest.raises(ValueError, match="list of secrets is empty"):
        parse_secrets([])


# -- what is derived ----------------------------------------------------------------------------------


def test_each_instance_and_each_secret_has_its_own_key():
    keys = {instance_key(secret, one) for secret in (SECRET, b"t" * 32) for one in ("", "i", "i1", "é")}
    assert len(keys) == 8
    assert all(len(key) == 32 for key in keys)


def test_sig_no_signature_under_the_raw_secret_is_a_derived_key():
    # PROTOCOL 21: what is derived begins with a byte that no webhook-id may hold.
    assert malformed(headers("\x00skyhooks"))
    derived = instance_key(SECRET, "i")
    for webhook_id in ("skyhooks instance key 1", "i"):
        assert derived != base64.b64decode(KEY.sign(webhook_id, NOW, b"i").removeprefix("v1,"))


def test_a_row_mac_covers_id_url_and_time():
    rows = [("i", "http://h/", 1), ("i", "http://h/", 2), ("i", "http://g/", 1), ("j", "http://h/", 1)]
    rows += [("i", None, 1), ("i", "", 1), ("ihttp", "://h/", 1), ("i", "http://h/1", 1)]
    assert len({row_mac(SECRET, *row) for row in rows}) == len(rows)
    assert len({row_mac(secret, "i", None, 1) for secret in (SECRET, b"t" * 32)}) == 2


@given(
    st.text("ab|", max_size=4),
    st.text("ab|", max_size=4),
    st.text("ab|", max_size=4),
    st.integers(0, 12),
    st.integers(0, 12),
)
def test_an_entry_mac_tells_where_its_parts_end(key, id, data, first, second):
    whole = key + id + data
    first, second = sorted((min(first, len(whole)), min(second, len(whole))))
    other = (whole[:first], whole[first:second], whole[second:].encode())
    same = other == (key, id, data.encode())
    assert (entry_mac(SECRET, *other) == entry_mac(SECRET, key, id, data.encode())) is same


def test_the_kinds_of_mac_are_never_mistaken_for_one_another():
    macs = {instance_key(SECRET, "i"), row_mac(SECRET, "i", "", 1), entry_mac(SECRET, "i", "=", b"1"), KEY.digest(b"i")}
    assert len(macs) == 4


def test_a_mac_under_any_secret_in_use_verifies():
    macs = [entry_mac(secret, "a=1", "1", b"{}") for secret in (SECRET, b"t" * 32)]
    assert all(verify_mac(iter(macs), mac) for mac in macs)
    for mac in (None, b"", macs[0][:-1], macs[0] + b"\x00", entry_mac(b"u" * 32, "a=1", "1", b"{}")):
        assert not verify_mac(macs, mac)
    assert not verify_mac([], macs[0])
