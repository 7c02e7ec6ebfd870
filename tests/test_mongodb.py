"""RELIABILITY section 4, MGO: what servers, networks, forks and people do to the store."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from uuid import uuid4

import pymongo.monitoring
import pytest

from instances import Heard, Instances
from mongodb_server import mortal, server  # noqa: F401 - fixtures
from processes import Proxy, free_port, until
from skyhooks import Notifier, StoreCorrupt, StoreUnavailable
from skyhooks._values import Instance, Position, Publication
from skyhooks.backends.mongodb import MongoDBStore

pytestmark = pytest.mark.external

LIMIT_SECONDS = 3.0
"""Within which a store's trouble is told."""


@pytest.fixture
def url(server):  # noqa: F811 - the fixture
    return server.url()


@pytest.fixture
def store(url):
    with closing(MongoDBStore(url)) as store:
        yield store


def a_publication(key="k=1", id="", nonce="n", data=b"{}", **more):
    return Publication(key, id or uuid4().hex, nonce, data, 0.0, **more)


def publish(store, key="k=1", id="", **more):
    return store.publish([a_publication(key, id, **more)])[0]


def ids(store, key="k=1"):
    """All ids that a log keeps, in order; its places have no hole."""
    page = store.read(key, None, 500)
    found = list(page.entries)
    while found and found[-1].seq < page.head:
        found += store.read(key, Position(page.epoch, found[-1].seq), 500).entries
    assert [entry.seq for entry in found] == list(range(page.floor + 1, page.head + 1))
    return [entry.id for entry in found]


def is_unavailable(operation):
    """Tell whether an operation says so, within the limit."""
    begin = time.monotonic()
    with pytest.raises(StoreUnavailable):
        operation()
    assert time.monotonic() - begin < LIMIT_SECONDS
    return True


def each_operation(store):
    """Use everything that a store has to offer."""
    instance = Instance("a.b$c", "http://127.0.0.1/", 0)
    token = store.join(instance, 60).token
    store.add_hooks(instance.instance_id, ["k=1", "k=2"], 1)
    store.add_hooks(instance.instance_id, ["k=1", "k=2"], 1)
    publish(store, id="once", remember=True)
    publish(store, id="once")
    store.publish([a_publication() for _ in range(10)])
    store.positions(["k=1", "k=3"])
    store.renew(instance.instance_id, 60, token)
    store.read("k=1", None, 10)
    store.targets(["k=1"])
    store.instances()
    list(store.hooks())
    list(store.hooks(["k=1"]))
    store.remove_hooks(instance.instance_id, ["k=1"], 2)
    store.reap()
    store.renew_epochs()
    store.leave(instance.instance_id)
    store.local_address()


class TestKilledServer:
    def test_mgo_what_was_acknowledged_before_a_kill_is_in_the_log_once(self, mortal):  # noqa: F811
        """Four publish 1000 in all, and try again what they were told is unknown; meanwhile the server is killed twice."""
        acknowledged = {}
        with closing(MongoDBStore(mortal.url("keep=5000"))) as store, ThreadPoolExecutor(4) as threads:

            def work(number):
                for name in [f"{number}-{one}" for one in range(250)]:
                    acknowledged[name] = until(partial(attempt, store, name))

            workers = [threads.submit(work, number) for number in range(4)]
            for count in (200, 600):
                until(partial(reached, acknowledged, count))
                mortal.kill()
                mortal.restart()
            for worker in workers:
                worker.result(60)
            log = ids(store)
        assert len(log) == len(set(log)) == 1000
        assert {name: log[seq - 1] for name, seq in acknowledged.items()} == {name: name for name in acknowledged}

    def test_mgo_everyone_hears_everything_once_through_a_restart(self, mortal):  # noqa: F811
        heard, url = [Heard(), Heard()], mortal.url()
        with Instances(url) as instances, Notifier(url) as notifier:
            for one in heard:
                instances.start(one, heartbeat_seconds=0.3)
            for number in range(60):
                if number in (20, 40):
                    mortal.kill()
                    restarting = threading.Timer(1.0, mortal.restart)
                    restarting.start()
                until(partial(notified, notifier, number))
            restarting.join()
            assert [one.wait_for(60) for one in heard] == [list(range(60))] * 2

    def test_mgo_a_server_that_is_gone_is_unavailable_in_time_and_so_is_a_frozen_one(self, mortal):  # noqa: F811
        with closing(MongoDBStore(mortal.url())) as store:
            publish(store)
            mortal.freeze()
            assert is_unavailable(lambda: publish(store))
            mortal.thaw()
            mortal.kill()
            for operation in (lambda: publish(store), lambda: store.join(Instance("i", None, 0), 9), store.instances):
                assert is_unavailable(operation)
            mortal.restart()
            assert until(lambda: attempt(store, "later"))

    def test_mgo_many_callers_at_once_are_told_in_time(self, mortal):  # noqa: F811
        with closing(MongoDBStore(mortal.url())) as store, ThreadPoolExecutor(20) as threads:
            publish(store)
            mortal.kill()
            assert all(threads.map(lambda _: is_unavailable(lambda: publish(store)), range(20)))

    def test_mgo_hooks_are_rewritten_after_the_database_was_dropped(self, server):  # noqa: F811
        """LSE: store wiped while instances run."""
        heard, url = Heard(), server.url()
        with Instances(url) as instances, Notifier(url) as notifier, server.client() as client:
            instances.start(heard, heartbeat_seconds=0.2)
            client.drop_database(url.partition("?")[0].rpartition("/")[2])
            until(lambda: notifier.interest({"account": 42}))
            until(lambda: notifier.notify({"account": 42}, "after").reached)
            assert "after" in heard.wait_for(1)


