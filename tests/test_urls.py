"""URLs are read strictly and shown without secrets; addresses are judged, never their text (RELIABILITY section 5)."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyhooks._urls import Endpoint, UrlPolicy, literal_address, parse_url, shown_url
from skyhooks.exceptions import UrlBlocked

NEVER = [
    "0.0.0.0",
    "0.1.2.3",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0",
    "::169.254.169.254",
    "::ffff:0:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "2001:0:a9fe:a9fe::",
    "2001:0:808:808::5601:5601",
    "fd00::5efe:169.254.169.254",
    "2001:db8::200:5efe:169.254.169.254",
    "no address",
    "",
]
PRIVATE = [
    "127.0.0.1",
    "127.255.0.9",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "::1",
    "fd12::1",
    "fc00::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
]
PUBLIC = [
    "8.8.8.8",
    "172.32.0.1",
    "100.128.0.1",
    "2606:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::",
]
TRANSLATED_PRIVATE = [
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2002:a00:1::",
    "2001:0:a00:1::f5ff:fffe",
    "::ffff:0:10.0.0.1",
]


@pytest.mark.parametrize("address", NEVER)
def test_never_list_wins_over_everything_that_is_allowed(address):
    policy = UrlPolicy(allow_public=True, allow=["0.0.0.0/0", "::/0", "here"])
    assert not policy.permits("here", address)


@pytest.mark.parametrize("address", PRIVATE)
def test_loopback_and_private_addresses_may_be_called(address):
    assert UrlPolicy().permits("here", address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_need_to_be_allowed(address):
    assert not UrlPolicy().permits("here", address)
    assert UrlPolicy(allow_public=True).permits("here", address)
    assert UrlPolicy(allow=["HERE."]).permits("here", address)
    assert not UrlPolicy(allow=["here"]).permits("there.here", address)


@pytest.mark.parametrize("address", TRANSLATED_PRIVATE)
def test_private_addresses_behind_a_translator_are_not_ours(address):
    assert not UrlPolicy(allow_public=True).permits("here", address)
    assert UrlPolicy(allow=[address]).permits("here", address)


def test_networks_are_allowed_beyond_the_default():
    policy = UrlPolicy(allow=["203.0.113.0/24", "2606:4700::/32"])
    assert policy.permits("here", "203.0.113.9")
    assert policy.permits("here", "::ffff:203.0.113.9")
    assert policy.permits("here", "2606:4700::1")
    assert not policy.permits("here", "203.0.114.1")


@given(st.integers(0, 2**32 - 1))
def test_mapped_addresses_are_judged_as_what_they_are(number):
    address = IPv4Address(number)
    for policy in (UrlPolicy(), UrlPolicy(allow_public=True)):
        assert policy.permits("here", str(address)) == policy.permits("here", f"::ffff:{address}")


@given(st.integers(0, 2**128 - 1) | st.integers(0, 2**32 - 1).map(lambda last: 0x64FF9B << 96 | last))
def test_allowing_public_addresses_takes_nothing_away(number):
    address = str(IPv6Address(number))
    assert UrlPolicy(allow_public=True).permits("here", address) >= UrlPolicy().permits("here", address)


@pytest.mark.parametrize("entry", ["10.0.0.1/24", "300.0.0.1", "http://here", "here/there", "*.example.com", ""])
def test_entries_that_are_neither_network_nor_host_are_told(entry):
    with pytest.raises(ValueError, match=r"write 203\.0\.113\.0/24 or hooks\.example\.com"):
        UrlPolicy(allow=[entry])


def test_one_entry_may_be_given_as_text():
    policy = UrlPolicy(allow="203.0.113.0/24")
    assert policy.permits("here", "203.0.113.1")
    assert repr(policy) == "UrlPolicy(allow_public=False, allow=['203.0.113.0/24'])"


def test_those_of_a_hosts_addresses_are_selected_that_may_be_called():
    assert UrlPolicy().select("here", ["8.8.8.8", "10.0.0.1", "fe80::1", "::1"]) == ["10.0.0.1", "::1"]
    with pytest.raises(UrlBlocked, match=r"here may not be called: 8\.8\.8\.8 is forbidden"):
        UrlPolicy().select("here", ["8.8.8.8"])


@pytest.mark.parametrize("host", ["0x7f.1", "2130706433", "127.1", "0177.0.0.1", "here"])
def test_odd_numbers_are_names_for_the_system_to_resolve(host):
    assert literal_address(host) is None


def test_urls_with_an_address_are_judged_at_once():
    policy = UrlPolicy()
    assert policy.check_url("http://[::1]:80/").host == "::1"
    assert policy.check_url("http://example.com/").host == "example.com"
    with pytest.raises(UrlBlocked) as caught:
        policy.check_url("http://169.254.169.254/latest?token=secret")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("http://here", Endpoint("http", "here", 80, "/", "here")),
        ("HTTP://Here:8080/A/b?c=D", Endpoint("http", "here", 8080, "/A/b?c=D", "here:8080")),
        ("https://here:443/", Endpoint("https", "here", 443, "/", "here")),
        ("https://here.:/", Endpoint("https", "here.", 443, "/", "here.")),
        ("http://here:443?a", Endpoint("http", "here", 443, "/?a", "here:443")),
        ("http://[::1]:81/x", Endpoint("http", "::1", 81, "/x", "[::1]:81")),
        ("http://[0:0::1]/x@y", Endpoint("http", "::1", 80, "/x@y", "[0:0::1]")),
        ("http://10.0.0.1/%20", Endpoint("http", "10.0.0.1", 80, "/%20", "10.0.0.1")),
    ],
)
def test_urls_are_taken_apart(url, endpoint):
    assert parse_url(url) == endpoint
    assert parse_url(url).tls is (endpoint.scheme == "https")


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("", "write http://HOST:PORT/PATH"),
        ("here:80", "write http://HOST:PORT/PATH"),
        ("http:///path", "write http://HOST:PORT/PATH"),
        ("http://[::1", "write http://HOST:PORT/PATH"),
        ("http://he\\re/", "write http://HOST:PORT/PATH"),
        ("ftp://here/", "use http:// or https://"),
        ("http://user:secret@here/", "take the user and password out of http://here/"),
        ("http://here/#part", "take the part behind # out"),
        ("http://here:0/", "use 1 to 65535"),
        ("http://here:65536/", "use 1 to 65535"),
        ("http://here/a b", "without spaces"),
        ("http://here/a\r\nx: y", "printable ASCII"),
        ("http://héré/", "xn--"),
        ("http://[1.2.3.4]/", "is no IPv6 address"),
    ],
)
def test_bad_urls_are_told_what_would_be_right(url, hint):
    with pytest.raises(ValueError, match=re.escape(hint)) as caught:
        parse_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://here:80/path?token=secret#x", "http://here:80/path"),
        ("http://user:secret@here/path@x", "http://here/path@x"),
        ("user:secret@here", "user:here"),
        ("http://here/\r\n\x1b[31mé", "http://here/??\\x1b[31m\\xe9".replace("\\x1b", "?")),
        ("http://here/" + "x" * 500, "http://here/" + "x" * 187 + "…"),
    ],
)
def test_urls_are_shown_without_secrets_on_one_line(url, shown):
    assert shown_url(url) == shown
