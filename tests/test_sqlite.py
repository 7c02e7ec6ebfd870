"""RELIABILITY section 4, SQL: what other processes, the disk and people do to the file."""

from __future__ import annotations

import os
import random
import resource
import shutil
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

import apsw
import pytest

from skyhooks._values import Instance, Publication, Reaped
from skyhooks.backends.sqlite import SQLiteStore, files
from skyhooks.backends.sqlite.errors import translate
from skyhooks.exceptions import StoreCorrupt, StoreUnavailable

WORKER = Path(__file__).with_name("sqlite_worker.py")
STARTER = """
import sys
from skyhooks._stores import open_store
store = open_store(sys.argv[1]); store.positions(["started=1"]); store.close()
"""

forking = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
def store(path):
    with closing(a_store(path)) as store:
        yield store


def a_store(path, query=""):
    return SQLiteStore(f"sqlite:///{path}?{query}")


def publish(store, key="k=1", data=b"{}", id=""):
    [answer] = store.publish([Publication(key, id or uuid4().hex, "n", data, 0.0)])
    return answer


def seqs(store, key="k=1"):
    return [entry.seq for entry in store.read(key, None, 10_000).entries]


def open_files():
    return len(os.listdir("/proc/self/fd"))


def start_another_process(path):
    """Let a process start, open the store, and end."""
    subprocess.run([sys.executable, "-c", STARTER, f"sqlite:///{path}"], check=True, timeout=20)


@contextmanager
def other_connection(path):
    """Someone who uses the file without skyhooks."""
    connection = apsw.Connection(str(path))
    try:
        yield connection
    finally:
        connection.close(True)


def until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class TestManyProcesses:
    def test_sql_eight_processes_never_see_a_locked_store(self, store, path):
        publish(store)
        command = [sys.executable, WORKER, f"sqlite:///{path}"]
        workers = [subprocess.Popen([*command, str(number), "1000"], stderr=subprocess.PIPE) for number in range(8)]
        errors = [worker.communicate(timeout=60)[1].decode() for worker in workers]
        assert errors == [""] * 8
        assert sum(len(seqs(store, f"k={number}")) for number in range(50)) == 8 * 200 + 1

    def test_sql_processes_that_start_at_once_make_one_store(self, path):
        starters = [subprocess.Popen([sys.executable, "-c", STARTER, f"sqlite:///{path}"]) for _ in range(6)]
        assert [starter.wait(30) for starter in starters] == [0] * 6
        assert [file.name for file in path.parent.iterdir()] == ["store.db"]

    def test_sql_a_held_lock_is_unavailable_within_three_seconds(self, store, path):
        store.add_hooks("id", ["k=1"], 1)
        with other_connection(path) as other:
            other.execute("BEGIN IMMEDIATE")
            started = time.monotonic()
            with pytest.raises(StoreUnavailable, match=r"locked by another process for more than 2\.5 s"):
                publish(store)
            assert 2 < time.monotonic() - started < 3
        assert publish(store).position.seq == 1

    def test_sql_a_held_lock_does_not_keep_a_store_from_opening(self, store, path):
        publish(store)
        with other_connection(path) as other, closing(a_store(path)) as newcomer:
            other.execute("BEGIN IMMEDIATE")
            assert seqs(newcomer) == [1]

    def test_sql_what_has_nothing_to_write_needs_no_lock(self, store, path):
        store.join(Instance("id", None, 0), 60)
        store.add_hooks("id", ["k=1", "k=2"], 5)
        publish(store)
        with other_connection(path) as other:
            other.execute("BEGIN IMMEDIATE")
            started = time.monotonic()
            assert store.add_hooks("id", ["k=1", "k=2"], 4) == store.positions(["k=1", "k=2"])
            assert [len(found) for found in store.targets(["k=1"]).values()] == [1]
            assert [seqs(store), len(store.instances()), len(list(store.hooks()))] == [[1], 1, 2]
            assert store.reap() == Reaped()
            assert time.monotonic() - started < 1

    @forking
    def test_sql_a_killed_writer_leaves_a_whole_file_with_all_that_it_acknowledged(self, path):
        acknowledged = []
        for _ in range(100):
            acknowledged += publish_until_killed(path)
        with closing(a_store(path)) as store, other_connection(path) as other:
            entries = {(entry.seq, entry.id) for entry in store.read("k=1", None, 100_000).entries}
            assert other.execute("PRAGMA integrity_check").get == "ok"
            floor = store.read("k=1", None, 1).floor
        assert {one for one in acknowledged if one[0] > floor} <= entries
        assert sorted(seq for seq, _ in entries) == list(range(floor + 1, floor + 1 + len(entries)))
        assert len(acknowledged) > 1000