def reached(collection, count):
    return len(collection) >= count


def attempt(store, name):
    """Publish, and return the place; None where that is unknown."""
    try:
        return publish(store, id=name).position.seq
    except StoreUnavailable:
        return None


def notified(notifier, number):
    try:
        return notifier.notify({"account": 42}, number, id=f"n-{number}")
    except StoreUnavailable:
        return None


class TestLostAnswers:
    @contextmanager
    def behind_proxy(self, server, query=""):  # noqa: F811
        """A store that reaches the server through a proxy, and one beside it."""
        proxy = Proxy()
        direct = server.url(query)
        host = direct.split("/")[2].rpartition("@")[2]
        proxy.target = int(host.rpartition(":")[2])
        url = direct.replace(host, f"127.0.0.1:{proxy.port}")
        with closing(MongoDBStore(url)) as store, closing(MongoDBStore(direct)) as other:
            try:
                yield store, other, proxy
            finally:
                proxy.close()

    def publish_unheard(self, store, proxy, meanwhile=lambda: None, keys=("k=1",)):
        """Publish; the first answer is lost on its way."""
        publications = [a_publication(key, "unheard", "mine") for key in keys]
        seen = proxy.swallowed
        proxy.mode = "deafen"
        with ThreadPoolExecutor(1) as thread:
            answers = thread.submit(store.publish, publications)
            until(lambda: proxy.swallowed > seen)
            meanwhile()
            proxy.mode = "forward"
            return answers.result(LIMIT_SECONDS)

    def test_mgo_a_publish_whose_answer_was_lost_is_appended_once(self, server):  # noqa: F811
        with self.behind_proxy(server) as (store, other, proxy):
            publish(store, id="first")
            [answer] = self.publish_unheard(store, proxy, lambda: until(lambda: "unheard" in ids(other)))
            assert ids(other) == ["first", "unheard"]
            assert (answer.position.seq, answer.duplicate) == (2, False)

    def test_mgo_a_publish_whose_answer_was_lost_is_not_appended_again_though_it_was_trimmed(self, server):  # noqa: F811
        with self.behind_proxy(server, "keep=1&keep_min_seconds=0") as (store, other, proxy):
            publish(store, id="first")

            def trim():
                until(lambda: "unheard" in ids(other))
                publish(other, id="last")

            [answer] = self.publish_unheard(store, proxy, trim)
            assert (answer.position, answer.duplicate, answer.entry) == (None, False, None)
            assert ids(other) == ["last"]

    def test_mgo_many_keys_published_to_unheard_have_it_once_each(self, server):  # noqa: F811
        keys = [f"k={number}" for number in range(30)]
        with self.behind_proxy(server) as (store, other, proxy):
            publish(store, keys[0], id="first")
            arrived = partial(until, lambda: other.read(keys[-1], None, 1))
            answers = self.publish_unheard(store, proxy, arrived, keys)
            assert [answer.position.seq for answer in answers] == [2] + [1] * 29
            assert not any(answer.duplicate for answer in answers)
            assert [ids(other, key) for key in keys] == [["first", "unheard"]] + [["unheard"]] * 29


