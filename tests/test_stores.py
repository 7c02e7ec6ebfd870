"""How a store is found by its URL, and what its URL may say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from skyhooks._stores import open_store
from skyhooks._values import Publication, Retention
from skyhooks.backends._retention import take_retention
from skyhooks.backends.memory import MemoryStore
from skyhooks.backends.sqlite import SQLiteStore
from skyhooks.exceptions import UnknownStore


def publish(store, key="k=1"):
    return store.publish([Publication(key, uuid4().hex, "n", b"{}", 0.0)])[0]


def head(store, key="k=1"):
    return store.positions([key])[key].seq


class TestOpening:
    def test_a_scheme_names_the_store(self, tmp_path):
        assert isinstance(open_store("memory://"), MemoryStore)
        assert isinstance(open_store(f"SQLite:///{tmp_path}/x.db"), SQLiteStore)

    def test_a_store_is_passed_through(self):
        store = MemoryStore("memory://")
        assert open_store(store) is store

    def test_none_is_what_the_environment_says(self, monkeypatch):
        monkeypatch.setenv("SKYHOOKS_STORE", "memory://from-the-environment")
        assert isinstance(open_store(), MemoryStore)

    def test_none_without_an_environment_is_a_file_in_the_working_directory(self, monkeypatch, tmp_path):
        monkeypatch.delenv("SKYHOOKS_STORE", raising=False)
        monkeypatch.chdir(tmp_path)
        store = open_store(None)
        publish(store)
        store.close()
        assert [path.name for path in tmp_path.iterdir()] == ["skyhooks.db"]

    def test_an_unknown_scheme_names_the_known_ones_and_no_credentials(self):
        with pytest.raises(UnknownStore, match=r"'postgres'.*memory, mongodb, .*sqlite") as caught:
            open_store("postgres://user:hunter2@db/skyhooks")
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize("scheme", ["mongodb", "mongodb+srv"])
    def test_mongodb_names_the_extra_to_install(self, scheme):
        code = f"""
import sys
sys.modules["pymongo"] = None  # as where it is not installed
from skyhooks._stores import open_store
try:
    open_store("{scheme}://user:hunter2@db/skyhooks")
except ImportError as error:
    print(error)