def publish_until_killed(path):
    """Fork a writer, kill it in the middle of a commit, and return what it had acknowledged."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            store = a_store(path)
            while True:
                name = uuid4().hex
                seq = publish(store, data=b"x" * 500, id=name).position.seq
                os.write(writer, f"{seq} {name}\n".encode())
        finally:
            os._exit(1)
    os.close(writer)
    with open(reader, "rb") as pipe:
        lines = [pipe.readline() for _ in range(10)]
        pause = time.perf_counter() + random.uniform(0, 0.002)
        while time.perf_counter() < pause:
            pass
        os.kill(child, 9)
        os.waitpid(child, 0)
        lines += pipe.readlines()
    return [(int(seq), name) for seq, name in (line.decode().split() for line in lines if line.endswith(b"\n"))]


class TestWhatIsNoStore:
    def test_sql_a_file_that_is_no_database_is_corrupt_and_left_alone(self, path):
        path.write_bytes(b"This is no database. " * 500)
        before = path.read_bytes()
        with pytest.raises(StoreCorrupt, match=r"store\.db is damaged or no skyhooks store"):
            publish(a_store(path))
        assert path.read_bytes() == before

    def test_sql_a_database_of_something_else_is_corrupt_and_left_alone(self, path):
        with other_connection(path) as other:
            other.execute("CREATE TABLE precious (a); INSERT INTO precious VALUES (1)")
        before = path.read_bytes()
        with pytest.raises(StoreCorrupt, match="of something else"):
            publish(a_store(path))
        assert path.read_bytes() == before
        assert len(list(path.parent.iterdir())) == 1

    def test_sql_a_future_schema_is_refused(self, path):
        with closing(a_store(path)) as store:
            publish(store)
        with other_connection(path) as other:
            other.execute("PRAGMA user_version = 2")
        with pytest.raises(StoreCorrupt, match=r"newer skyhooks \(schema 2, this one knows 1\); upgrade"):
            publish(a_store(path))

    def test_sql_a_damaged_store_is_corrupt(self, path):
        with closing(a_store(path)) as store:
            for number in range(300):
                publish(store, f"k={number}")
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(path.stat().st_size - 4096))
        with closing(a_store(path)) as store, pytest.raises(StoreCorrupt):
            publish(store)

    def test_sql_a_store_without_its_tables_is_corrupt(self, path):
        with closing(a_store(path)) as store:
            publish(store)
        with other_connection(path) as other:
            other.execute("DROP TABLE entries")
        with closing(a_store(path)) as store, pytest.raises(StoreCorrupt, match="no such table"):
            publish(store)

    def test_sql_an_empty_file_becomes_a_store(self, path):
        path.touch()
        with closing(a_store(path)) as store:
            assert publish(store).position.seq == 1

    def test_sql_a_directory_is_unavailable(self, path):
        path.mkdir()
        with pytest.raises(StoreUnavailable, match="cannot be opened"):
            publish(a_store(path))

    def test_sql_a_missing_directory_is_unavailable(self, path):
        with pytest.raises(StoreUnavailable, match="no/such: No such file or directory; make that directory"):
            publish(a_store(path.parent / "no" / "such" / "store.db"))

    def test_sql_a_path_through_a_file_is_unavailable(self, path):
        path.touch()
        with pytest.raises(StoreUnavailable, match="Not a directory"):
            publish(a_store(path / "store.db"))


class TestFullDisk:
    @forking
    def test_sql_a_file_that_cannot_grow_is_unavailable_and_whole(self, path):
        """The limit is on file sizes, which the system enforces on this process's child only."""
        child = os.fork()
        if child == 0:
            os._exit(fill_up(path))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        with other_connection(path) as other:
            assert other.execute("PRAGMA integrity_check").get == "ok"

    @pytest.mark.parametrize(
        ("error", "raised", "text"),
        [
            (apsw.FullError(), StoreUnavailable, "the disk is full"),
            (apsw.ReadOnlyError(), StoreUnavailable, "read-only"),
            (apsw.IOError(), StoreUnavailable, "cannot be read or written"),
            (apsw.PermissionsError(), StoreUnavailable, "permission"),
            (apsw.NoMemError(), StoreUnavailable, "memory"),
            (apsw.ProtocolError(), StoreUnavailable, "network file system"),
            (apsw.CorruptError(), StoreCorrupt, "damaged"),
        ],
    )
    def test_sql_each_error_says_what_to_do(self, error, raised, text):
        problem = translate(error, "/x/store.db")
        assert isinstance(problem, raised)
        assert str(problem).startswith("/x/store.db ")
        assert text in str(problem)

    def test_a_mistake_of_ours_is_shown_as_it_is(self, store):
        assert translate(apsw.MisuseError(), "x") is None
        with pytest.raises(TypeError):
            store.publish([Publication("k=1", "id", "n", object(), 0.0)])
        assert publish(store).position.seq == 1