class TestValues:
    @pytest.mark.parametrize("odd", ['{"$ne": null}', "$where", "a.b.$c", "$", ".", "hooks.x", "größer\u2028"])
    def test_mgo_operators_and_dots_are_literal_text(self, store, server, url, odd):  # noqa: F811
        instance = Instance(odd, None, 0)
        store.join(instance, 60)
        store.add_hooks(odd, [f"k={odd}"], 1)
        publish(store, "k=other", id="another")
        answer = publish(store, f"k={odd}", id=odd, nonce=odd, data=odd.encode())
        assert (answer.position.seq, answer.targets, answer.entry) == (1, (instance,), None)
        assert publish(store, f"k={odd}", id=odd, nonce=odd).entry.data == odd.encode()
        assert store.targets(["k=other"]) == {"k=other": ()}
        with server.client() as client:
            found = client[url.partition("?")[0].rpartition("/")[2]]["skyhooks.keys"].find_one({"_id": f"k={odd}"})
        assert ([entry["i"] for entry in found["log"]], found["holders"]) == ([odd], [odd])

    def test_mgo_ids_that_look_alike_have_hooks_of_their_own(self, store):
        for number, name in enumerate(["61", "a", "x61", "A", "a.b", "612e62"], 1):
            store.join(Instance(name, None, 0), 60)
            store.add_hooks(name, ["k=1"], number)
        for name in ("61", "a.b", "612e62"):
            store.remove_hooks(name, ["k=1"], 9)
        assert {one.instance_id for one in store.targets(["k=1"])["k=1"]} == {"a", "x61", "A"}

    def test_mgo_a_key_made_by_many_at_once_is_one(self, url):
        with closing(MongoDBStore(url)) as store, ThreadPoolExecutor(8) as threads:
            for key in [f"k={number}" for number in range(20)]:
                calls = [partial(place_of_publish, store, key), partial(head, store, key), partial(hook, store, key)]
                found = list(threads.map(lambda call: call(), calls * 3))
                assert len({position.epoch for position in found}) == 1
                assert len(ids(store, key)) == 3


def place_of_publish(store, key):
    return publish(store, key).position


def head(store, key):
    return store.positions([key])[key]


def hook(store, key):
    return store.add_hooks("i", [key], 1)[key]


class Overheard(pymongo.monitoring.CommandListener):
    """What PyMongo sends; it listens to clients that are made while it is on."""

    def __init__(self):
        self.commands = []
        self.servers = set()

    def started(self, event):
        self.commands.append((event.command_name, event.command))
        self.servers.add(event.connection_id)

    def succeeded(self, event):
        """Say nothing."""

    failed = succeeded


@contextmanager
def overhearing():
    listeners = pymongo.monitoring._LISTENERS.command_listeners  # there is no way to take one out again
    overheard = Overheard()
    pymongo.monitoring.register(overheard)
    try:
        yield overheard
    finally:
        listeners.remove(overheard)


URI_OPTIONS = "readPreference=secondaryPreferred&w=0&readConcernLevel=local&journal=false"