"""
        said = subprocess.check_output([sys.executable, "-c", code], text=True)
        assert 'pip install "skyhooks[mongodb]"' in said
        assert "hunter2" not in said

    @pytest.mark.parametrize("url", ["skyhooks.db", "user:hunter2@db", "://x", ""])
    def test_what_is_no_url_is_not_repeated(self, url, monkeypatch):
        monkeypatch.setenv("SKYHOOKS_STORE", url or "nothing")
        with pytest.raises(UnknownStore) as caught:
            open_store(url or None)
        assert "hunter2" not in str(caught.value)

    def test_a_third_party_is_found_by_its_entry_point(self, monkeypatch, tmp_path):
        (tmp_path / "third.py").write_text("def make(url):\n    return ['made', url]\n")
        install(monkeypatch, tmp_path, "third = third:make")
        assert open_store("third://x?y=1") == ["made", "third://x?y=1"]

    def test_a_missing_driver_names_what_to_install(self, monkeypatch, tmp_path):
        install(monkeypatch, tmp_path, "broken = no_such_driver:make [fast]")
        with pytest.raises(ImportError, match=r'no_such_driver.*pip install "third-party\[fast\]"') as caught:
            open_store("broken://user:hunter2@db")
        assert caught.value.name == "no_such_driver"
        assert "hunter2" not in str(caught.value)

    def test_a_driver_is_imported_only_when_a_url_asks_for_it(self):
        code = (
            "import sys; from skyhooks._stores import open_store; open_store('memory://'); print('apsw' in sys.modules)"
        )
        assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def install(monkeypatch, path: Path, entry_point: str) -> None:
    """Put a distribution with that entry point on the path."""
    info = path / "third_party-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[skyhooks.stores]\n{entry_point}\n")
    monkeypatch.syspath_prepend(path)


class TestRetention:
    def test_it_is_taken_out_of_the_query(self):
        query = "keep=5&w=majority&keep_seconds=1.5&keep_min_seconds=0&keep_bytes=9&dedupe_seconds=2&dedupe_ids=0"
        retention, rest = take_retention(query)
        assert retention == Retention(5, 1.5, 0.0, 9, 2.0, 0)
        assert rest == [("w", "majority")]

    def test_what_is_not_given_has_its_default(self):
        assert take_retention("") == (Retention(), [])

    @pytest.mark.parametrize(
        ("query", "problem"),
        [
            ("keep=0", "keep='0'.*whole number from 1 up"),
            ("keep=1.5", "keep='1.5'.*whole number from 1 up"),
            ("keep=", "keep=''"),
            ("keep=99999999999999999999", "keep="),
            ("keep_bytes=0", "keep_bytes='0'"),
            ("keep_seconds=-1", "keep_seconds='-1'.*number of seconds from 0 up"),
            ("keep_seconds=nan", "keep_seconds='nan'"),
            ("dedupe_seconds=inf", "dedupe_seconds='inf'"),
            ("dedupe_ids=-1", "dedupe_ids='-1'"),
            ("keep=1&keep=2", "keep is given twice"),
            ("kepp=1", "unknown option 'kepp'.*known are keep, "),
        ],
    )
    @pytest.mark.parametrize("base", ["memory://", "sqlite:///x.db"])
    def test_what_is_wrong_is_said_at_once(self, base, query, problem):
        with pytest.raises(ValueError, match=problem):
            open_store(f"{base}?{query}")


class TestMemory:
    def test_the_name_is_shared_within_the_process(self):
        name = uuid4().hex
        one, same, other = (MemoryStore(f"memory://{which}") for which in (name, name, f"{name}/2"))
        publish(one)
        assert (head(same), head(other)) == (1, 0)

    def test_it_lives_as_long_as_a_store_of_its_name(self):
        one, same = MemoryStore("memory://passing"), MemoryStore("memory://passing")
        publish(one)
        publish(same)
        one.close()
        del one
        assert head(same) == 2
        del same
        assert head(MemoryStore("memory://passing")) == 0

    def test_whoever_makes_it_decides_on_the_retention(self):
        one = MemoryStore("memory://decided?keep=2&keep_min_seconds=0")
        publish(one)
        same = MemoryStore("memory://decided?keep=9")
        for _ in range(5):
            publish(same)
        assert len(same.read("k=1", None, 10).entries) == 2

    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    def test_a_fork_starts_with_an_empty_one(self):
        store = MemoryStore("memory://forked")
        publish(store)
        child = os.fork()
        if child == 0:
            os._exit(head(store))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert head(store) == 1


class TestSQLiteUrls:
    def test_making_a_store_touches_nothing(self, tmp_path):
        SQLiteStore(f"sqlite:///{tmp_path}/x.db").close()
        SQLiteStore(f"sqlite:///{tmp_path}/no/such/directory/x.db").close()
        assert list(tmp_path.iterdir()) == []

    def test_a_relative_path_is_of_the_directory_it_was_made_in(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        store = SQLiteStore("sqlite:///rel.db")
        monkeypatch.chdir("/")
        publish(store)
        store.close()
        assert (tmp_path / "rel.db").exists()

    def test_escapes_are_decoded(self, tmp_path):
        store = SQLiteStore(f"sqlite:///{tmp_path}/a%20b%23%3f%25.db")
        publish(store)
        store.close()
        assert [path.name for path in tmp_path.iterdir()] == ["a b#?%.db"]

    @pytest.mark.parametrize(
        ("url", "problem"),
        [
            ("sqlite://", "sqlite:///name.db"),
            ("sqlite:x.db", "sqlite:///name.db"),
            ("sqlite://host/x.db", "sqlite:///name.db"),
            ("sqlite:///", "memory://"),
            ("sqlite:///:memory:", "memory://"),
            ("sqlite:////tmp/", "names a file"),
            ("sqlite:///a%00b", "names a file"),
            ("sqlite:///a#b.db", "%23"),
        ],
    )
    def test_a_wrong_url_says_what_is_right(self, url, problem):
        with pytest.raises(ValueError, match=problem):
            SQLiteStore(url)

    def test_its_repr_names_the_file(self, tmp_path):
        assert repr(SQLiteStore(f"sqlite:///{tmp_path}/x.db")) == f"SQLiteStore('{tmp_path}/x.db')"


def test_what_is_no_url_is_told_how_to_become_one():
    with pytest.raises(UnknownStore, match="a store is a URL"):
        open_store("skyhooks.db")


@pytest.mark.parametrize("store", [5, b"sqlite:///skyhooks.db", object()])
def test_what_is_neither_url_nor_store_is_refused(store):
    with pytest.raises(TypeError, match="a URL or a"):
        open_store(store)
