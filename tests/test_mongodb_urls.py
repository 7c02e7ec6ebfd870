"""What a MongoDB URL says, and what is wrong with it; nothing here reaches a server."""

from __future__ import annotations

import threading
import time

import pytest

from processes import free_port
from skyhooks import StoreUnavailable
from skyhooks._stores import open_store
from skyhooks._values import Retention
from skyhooks.backends.mongodb import MongoDBStore
from skyhooks.backends.mongodb.addresses import address_towards
from skyhooks.backends.mongodb.urls import parse

PASSWORD = "hunter2"


@pytest.mark.parametrize(
    ("url", "database", "shown"),
    [
        ("mongodb://db", "skyhooks", "mongodb://db/skyhooks"),
        ("mongodb://db/", "skyhooks", "mongodb://db/skyhooks"),
        ("MongoDB://db1:1,db2:2/jobs?replicaSet=rs", "jobs", "mongodb://db1:1,db2:2/jobs"),
        ("mongodb://[::1]:27017/jobs", "jobs", "mongodb://[::1]:27017/jobs"),
        ("mongodb://%2Ftmp%2Fmongodb.sock/jobs", "jobs", "mongodb://%2Ftmp%2Fmongodb.sock/jobs"),
        ("mongodb+srv://cluster.example.com/jobs?retryWrites=true", "jobs", "mongodb+srv://cluster.example.com/jobs"),
        (f"mongodb://u%40x:{PASSWORD}@db/jobs?authSource=admin&tls=true", "jobs", "mongodb://db/jobs"),
    ],
)
def test_a_url_names_hosts_and_a_database(url, database, shown):
    address = parse(url)
    assert (address.database, address.shown) == (database, shown)
    assert PASSWORD not in repr(address)
    assert repr(open_store(url)) == f"MongoDBStore({shown!r})"


def test_the_retention_is_ours_and_the_rest_is_pymongos():
    address = parse("mongodb://db/x?keep=5&w=1&readPreferenceTags=dc:ny&readPreferenceTags=&keep_seconds=1.5")
    assert address.retention == Retention(keep=5, keep_seconds=1.5)
    assert address.uri == "mongodb://db/x?w=1&readPreferenceTags=dc:ny&readPreferenceTags="


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mongodb://", "no MongoDB URL"),
        ("mongodb:///jobs", "no MongoDB URL"),
        ("mongodb://db/jobs?kepp=1", r"Unknown option.*kepp"),
        ("mongodb://db/jobs?replicaSet", "no MongoDB URL"),
        ("mongodb://db/jobs?maxPoolSize=many", "(?i)maxPoolSize must be an integer"),
        ("mongodb://db:99999/", "Port must be"),
        ("mongodb://db/my jobs", "no MongoDB URL"),
        ("mongodb://db/jobs.keys", "without a dot"),
        ("mongodb://db/jobs#x", "%23"),
        ("mongodb://db/?keep=0", "keep='0'"),
        ("mongodb://db/?keep=1&keep=2", "keep is given twice"),
        ("mongodb://db/?keep_bytes=10000001", "room for 10000000 at most"),
        ("mongodb://db/?dedupe_ids=10001", "room for 10000 at most"),
        ("mongodb+srv://a.example.com,b.example.com/", "one host"),
        ("mongodb+srv://a.example.com:27017/", "without a port"),
        ("mongodb+srv://a.example.com/?wat=1", r"Unknown option.*wat"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_touched(url, problem):
    with pytest.raises(ValueError, match=problem):
        MongoDBStore(url)


@pytest.mark.parametrize(
    "url",
    [
        f"mongodb://user:{PASSWORD}/x@db/jobs",
        f"mongodb://user:pa/{PASSWORD}@db/jobs",
        f"mongodb://user:{PASSWORD}@db:99999/jobs",
        f"mongodb://user:{PASSWORD}%zz@db@db/jobs",
        f"mongodb://us@er:{PASSWORD}@db/jobs",
        f"mongodb://user:{PASSWORD}@db/jobs?kepp=1",
    ],
)
def test_mgo_no_complaint_shows_a_password(url):
    with pytest.raises(ValueError, match="this is no MongoDB URL") as caught:
        MongoDBStore(url)
    assert PASSWORD not in str(caught.value)
    assert caught.value.__suppress_context__


def test_making_a_store_touches_nothing():
    threads = set(threading.enumerate())
    begin = time.monotonic()
    store = MongoDBStore(f"mongodb://127.0.0.1:{free_port()}/")
    store.close()
    assert set(threading.enumerate()) <= threads
    assert time.monotonic() - begin < 1


def test_a_missing_certificate_is_told_by_its_name(tmp_path):
    with pytest.raises(ValueError, match=r"none\.pem"):
        MongoDBStore(f"mongodb://127.0.0.1:1/?tls=true&tlsCAFile={tmp_path}/none.pem")


def test_a_certificate_that_is_none_is_unavailable_and_says_why(tmp_path):
    path = tmp_path / "broken.pem"
    path.write_text("no certificate")
    store = MongoDBStore(f"mongodb://127.0.0.1:1/?tls=true&tlsCAFile={path}")
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        store.instances()
    path.unlink()
    with pytest.raises(StoreUnavailable, match=r"cannot be opened: .*(broken\.pem|tlscafile)"):
        store.instances()


@pytest.mark.parametrize(
    "nodes",
    [
        [],
        [("127.0.0.1", 1)],
        [("localhost", 1), ("::1", 2)],
        [("/tmp/mongodb.sock", None)],
        [("no such", 1)],
        [("255.255.255.255", 1)],
    ],
)
def test_servers_on_loopback_need_no_address(nodes):
    assert address_towards(nodes) is None


def test_a_server_elsewhere_is_reached_from_an_address_of_this_machine():
    """192.0.2.1 is nobody's (RFC 5737), and nothing is sent to it."""
    elsewhere = address_towards([("127.0.0.1", 1), ("192.0.2.1", 27017)])
    if elsewhere is None:
        pytest.skip("this machine has no route to anywhere")
    assert address_towards([(elsewhere, 1)]) == elsewhere


@pytest.mark.parametrize("password", ["hunter2", "tlsCAFile=hunter2"])
def test_of_options_only_a_file_s_value_is_shown(password):
    options = f"tls=true&tlsCertificateKeyFilePassword={password}&tlsCAFile=/no/where.pem&kepp=hunter2"
    with pytest.raises(ValueError, match=r"where\.pem") as caught:
        MongoDBStore(f"mongodb://db1/x?{options}")
    assert "kepp" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_mistyped_option_is_named_beside_credentials_which_are_not():
    with pytest.raises(ValueError, match=r"(?i)Unknown option.*authSorce") as caught:
        MongoDBStore("mongodb://me:hunter2@db1/x?authSorce=admin")
    assert "hunter2" not in str(caught.value)