class TestWhatIsSent:
    @pytest.fixture
    def commands(self, server, caplog):  # noqa: F811
        caplog.set_level(logging.DEBUG, "pymongo.serverSelection")
        with overhearing() as overheard, closing(MongoDBStore(server.url(URI_OPTIONS))) as store:
            each_operation(store)
            return overheard.commands

    def test_mgo_no_operation_is_sent_that_some_servers_lack(self, commands):
        names = {name for name, _ in commands}
        assert names <= {"find", "getMore", "findAndModify", "update", "delete", "createIndexes"}
        updates = [command["update"] for name, command in commands if name == "findAndModify"]
        updates += [one["u"] for name, command in commands if name == "update" for one in command["updates"]]
        assert len(updates) > 10
        assert not any(isinstance(update, list) for update in updates)

    def test_mgo_what_the_uri_says_of_reads_does_not_move_ours(self, commands, caplog):
        """secondaryPreferred, and a weaker read concern: a catch-up must never see what may be rolled back."""
        finds = [command for name, command in commands if name == "find"]
        assert len(finds) > 10
        assert {command["readConcern"]["level"] for command in finds} == {"majority"}
        chosen = [one.getMessage() for one in caplog.get_records("setup") if one.name == "pymongo.serverSelection"]
        reads = [message for message in chosen if "writable_server_selector" not in message]
        assert len(reads) > 30
        assert all('"selector": "Primary()"' in message for message in reads)

    def test_many_keys_are_published_to_in_two_trips(self, server):  # noqa: F811
        keys = [f"k={number}" for number in range(300)]
        with overhearing() as overheard, closing(MongoDBStore(server.url())) as store:
            publish(store)
            before = len(overheard.commands)
            places = [answer.position.seq for answer in store.publish([a_publication(key) for key in keys])]
        assert [name for name, _ in overheard.commands[before:]] == ["update", "find"]
        assert places == [2 if key == "k=1" else 1 for key in keys]

    def test_much_at_once_is_appended_and_trimmed_in_pieces(self, server):  # noqa: F811
        """A document has room for 16 MB, and a call may bring more."""
        data = b'"' + b"x" * 130_000 + b'"'
        with overhearing() as overheard, closing(MongoDBStore(server.url())) as store:
            answers = store.publish([a_publication(data=data) for _ in range(40)])
            sent = [name for name, _ in overheard.commands if name in ("findAndModify", "update")]
            assert store.read("k=1", None, 1).floor == 40 - 8
        assert [answer.position.seq for answer in answers] == list(range(1, 41))
        assert sent[1:] == ["findAndModify", "update"] * 5  # the first makes the store

    def test_mgo_every_write_waits_for_a_majority_and_the_journal(self, commands):
        writes = [command for name, command in commands if name in ("findAndModify", "update", "delete")]
        assert len(writes) > 10
        assert all(command["writeConcern"] == {"w": "majority", "j": True} for command in writes)


class TestProcessesAndThreads:
    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    def test_mgo_fifty_forks_amid_operations_do_not_deadlock(self, store):
        stop = threading.Event()

        def work(number):
            while not stop.is_set():
                publish(store, f"k={number}")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        try:
            codes = [fork_and_publish(store, number) for number in range(50)]
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert codes == [0] * 50
        assert sorted(ids(store, "forked=1")) == sorted(f"child-{number}" for number in range(50))

    def test_closing_amid_operations_is_at_worst_unavailable(self, store):
        with ThreadPoolExecutor(4) as threads:
            names = [f"n-{number}" for number in range(100)]
            done = [threads.submit(attempt, store, name) for name in names]
            for place in (20, 40, 60):
                done[place].result()
                store.close()
            acknowledged = {name for name, one in zip(names, done, strict=True) if one.result()}
        assert acknowledged <= set(ids(store)) <= set(names)
        assert len(acknowledged) > 50

    def test_a_store_that_is_dropped_leaves_no_threads(self, url):
        before = set(threading.enumerate())
        store = MongoDBStore(url)
        publish(store)
        its = set(threading.enumerate()) - before
        assert its
        del store
        until(lambda: not any(thread.is_alive() for thread in its))


def fork_and_publish(store, number):
    """Publish in a forked child, and return how it ended; it has ten seconds."""
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            publish(store, "forked=1", id=f"child-{number}")
            os._exit(0)
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


PASSWORD, PAYLOAD, SIGNING_KEY = "hunter2", "a payload", b"a key of an instance" * 2