def fill_up(path):
    """Publish until the file may not grow any more, and then again; 0 if all was well."""
    store = a_store(path)
    publish(store)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    acknowledged = [1]
    with pytest.raises(StoreUnavailable, match="cannot"):
        publish_for_ever(store, acknowledged)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert seqs(store) == acknowledged
    assert publish(store).position.seq == acknowledged[-1] + 1
    return 0


def publish_for_ever(store, acknowledged):
    while True:
        acknowledged.append(publish(store, data=b"x" * 10_000).position.seq)


class TestTheFileUnderUs:
    def test_sql_a_deleted_file_is_unavailable_and_not_made_anew(self, store, path):
        publish(store)
        path.unlink()
        for operation in (lambda: publish(store), lambda: seqs(store), lambda: store.join(Instance("i", None, 0), 9)):
            with pytest.raises(StoreUnavailable, match="gone or was replaced"):
                operation()
        with pytest.raises(StoreUnavailable):
            publish(a_store(path))
        assert not path.exists()

    def test_sql_closing_does_not_allow_to_make_it_anew(self, store, path):
        publish(store)
        store.close()
        path.unlink()
        with pytest.raises(StoreUnavailable, match="gone"):
            publish(store)
        assert not path.exists()

    def test_sql_an_empty_file_in_its_place_is_not_made_a_store(self, store, path):
        publish(store)
        path.unlink()
        path.touch()
        with pytest.raises(StoreUnavailable, match="is empty"):
            publish(store)
        start_another_process(path)
        assert publish(store).position.seq == 1

    @pytest.mark.parametrize("left_behind", [["store.db-wal", "store.db-shm"], []])
    def test_sql_what_another_process_makes_in_its_place_is_the_new_store(self, store, path, left_behind):
        old = publish(store).position
        for name in {"store.db", "store.db-wal", "store.db-shm"} - set(left_behind):
            (path.parent / name).unlink()
        with pytest.raises(StoreUnavailable):
            publish(store)
        start_another_process(path)
        assert store.read("k=1", None, 1) is None
        new = publish(store).position
        assert (new.seq, new.epoch != old.epoch) == (1, True)
        with other_connection(path) as other:
            assert other.execute("SELECT count(*) FROM entries").get == 1
            assert other.execute("PRAGMA integrity_check").get == "ok"

    def test_sql_another_store_put_in_its_place_is_used(self, store, path, tmp_path):
        """The old one's log, full of commits, is still beside it: it must not be taken for the new one's."""
        with closing(a_store(tmp_path / "other.db")) as other:
            publish(other, "other=1")
        for _ in range(50):
            publish(store)
        os.replace(tmp_path / "other.db", path)
        assert seqs(store, "other=1") == [1]
        assert store.read("k=1", None, 1) is None
        assert publish(store).position.seq == 1
        store.close()
        with other_connection(path) as other:
            assert other.execute("PRAGMA integrity_check").get == "ok"

    def test_sql_a_file_moved_away_and_back_loses_nothing(self, store, path):
        publish(store)
        path.rename(path.with_name("elsewhere"))
        with pytest.raises(StoreUnavailable, match="gone"):
            publish(store)
        path.with_name("elsewhere").rename(path)
        assert publish(store).position.seq == 2
        assert seqs(store) == [1, 2]

    def test_sql_the_new_file_may_be_no_store(self, store, path):
        publish(store)
        path.unlink()
        path.write_text("no store" * 1000)
        with pytest.raises(StoreCorrupt):
            publish(store)

    def test_sql_a_restored_backup_is_told_of_everything_held(self, path):
        """PROTOCOL 18: the token is of a later time than the store."""
        with closing(a_store(path)) as store:
            token = store.join(Instance("id", None, 0), 600).token
            store.add_hooks("id", ["k=1"], 1)
            store.close()
            shutil.copy(path, path.with_name("backup"))
            for _ in range(3):
                token = store.renew("id", 600, token).token
            store.close()
            os.replace(path.with_name("backup"), path)
            publish(store)
            assert set(store.renew("id", 600, token).moved) == {"k=1"}


