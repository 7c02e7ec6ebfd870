"""What stands in the documents, and what goes when: trimming, forgetting, reaping, dropping."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec
import pytest

from mongodb_server import server  # noqa: F401 - a fixture
from skyhooks._values import Instance, Publication, Reaped, Retention
from skyhooks.backends.mongodb import MongoDBStore, hooks, leases
from skyhooks.backends.mongodb.tending import Appended, Survey, is_crowded, next_due, plan

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEEP = Retention(keep=3, keep_seconds=300.0, keep_min_seconds=30.0, keep_bytes=100, dedupe_seconds=3600.0)


def ago(seconds):
    return NOW - timedelta(seconds=seconds)


def a_survey(ages, *, known=(), marks=None, size=10, **more):
    """A record whose entries, and ids to remember, are so many seconds old."""
    log = tuple({"i": f"id{age}", "m": f"m{age}", "z": size} for age in ages)
    at = {f"m{age}": ago(age) for age in (*ages, *known, *(marks or ()))}
    fields = {"epoch": "e", "seq": len(ages), "bytes": size * len(ages), "floor": 0, "touched": NOW, "due": NOW, **more}
    return {"_id": "k=1", **fields, "log": log, "known": tuple({"m": f"m{age}"} for age in known), "at": at}


def planned(*ages, leave=1, retention=KEEP, **more):
    record = msgspec.convert(a_survey(ages, **more), Survey)
    found = plan(record, NOW, retention, leave=leave)
    return record, found, [entry.i for entry in found.entries]


class TestPlan:
    @pytest.mark.parametrize(
        ("ages", "gone"),
        [
            ([20, 10], []),
            ([40, 20, 10, 5], ["id40"]),
            ([29, 20, 10, 5], []),
            ([301, 300, 299], ["id301", "id300"]),
            ([400], []),
            ([], []),
        ],
    )
    def test_what_goes_by_number_and_by_age(self, ages, gone):
        assert planned(*ages)[2] == gone

    def test_young_entries_go_past_the_bytes_alone(self):
        assert planned(4, 3, 2, 1, size=40)[2] == ["id4", "id3"]

    def test_young_entries_go_before_a_document_is_full(self):
        room = Retention(keep_bytes=10_000_000)
        assert planned(3, 2, 1, size=6_500_000, retention=room)[2] == ["id3", "id2"]
        assert planned(3, 2, 1, size=5_500_000, retention=Retention(keep_bytes=20_000_000))[2] == ["id3"]

    def test_reap_leaves_none_where_all_are_old(self):
        _, found, gone = planned(400, 350, leave=0)
        assert gone == ["id400", "id350"]
        assert found.oldest is None
        assert found.update(NOW)["$unset"]["oldest"] == ""

    def test_the_time_of_the_first_that_stays_is_kept(self):
        assert planned(40, 20, 10, 5)[1].oldest == ago(20)

    def test_marks_go_when_nothing_bears_them_and_nobody_may_repeat_their_append(self):
        _, found, _ = planned(400, 5, known=[500, 4000], marks=[9, 11])
        assert set(found.marks) == {"m400", "m4000", "m11"}
        assert found.forgotten == ("m4000",)

    def test_an_append_is_not_taken_for_lost_while_it_may_be_repeated(self):
        _, found, gone = planned(9, 8, 7, size=60)
        assert gone == ["id9", "id8"]
        assert found.marks == ()

    @pytest.mark.parametrize(
        ("ages", "known", "due"),
        [
            ([10], [], 290),
            ([10, 9, 8, 7], [], 20),
            ([], [100], 3500),
            ([10], [3590], 10),
            ([], [], None),
        ],
    )
    def test_reap_comes_back_when_the_next_thing_passes(self, ages, known, due):
        record, found, _ = planned(*ages, known=known)
        expected = None if due is None else NOW + timedelta(seconds=due)
        assert next_due(record, found, KEEP) == expected


class TestCrowded:
    @pytest.mark.parametrize(
        ("record", "crowded"),
        [
            ({"seq": 7}, False),
            ({"seq": 8}, True),
            ({"seq": 108, "floor": 101}, False),
            ({"bytes": 1_048_576 + 16_384}, False),
            ({"bytes": 1_048_576 + 16_385}, True),
            ({"oldest": ago(37), "tended": NOW, "seq": 1020}, False),
            ({"oldest": ago(38), "tended": NOW, "seq": 1020}, True),
            ({"oldest": ago(38), "tended": NOW, "seq": 1015}, False),
            ({"oldest": ago(318), "tended": NOW, "seq": 9}, False),
            ({"oldest": ago(319), "tended": NOW, "seq": 9}, True),
            ({"oldest": NOW, "tended": ago(59), "seq": 100}, False),
            ({"oldest": NOW, "tended": ago(60), "seq": 100}, True),
        ],
    )
    def test_a_log_is_tended_now_and_then(self, record, crowded):
        given = {"epoch": "e", "seq": 1, "moved": NOW, "bytes": 0, **record}
        assert is_crowded(Appended(**given), Retention()) == crowded


@pytest.mark.external
class TestReaping:
    @pytest.fixture
    def url(self, server):  # noqa: F811 - the fixture
        return server.url("keep_min_seconds=0")

    @pytest.fixture
    def store(self, url):
        with closing(MongoDBStore(url)) as store:
            yield store

    @pytest.fixture
    def database(self, server, url):  # noqa: F811 - the fixture
        with server.client() as client:
            yield client[url.partition("?")[0].rpartition("/")[2]]

    def long_ago(self, collection, name, *fields, seconds=7200):
        """Let what the server's clock wrote be older."""
        found = collection.find_one({"_id": name})
        older = {field: found[field] - timedelta(seconds=seconds) for field in fields}
        assert collection.update_one({"_id": name}, {"$set": older}).matched_count == 1

    def keys(self, database):
        return [one["_id"] for one in database["skyhooks.keys"].find()]

    def publish(self, store, key="k=1", **more):
        return store.publish([Publication(key, uuid4().hex, "n", b"{}", 0.0, **more)])[0]

    def test_a_key_that_nobody_needs_is_dropped(self, store, database):
        before = store.positions(["k=1"])["k=1"]
        self.long_ago(database["skyhooks.keys"], "k=1", "touched", "due")
        assert store.reap() == Reaped(keys=1)
        assert self.keys(database) == []
        assert store.positions(["k=1"])["k=1"].epoch != before.epoch

    def test_a_key_that_was_touched_within_the_hour_stays(self, store, database):
        store.positions(["k=1"])
        self.long_ago(database["skyhooks.keys"], "k=1", "touched", "due", seconds=3500)
        assert store.reap() == Reaped()
        assert self.keys(database) == ["k=1"]

    def test_touching_it_is_written_only_now_and_then(self, store, database):
        store.positions(["k=1"])
        first = database["skyhooks.keys"].find_one()["touched"]
        store.positions(["k=1"])
        assert database["skyhooks.keys"].find_one()["touched"] == first
        self.long_ago(database["skyhooks.keys"], "k=1", "touched")
        store.positions(["k=1"])
        assert database["skyhooks.keys"].find_one()["touched"] > first - timedelta(seconds=1)

    def test_a_key_with_a_hook_is_not_looked_at_again(self, store, database):
        store.join(Instance("i", None, 0), 600)
        store.positions(["k=1"])
        store.add_hooks("i", ["k=1"], 1)
        self.long_ago(database["skyhooks.keys"], "k=1", "touched", "due")
        assert store.reap() == Reaped()
        assert "due" not in database["skyhooks.keys"].find_one()
        store.remove_hooks("i", ["k=1"], 2)
        self.long_ago(database["skyhooks.keys"], "k=1", "touched", "due")
        assert store.reap() == Reaped(keys=1)

    def test_a_remembered_id_keeps_its_key_until_it_is_forgotten(self, store, database):
        self.publish(store, remember=True)
        self.age_marks(database, 3000)
        assert store.reap() == Reaped(entries=1)
        self.age_marks(database, 700)
        assert store.reap() == Reaped()
        found = database["skyhooks.keys"].find_one()
        assert (found["known"], found["at"]) == ([], {})

    def age_marks(self, database, seconds):
        found = database["skyhooks.keys"].find_one()
        older = {f"at.{mark}": at - timedelta(seconds=seconds) for mark, at in found["at"].items()}
        older |= {
            name: found[name] - timedelta(seconds=seconds) for name in ("due", "tended", "oldest") if name in found
        }
        database["skyhooks.keys"].update_one({"_id": found["_id"]}, {"$set": older})

    def test_hooks_of_who_never_joined_go_after_a_minute(self, store, database):
        store.add_hooks("never joined", ["k=1", "k=2"], 1)
        assert store.reap() == Reaped()
        self.long_ago(database["skyhooks.instances"], "never joined", "added", seconds=61)
        assert store.reap() == Reaped(hooks=2)
        assert database["skyhooks.instances"].count_documents({}) == 0

    def test_hooks_whose_remover_died_half_way_are_reaped(self, store, database):
        store.join(Instance("i", None, 0), 600)
        store.add_hooks("i", ["k=1", "k=2"], 1)
        store._connections.run(leases.depart, "i")
        assert store.reap() == Reaped(hooks=2)
        assert database["skyhooks.instances"].count_documents({}) == 0

    def test_more_hooks_than_fit_into_one_trip_are_removed(self, store, database, monkeypatch):
        monkeypatch.setattr(hooks, "SWEEP", 3)
        store.join(Instance("i", None, 0), 600)
        store.add_hooks("i", [f"k={number}" for number in range(10)], 1)
        store.leave("i")
        assert database["skyhooks.keys"].count_documents({"holders": "i"}) == 0

    def test_what_there_was_no_time_for_is_left_to_reap(self, store, database, monkeypatch):
        monkeypatch.setattr(hooks, "SWEEP_SECONDS", -1)
        store.join(Instance("i", None, 0), 600)
        store.add_hooks("i", ["k=1", "k=2"], 1)
        store.leave("i")
        assert database["skyhooks.keys"].count_documents({"holders": "i"}) == 2
        assert store.targets(["k=1"]) == {"k=1": ()}
        monkeypatch.undo()
        assert store.reap() == Reaped(hooks=2)

    def test_a_busy_log_keeps_its_document_small(self, store, database):
        """Times and ids go with their entries, also where somebody asked to remember them."""
        database["skyhooks.keys"].drop()
        for _ in range(30):
            self.publish(store, remember=True)
        self.age_marks(database, 4000)
        self.publish(store)
        found = database["skyhooks.keys"].find_one()
        assert (len(found["log"]), len(found["known"]), len(found["at"])) == (1, 0, 1)
        assert found["floor"] == 30
        assert found["bytes"] == found["log"][0]["z"]
