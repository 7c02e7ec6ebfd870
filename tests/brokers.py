"""The brokers of the tests: redis-server and RabbitMQ, started on free ports in folders of their own, and ended."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import amqp
import pytest

from processes import free_port

START_SECONDS = 60.0
STOP_SECONDS = 30.0


class Broker:
    """A server process; it answers when `start` has returned."""

    process = None

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()

    def start(self):
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=self.environment(),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, f"no answer within {START_SECONDS} s"
            time.sleep(0.05)

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(STOP_SECONDS)

    def environment(self):
        return {**os.environ, "HOME": str(self.folder)}


class Redis(Broker):
    binary = "redis-server"

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self):
        return [self.binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]

    def answers(self):
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as sock:
            sock.sendall(b"PING\r\n")
            return sock.recv(16) == b"+PONG\r\n"
        return False


class RabbitMQ(Broker):
    """A node of its own, with a port mapper of its own, so that neither knows nor leaves anything on this machine."""

    binary = "rabbitmq-server"
    mapper = None

    @property
    def url(self):
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self):
        self.mapper_port = free_port()
        self.mapper = subprocess.Popen(["epmd", "-port", str(self.mapper_port), "-address", "127.0.0.1"])
        super().start()

    def stop(self):
        super().stop()
        if self.mapper is not None:
            self.mapper.kill()
            self.mapper.wait(STOP_SECONDS)

    def command(self):
        debian = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # what is on PATH there changes the user
        return [str(debian) if debian.exists() else self.binary]

    def environment(self):
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.default = 127.0.0.1:{self.port}\nlog.console = true\ndisk_free_limit.absolute = 1MB\n"
        )
        (self.folder / "plugins").write_text("[].\n")
        return {
            **super().environment(),
            "ERL_EPMD_PORT": str(self.mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"skyhooks{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder),
            "RUNNING_UNDER_SYSTEMD": "true",  # the script then becomes the server, which has its id
        }

    def answers(self):
        with (
            suppress(OSError, amqp.AMQPError),
            closing(amqp.Connection(f"127.0.0.1:{self.port}", connect_timeout=1)) as one,
        ):
            one.connect()
            return True
        return False


@contextmanager
def running(kind, folder):
    """Start a broker and end it; skip where there is none, which in CI is a failure."""
    if shutil.which(kind.binary) is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no {kind.binary} on PATH")
    with ExitStack() as stack:
        broker = kind(folder)
        stack.callback(broker.stop)
        broker.start()
        yield broker


@pytest.fixture(scope="session")
def redis(tmp_path_factory):
    with running(Redis, tmp_path_factory.mktemp("redis")) as broker:
        yield broker


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory):
    with running(RabbitMQ, tmp_path_factory.mktemp("rabbitmq")) as broker:
        yield broker
