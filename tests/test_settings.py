"""What constructors are given is checked at once, and nothing is touched; where a listener binds, and what it is called."""

from __future__ import annotations

import base64
import inspect

import pytest

import skyhooks
from skyhooks import Notifier, UnknownStore, UrlUnreachable
from skyhooks._asyncio.registry import Registry
from skyhooks._settings import advertised_url, listen_address, registry_settings, secrets_from

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
DEFAULTS = {
    "store": "memory://settings",
    "url": None,
    "listen": "auto",
    "advertise": None,
    "secret": None,
    "lease_seconds": 30.0,
    "heartbeat_seconds": 10.0,
    "max_body_bytes": 1_048_576,
    "url_policy": None,
    "allow_unsigned": False,
    "legacy": True,
    "certfile": None,
    "keyfile": None,
    "cafile": None,
}


def settings(**changes):
    return registry_settings(**(DEFAULTS | changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"url": "ftp://here/"}, "http"),
        ({"url": "http://here/", "listen": "127.0.0.1:0"}, "leave out listen="),
        ({"url": "http://here/", "advertise": "http://there/"}, "leave out listen="),
        ({"advertise": "here"}, "http"),
        ({"heartbeat_seconds": 30.0}, "below lease_seconds"),
        ({"heartbeat_seconds": 0}, "above 0"),
        ({"max_body_bytes": 100}, "max_body_bytes must be 4096"),
        ({"keyfile": "key.pem"}, "goes with certfile="),
        ({"listen": "8001"}, "HOST:PORT"),
        ({"listen": 8001}, "HOST:PORT"),
        ({"listen": "127.0.0.1:http"}, "HOST:PORT"),
        ({"listen": "127.0.0.1:65536"}, "HOST:PORT"),
        ({"secret": "hunter2"}, "whsec_"),
    ],
)
def test_an_argument_that_makes_no_sense_is_refused_with_what_would(changes, says):
    with pytest.raises(ValueError, match=says):
        settings(**changes)


def test_a_store_that_is_not_known_is_refused_by_constructors():
    for kind in (Registry, Notifier):
        with pytest.raises(UnknownStore, match="sqlite"):
            kind("oracle://db")


@pytest.mark.parametrize("name", ["timeout_seconds", "max_connections", "max_pending_bytes"])
def test_a_notifier_wants_numbers_above_0(name):
    with pytest.raises(ValueError, match=name):
        Notifier("memory://settings", **{name: 0})


def test_the_defaults_are_those_of_the_design():
    given = {name: one.default for name, one in inspect.signature(Registry).parameters.items() if name != "store"}
    assert given == {
        "url": None,
        "listen": "auto",
        "advertise": None,
        "secret": None,
        "lease_seconds": 30.0,
        "heartbeat_seconds": 10.0,
        "max_body_bytes": 1_048_576,
        "on_error": None,
        "url_policy": None,
        "allow_unsigned": False,
        "legacy": True,
        "client": None,
        "certfile": None,
        "keyfile": None,
        "cafile": None,
    }


def test_the_secret_comes_from_the_environment_where_none_is_given(monkeypatch):
    other = "whsec_" + base64.b64encode(b"o" * 24).decode()
    monkeypatch.setenv("SKYHOOKS_SECRET", f"{SECRET} {other}")
    assert secrets_from(None) == (b"k" * 32, b"o" * 24)
    assert secrets_from(other) == (b"o" * 24,)
    monkeypatch.delenv("SKYHOOKS_SECRET")
    assert secrets_from(None) == ()


@pytest.mark.parametrize(
    ("listen", "local", "address"),
    [
        ("auto", None, ("127.0.0.1", 0)),
        ("auto", "10.0.0.5", ("10.0.0.5", 0)),
        ("10.0.0.7:8001", None, ("10.0.0.7", 8001)),
        ("[::1]:0", None, ("::1", 0)),
        (None, None, None),
    ],
)
def test_the_listener_binds_on_loopback_where_the_store_is_here_and_else_towards_it(listen, local, address):
    assert listen_address(settings(listen=listen), local) == address


@pytest.mark.parametrize(
    ("changes", "address", "local", "url"),
    [
        ({}, ("127.0.0.1", 5), None, "http://127.0.0.1:5/"),
        ({}, ("::1", 5), None, "http://[::1]:5/"),
        ({}, ("0.0.0.0", 5), "10.0.0.5", "http://10.0.0.5:5/"),
        ({}, ("::", 5), None, "http://[::1]:5/"),
        ({"certfile": "cert.pem"}, ("10.0.0.5", 5), "10.0.0.5", "https://10.0.0.5:5/"),
        ({"advertise": "http://web-1:{port}/in"}, ("0.0.0.0", 5), None, "http://web-1:5/in"),
        ({"advertise": "http://127.0.0.1:{port}/"}, ("0.0.0.0", 5), "10.0.0.5", "http://127.0.0.1:5/"),
    ],
)
def test_the_advertised_url_is_the_one_by_which_others_come(changes, address, local, url):
    assert advertised_url(settings(**changes), address, local) == url


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_is_not_advertised_to_other_machines(host):
    with pytest.raises(UrlUnreachable, match="the store is on another machine"):
        advertised_url(settings(), (host, 5), "10.0.0.5")


def test_the_package_has_the_names_that_it_lists_and_no_others():
    assert all(getattr(skyhooks, name) for name in skyhooks.__all__)
    with pytest.raises(AttributeError, match="nope"):
        skyhooks.nope  # noqa: B018 - asking is what is tested