class TestForks:
    @forking
    def test_sql_what_a_child_acknowledges_outlives_the_parents_close(self, store):
        """SQLite would take the parent's locks for the child's, and the closing parent would drop the log."""
        publish(store)
        closed, close = os.pipe()
        opened, open_ = os.pipe()
        child = os.fork()
        if child == 0:
            publish(store)
            os.write(open_, b".")
            os.read(closed, 1)
            publish(store)
            os._exit(0)
        os.read(opened, 1)
        store.close()
        os.write(close, b".")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert seqs(store) == [1, 2, 3]

    @forking
    def test_sql_forks_while_threads_publish(self, store):
        stop = threading.Event()
        counts = [0, 0]

        def work(number):
            while not stop.is_set():
                publish(store, f"t={number}")
                counts[number] += 1

        threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            child = os.fork()
            if child == 0:
                publish(store, "child=1")
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        stop.set()
        for thread in threads:
            thread.join(10)
        assert [len(seqs(store, f"t={number}")) for number in range(2)] == [min(count, 10_000) for count in counts]
        assert seqs(store, "child=1") == list(range(1, 21))

    @forking
    def test_a_fork_that_never_uses_the_store_leaves_it_alone(self, store):
        publish(store)
        child = os.fork()
        if child == 0:
            store.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert publish(store).position.seq == 2


class TestResources:
    def test_the_files_are_readable_to_their_owner_alone(self, path):
        before = os.umask(0)
        try:
            with closing(a_store(path)) as store:
                publish(store)
                modes = {file.name: oct(file.stat().st_mode & 0o777) for file in path.parent.iterdir()}
        finally:
            os.umask(before)
        assert modes == dict.fromkeys(["store.db", "store.db-wal", "store.db-shm"], "0o600")

    def test_two_hundred_threads_leave_no_connections(self, store):
        publish(store)
        before = open_files()
        for number in range(200):
            thread = threading.Thread(target=publish, args=(store, f"t={number}"))
            thread.start()
            thread.join(10)
        assert open_files() <= before + 3

    def test_closing_ends_connections_and_threads(self, path):
        files_before, threads_before = open_files(), len(os.listdir("/proc/self/task"))
        store = a_store(path)
        write_much(store)
        assert len(os.listdir("/proc/self/task")) == threads_before + 1
        store.close()
        until(lambda: len(os.listdir("/proc/self/task")) == threads_before)
        assert open_files() == files_before

    def test_a_store_that_is_dropped_closes_itself(self, path):
        before = open_files()
        store = a_store(path)
        publish(store)
        del store
        until(lambda: open_files() == before)

    def test_a_long_log_is_moved_into_the_database_meanwhile(self, store, path):
        write_much(store)
        until(lambda: path.stat().st_size > 2_000_000)

    def test_a_log_that_is_always_written_to_does_not_grow_for_ever(self, store, path, monkeypatch):
        publish(store)
        monkeypatch.setattr("skyhooks.backends.sqlite.checkpoints.PASSIVE_PAGES", 50)
        monkeypatch.setattr("skyhooks.backends.sqlite.checkpoints.RESTART_PAGES", 200)
        deadline = time.monotonic() + 20
        while times_restarted(path) < 3:  # without a pause in which a checkpoint could catch up
            assert time.monotonic() < deadline
            publish(store)

    def test_a_network_file_system_is_warned_of_once(self, path, tmp_path, monkeypatch, caplog):
        mounts = tmp_path / "mounts"
        mounts.write_text(f"/dev/vda / ext4 rw 0 0\nhost:/export {tmp_path} nfs4 rw 0 0\n")
        monkeypatch.setattr(files, "_MOUNTS", str(mounts))
        for _ in range(2):
            with closing(a_store(path)) as store:
                publish(store)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "network file system (nfs4)" in caplog.text

    def test_a_local_file_system_is_not_warned_of(self, store, caplog):
        publish(store)
        assert caplog.text == ""


def times_restarted(path):
    """How often the log was begun anew: its header counts it (https://sqlite.org/fileformat2.html#walformat)."""
    with path.with_name("store.db-wal").open("rb") as file:
        return int.from_bytes(file.read(16)[12:], "big")


