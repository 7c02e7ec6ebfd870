"""Who this process is: its incarnations, the keys of the present one, and whose mail it answers for."""

from __future__ import annotations

import pytest

from skyhooks._identity import Identity
from skyhooks._signing import Key, instance_key, row_mac
from skyhooks.exceptions import BodyRejected

SECRET, OTHER = b"s" * 32, b"o" * 32
URL = "http://127.0.0.1:1/"


def make(*secrets):
    return Identity(secrets, max_body_bytes=1000, label="here")


def become(identity, instance_id, *, joined=True):
    instance = identity.draw(instance_id, b"k" * 16, URL, 5)
    identity.assume(instance)
    identity.joined = joined
    return instance


def digests(keys):
    return [key.digest(b"message") for key in keys]


def refusal(identity, audience, **given):
    with pytest.raises(BodyRejected) as refused:
        identity.admit(audience, **given)
    return refused.value.status, refused.value.code, refused.value.extra


def test_without_a_secret_its_row_carries_a_random_key():
    identity = make()
    instance = become(identity, "me")
    assert (instance.signing_key, instance.mac) == (b"k" * 16, None)
    assert digests(identity.keys) == digests([Key(b"k" * 16)])
    assert identity.legacy_keys == ()


def test_with_a_secret_its_row_carries_a_mac_and_no_key():
    identity = make(SECRET, OTHER)
    instance = become(identity, "me")
    assert (instance.signing_key, instance.mac) == (None, row_mac(SECRET, "me", URL, 5))
    assert digests(identity.keys) == digests(Key(instance_key(secret, "me")) for secret in (SECRET, OTHER))
    assert digests(identity.legacy_keys) == digests([Key(SECRET), Key(OTHER)])


def test_its_row_says_what_it_takes_and_who_it_is():
    instance = become(make(), "me")
    assert (instance.instance_id, instance.url, instance.joined_at_ms) == ("me", URL, 5)
    assert (instance.max_body_bytes, instance.label) == (1000, "here")


def test_has_no_id_before_it_was_drawn():
    assert make().instance_id == ""


def test_its_own_mail_is_taken_once_it_has_joined():
    identity = make()
    become(identity, "me")
    identity.admit("me")


def test_before_it_has_joined_only_pings_are_taken():
    identity = make()
    become(identity, "me", joined=False)
    assert refusal(identity, "me") == (503, "draining", {})
    identity.admit("me", ping=True)


def test_before_it_has_joined_it_does_not_know_who_is_dead():
    identity = make()
    become(identity, "me", joined=False)
    assert refusal(identity, "stranger") == (503, "draining", {})


def test_a_strangers_mail_is_misdirected():
    identity = make()
    become(identity, "me")
    for audience in ("stranger", ""):
        assert refusal(identity, audience) == (421, "not_this_instance", {})


def test_mail_of_those_it_displaced_is_answered_gone():
    identity = make()
    become(identity, "me")
    identity.displaces(["old", "older"])
    assert refusal(identity, "older") == (410, "gone", {"instance": "older"})


def test_mail_of_its_earlier_incarnation_is_answered_gone():
    identity = make()
    become(identity, "first")
    become(identity, "second")
    assert refusal(identity, "first") == (410, "gone", {"instance": "first"})
    identity.admit("second")


def test_assuming_the_same_incarnation_again_buries_nobody():
    identity = make()
    instance = become(identity, "me")
    identity.assume(instance)
    identity.admit("me")


def test_mail_of_an_incarnation_that_is_just_joining_is_to_come_again():
    identity = make()
    become(identity, "first")
    second = identity.draw("second", b"k" * 16, URL, 6)
    assert refusal(identity, "second") == (503, "draining", {})
    identity.admit("first")
    identity.assume(second)
    identity.admit("second")


def test_mail_of_an_incarnation_that_never_came_to_be_is_answered_gone():
    identity = make()
    become(identity, "first")
    for name in ("given up", "third"):
        third = identity.draw(name, b"k" * 16, URL, 6)
    identity.assume(third)
    assert refusal(identity, "given up") == (410, "gone", {"instance": "given up"})


def test_its_url_is_taken_where_a_stranger_holds_it():
    identity = make()
    become(identity, "me")
    assert identity.is_taken(["me", "stranger"])
    assert not identity.is_taken(["me"])
    assert identity.is_taken([])


def test_a_join_of_its_own_that_took_effect_late_takes_no_url():
    identity = make()
    become(identity, "me")
    identity.draw("given up", b"k" * 16, URL, 6)
    assert not identity.is_taken([])
    identity.assume(identity.draw("third", b"k" * 16, URL, 7))
    assert not identity.is_taken(["given up"])


def test_once_closed_nothing_is_taken():
    identity = make()
    become(identity, "me")
    identity.displaces(["old"])
    identity.closed = True
    for audience in ("me", "old", "stranger"):
        assert refusal(identity, audience, ping=True) == (503, "draining", {})
