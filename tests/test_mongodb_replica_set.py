"""RELIABILITY section 4, MGO: elections, on a replica set of three; skipped where there is no mongod."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import pytest

from mongodb_server import replica_set, three  # noqa: F401 - fixtures
from processes import until
from skyhooks.backends.mongodb import MongoDBStore
from skyhooks.testing import StoreConformance
from test_mongodb import attempt, each_operation, ids, is_unavailable, overhearing, publish, reached

pytestmark = pytest.mark.external


def test_mgo_what_was_acknowledged_before_an_election_is_in_the_log_once(three):  # noqa: F811 - the fixture
    acknowledged = {}
    with closing(MongoDBStore(three.url("keep=5000"))) as store, ThreadPoolExecutor(4) as threads:

        def work(number):
            for name in [f"{number}-{one}" for one in range(250)]:
                acknowledged[name] = until(partial(attempt, store, name))

        workers = [threads.submit(work, number) for number in range(4)]
        for count in (200, 600):
            until(partial(reached, acknowledged, count))
            primary = three.primary()
            primary.kill()
            three.primary()
            primary.restart()
        for worker in workers:
            worker.result(90)
        log = ids(store)
    assert len(log) == len(set(log)) == 1000
    assert {name: log[seq - 1] for name, seq in acknowledged.items()} == {name: name for name in acknowledged}


def test_mgo_with_two_of_three_members_down_it_is_unavailable_in_time(three):  # noqa: F811 - the fixture
    with closing(MongoDBStore(three.url())) as store:
        publish(store)
        primary = three.primary()
        others = [member for member in three.members if member is not primary]
        for member in others:
            member.kill()
        for operation in (lambda: publish(store), lambda: store.read("k=1", None, 1), store.instances):
            assert is_unavailable(operation)
        for member in others:
            member.restart()
        assert until(lambda: attempt(store, "later"))


@pytest.mark.parametrize("mode", ["secondaryPreferred", "secondary", "nearest"])
def test_mgo_all_is_asked_of_the_primary_whatever_the_uri_prefers(three, mode):  # noqa: F811 - the fixture
    primary = three.primary()
    with overhearing() as overheard, closing(MongoDBStore(three.url(f"readPreference={mode}"))) as store:
        each_operation(store)
    assert overheard.servers == {("127.0.0.1", primary.port)}


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    with replica_set(tmp_path_factory.mktemp("members")) as server:
        yield server


class TestOnThreeMembers(StoreConformance):
    __test__ = shutil.which("mongod") is not None  # the tests above say why it is skipped, once and not 130 times
    moved_is_exact = False

    @pytest.fixture
    def new_url(self, members) -> Callable[[str], str]:
        return members.url