def write_much(store):
    """Write some six megabytes."""
    for number in range(60):
        store.publish([Publication(f"k={number}", uuid4().hex, "n", b"x" * 100_000, 0.0)])


class TestEpochs:
    def test_sql_another_boot_renews_all_epochs(self, path):
        """PROTOCOL 18: with synchronous=NORMAL a power loss may have rewound what was acknowledged."""
        with closing(a_store(path)) as store:
            before = publish(store).position
        with other_connection(path) as other:
            other.execute("UPDATE meta SET value = 'another boot' WHERE name = 'boot'")
        with closing(a_store(path)) as store:
            after = store.positions(["k=1"])["k=1"]
            assert (after.seq, after.epoch == before.epoch) == (1, False)
            store.close()
            assert store.positions(["k=1"]) == {"k=1": after}

    def test_sql_without_a_boot_id_commits_reach_the_disk(self, path, monkeypatch):
        monkeypatch.setattr(files, "_BOOT_ID", str(path / "none"))
        with closing(a_store(path)) as store:
            before = publish(store).position
            synchronous = store._pools.own.read(lambda db: db.value("PRAGMA synchronous"))
            store.close()
            assert store.positions(["k=1"]) == {"k=1": before}
        assert synchronous == 2

    def test_new_epochs_reach_every_holder_with_its_next_heartbeat(self, store):
        token = store.join(Instance("id", None, 0), 60).token
        store.add_hooks("id", ["k=1", "k=2"], 1)
        store.renew_epochs()
        assert store.renew("id", 60, token).moved == store.positions(["k=1", "k=2"])


class TestReapingInTime:
    """What takes a minute or an hour: the rows are made older."""

    def test_hooks_that_nobody_joined_for_go_after_a_minute(self, store, path):
        store.add_hooks("id", ["k=1", "k=2"], 1)
        with other_connection(path) as other:
            other.execute("UPDATE instances SET since = since - 61")
        assert store.reap() == Reaped(hooks=2)

    def test_records_that_nobody_needs_go_after_a_while(self, store, path):
        store.positions(["idle=1"])
        store.add_hooks("id", ["held=1"], 1)
        before = store.positions(["idle=1", "held=1"])
        age_records(path, 4300)
        assert store.reap() == Reaped(keys=1)
        after = store.positions(["idle=1", "held=1"])
        assert after["held=1"] == before["held=1"]
        assert after["idle=1"] != before["idle=1"]

    def test_a_touch_keeps_a_record(self, store, path):
        head = store.positions(["k=1"])
        age_records(path, 3500)
        assert store.positions(["k=1"]) == head
        age_records(path, 3500)
        assert store.reap() == Reaped()
        assert store.positions(["k=1"]) == head

    def test_a_record_stays_while_its_ids_are_remembered(self, path):
        with closing(a_store(path, "keep_seconds=0&keep_min_seconds=0&dedupe_seconds=20000")) as store:
            store.publish([Publication("k=1", "once", "n", b"{}", 0.0, remember=True)])
            assert store.reap() == Reaped(entries=1)
            age_records(path, 15_000)
            assert store.reap() == Reaped()
            assert publish(store, id="once").position is None
            age_records(path, 30_000)
            assert store.reap() == Reaped(keys=1)
            assert publish(store, id="once").position.seq == 1

    def test_many_hooks_are_removed_in_several_transactions(self, store):
        store.join(Instance("id", None, 0), 60)
        store.add_hooks("id", [f"k={number}" for number in range(5000)], 1)
        store.leave("id")
        assert list(store.hooks()) == []
        assert store.reap().hooks == 3000

    def test_the_memory_of_ids_shrinks_with_new_ones(self, path):
        with closing(a_store(path, "keep=1&keep_min_seconds=0&dedupe_ids=1000")) as store:
            remember(store, 30)
            age_records(path, 4000)
            remember(store, 20)
        with other_connection(path) as other:
            assert other.execute("SELECT count(*) FROM remembered").get == 20


def remember(store, count):
    for _ in range(count):
        store.publish([Publication("k=1", uuid4().hex, "n", b"{}", 0.0, remember=True)])


def age_records(path, seconds):
    with other_connection(path) as other:
        other.execute("UPDATE keys SET touched = touched - ?1, due = due - ?1, oldest = oldest - ?1", (seconds,))
        other.execute("UPDATE remembered SET appended = appended - ?", (seconds,))
