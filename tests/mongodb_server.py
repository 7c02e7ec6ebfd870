"""The MongoDB of the tests: one that is named, a mongod on PATH, or mongo-java-server; ours are started and killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from mongodb_build import build, is_built
from processes import free_port, until

VARIABLE = "SKYHOOKS_TEST_MONGODB"
START_SECONDS = 60.0


class Server:
    """A server somewhere; each test has databases of its own on it."""

    def __init__(self, base):
        self.base = base
        self._databases = []

    def url(self, query=""):
        """Name a store that does not exist yet."""
        self._databases.append(f"test-{uuid4().hex}")
        return self.url_of(self._databases[-1], query)

    def url_of(self, database, query=""):
        parts = urlsplit(self.base)
        options = "&".join(filter(None, (parts.query, query)))
        return f"{parts.scheme}://{parts.netloc}/{database}?{options}"

    def client(self):
        """Connect without skyhooks."""
        return MongoClient(self.base, serverSelectionTimeoutMS=int(START_SECONDS * 1000), tz_aware=True)

    def version(self):
        with self.client() as client:
            return client.server_info()["version"]

    def clean(self):
        with self.client() as client:
            for database in self._databases:
                client.drop_database(database)


class OwnServer(Server):
    """A server that we start, on a port and files that it keeps; it may be killed."""

    def __init__(self, folder):
        self.port = free_port()
        super().__init__(f"mongodb://127.0.0.1:{self.port}/")
        self._folder = folder
        self._process = None

    def start(self):
        self._process = self._spawn()
        self._wait()

    def kill(self):
        """Kill it as a power cut does; it is gone when this returns."""
        self._process.kill()
        self._reap()

    def freeze(self):
        """Stop it where it is; all its threads stand when this returns."""
        self._process.send_signal(signal.SIGSTOP)
        until(self._stands)

    def thaw(self):
        self._process.send_signal(signal.SIGCONT)

    def _stands(self):
        tasks = Path(f"/proc/{self._process.pid}/task").iterdir()
        return all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T" for task in tasks)

    def restart(self):
        """Start it again on the same port and files."""
        self.start()

    def stop(self):
        if self._process is not None:
            self.kill()

    def _reap(self):
        self._process.wait(START_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process = None

    def _spawn(self):
        raise NotImplementedError

    def _wait(self):
        raise NotImplementedError


class JavaServer(OwnServer):
    """mongo-java-server: no replica sets and no sessions, but the wire protocol, and files."""

    kind = "mongo-java-server 1.47.0"

    def _spawn(self):
        home = build()
        command = ["java", "-XX:+UseSerialGC", "-Xmx1g"]
        command += ["-cp", f"{home}/server.jar:{home}/lib/*", "TestServer"]
        command += [str(self._folder / "store.mv"), str(self.port)]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=self._folder
        )

    def _wait(self):
        assert self._process.stdout.readline() == b"ready\n", "mongo-java-server did not start"


class Mongod(OwnServer):
    """A mongod of the machine's, on its own or as a member of a replica set."""

    kind = "mongod"

    def __init__(self, folder, *options):
        super().__init__(folder)
        self._options = options

    def _spawn(self):
        command = ["mongod", "--dbpath", str(self._folder), "--port", str(self.port), "--bind_ip", "127.0.0.1"]
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen([*command, *self._options], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _wait(self):
        with MongoClient(
            self.base, directConnection=True, serverSelectionTimeoutMS=int(START_SECONDS * 1000)
        ) as client:
            client.admin.command("ping")


class ReplicaSet(Server):
    """Three members of ours."""

    kind = "mongod"
    NAME = "skyhooks"

    def __init__(self, folders):
        self.members = [Mongod(folder, "--replSet", self.NAME) for folder in folders]
        hosts = ",".join(f"127.0.0.1:{member.port}" for member in self.members)
        super().__init__(f"mongodb://{hosts}/?replicaSet={self.NAME}")

    def start(self):
        for member in self.members:
            member.start()
        hosts = [{"_id": place, "host": f"127.0.0.1:{one.port}"} for place, one in enumerate(self.members)]
        settings = {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500}
        with MongoClient(self.members[0].base, directConnection=True) as client:
            client.admin.command("replSetInitiate", {"_id": self.NAME, "members": hosts, "settings": settings})
        self.primary()

    def primary(self):
        """Wait for the primary, and return it."""
        deadline = time.monotonic() + START_SECONDS
        with self.client() as client:
            while (found := client.primary) is None:
                assert time.monotonic() < deadline, "no member was elected"
                ping(client)
        return next(member for member in self.members if member.port == found[1])

    def stop(self):
        for member in self.members:
            member.stop()


def ping(client):
    try:
        client.admin.command("ping")
    except PyMongoError:
        time.sleep(0.05)


@contextmanager
def running(server):
    """Start a server of ours, and end it."""
    with ExitStack() as stack:
        stack.callback(server.stop)
        server.start()
        yield server


@contextmanager
def any_server(folder):
    """Give the server that there is; skip where there is none, which in CI is a failure."""
    if os.environ.get(VARIABLE):
        server = Server(os.environ[VARIABLE])
        server.kind = "the server named"
        yield server
        server.clean()
    else:
        with own_server(folder) as server:
            yield server


@contextmanager
def own_server(folder):
    """Give a server that may be killed, however others are named."""
    if shutil.which("mongod"):
        make = Mongod
    elif shutil.which("java") and (is_built() or shutil.which("mvn")):
        make = JavaServer
    else:
        missing(f"no MongoDB: set ${VARIABLE}, or install mongod, or Java 17 and Maven")
    with running(make(folder)) as server:
        yield server


@contextmanager
def replica_set(folder):
    """Give a replica set of three."""
    if not shutil.which("mongod"):
        pytest.skip("no mongod on PATH: replica sets and elections are not tested")
    folders = [folder / str(number) for number in range(3)]
    for one in folders:
        one.mkdir()
    with running(ReplicaSet(folders)) as server:
        yield server


def missing(reason):
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server for the tests of one module."""
    with any_server(tmp_path_factory.mktemp("mongodb")) as server:
        yield server


@pytest.fixture
def mortal(tmp_path):
    """A server for one test, which may kill it."""
    with own_server(tmp_path) as server:
        yield server


@pytest.fixture
def three(tmp_path):
    """A replica set for one test, which may kill its members."""
    with replica_set(tmp_path) as server:
        yield server