class TestCredentials:
    @contextmanager
    def nothing_told(self, caplog):
        """Whatever is raised or logged within holds no credentials, no payload and no key."""
        with caplog.at_level(logging.DEBUG):
            try:
                yield
            except StoreUnavailable as error:
                told = "".join(traceback.format_exception(error))
            else:
                told = ""
        for secret in (PASSWORD, PAYLOAD, "a key of"):
            assert secret not in told + caplog.text
        assert not [record for record in caplog.records if record.name == "pymongo.command"]

    def test_mgo_credentials_are_not_shown_when_nobody_answers(self, caplog):
        store = MongoDBStore(f"mongodb://us%40er:{PASSWORD}@127.0.0.1:{free_port()}/x?authSource=admin")
        assert repr(store).startswith("MongoDBStore('mongodb://127.0.0.1:")
        with self.nothing_told(caplog), closing(store):
            publish(store, data=PAYLOAD.encode())

    def test_mgo_credentials_are_not_shown_when_the_server_refuses_them(self, server, caplog):  # noqa: F811
        host = server.base.split("/")[2].rpartition("@")[2]
        with self.nothing_told(caplog), closing(MongoDBStore(f"mongodb://user:{PASSWORD}@{host}/x")) as store:
            is_unavailable(lambda: publish(store))
            publish(store)

    def test_mgo_no_payload_and_no_key_is_logged(self, store, caplog):
        with self.nothing_told(caplog):
            store.join(Instance("i", "http://127.0.0.1/", 0, signing_key=SIGNING_KEY), 60)
            store.add_hooks("i", ["k=1"], 1)
            publish(store, data=PAYLOAD.encode())
            publish(store, id="twice", data=PAYLOAD.encode())
            publish(store, id="twice", data=PAYLOAD.encode())
            store.read("k=1", None, 10)


class TestTheStoreItself:
    def database(self, server, url):  # noqa: F811
        return server.client(), url.partition("?")[0].rpartition("/")[2]

    def test_the_retention_is_kept_in_the_store_and_obeyed_by_all(self, server):  # noqa: F811
        url = server.url("keep=3&keep_min_seconds=0&dedupe_ids=7")
        with closing(MongoDBStore(url)) as maker, closing(MongoDBStore(url.partition("?")[0])) as other:
            publish(maker, id="0")
            for number in range(1, 9):
                publish(other, id=str(number))
            assert ids(other) == ["6", "7", "8"]
            client, name = self.database(server, url)
            with client:
                kept = client[name]["skyhooks.meta"].find_one({"_id": "store"})["retention"]
            assert (kept["keep"], kept["keep_min_seconds"], kept["dedupe_ids"], kept["keep_seconds"]) == (3, 0, 7, 300)

    def test_a_retention_that_was_changed_in_the_shell_is_obeyed(self, server, url, store):  # noqa: F811
        publish(store)
        client, name = self.database(server, url)
        with client, closing(MongoDBStore(url)) as newcomer:
            changed = {"$set": {"retention.keep": 2.0, "retention.keep_min_seconds": 0.0}}
            client[name]["skyhooks.meta"].update_one({"_id": "store"}, changed)
            for number in range(5):
                publish(newcomer, id=str(number))
            assert ids(newcomer) == ["3", "4"]

    def test_joining_after_a_drop_makes_the_store_anew(self, server, url, store):  # noqa: F811
        client, name = self.database(server, url)
        with client:
            store.join(Instance("i", "http://127.0.0.1/", 0), 60)
            client.drop_database(name)
            store.join(Instance("j", "http://127.0.0.1/", 0), 60)
            assert client[name]["skyhooks.instances"].index_information()["url_1"]["unique"]
            assert client[name]["skyhooks.meta"].find_one({"_id": "store"})["version"] == 1

    def test_a_newer_stores_version_is_refused(self, server, url):  # noqa: F811
        client, name = self.database(server, url)
        with client, closing(MongoDBStore(url)) as store:
            client[name]["skyhooks.meta"].insert_one({"_id": "store", "version": 2, "retention": {}})
            with pytest.raises(StoreCorrupt, match=r"newer skyhooks \(version 2, this one knows 1\); upgrade"):
                publish(store)

    @pytest.mark.parametrize("strange", [{}, {"epoch": 1, "seq": 0}, {"epoch": "e", "seq": "1", "floor": 0}])
    def test_a_document_of_somebody_else_is_corrupt(self, server, url, store, strange):  # noqa: F811
        client, name = self.database(server, url)
        with client:
            client[name]["skyhooks.keys"].insert_one({"_id": "k=1", **strange})
        with pytest.raises(StoreCorrupt, match="that skyhooks did not write"):
            store.read("k=1", None, 1)

    def test_it_says_that_gevent_need_not_fear_it(self):
        assert MongoDBStore.cooperative

    def test_a_server_on_this_machine_is_reached_on_loopback(self, store):
        publish(store)
        assert store.local_address() is None
