"""Real processes for the tests that kill: started, told, listened to, killed."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

SECONDS = 30.0
"""How long anything is waited for: a machine may be busy."""
HERE = Path(__file__).parent


def until(condition, seconds=SECONDS):
    """Wait until it is so, and return what the condition then says."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.005)
    return found


class Process:
    """A script of ours as a process; `events` is what it has said so far."""

    def __init__(self, script, **arguments):
        self.events = []
        self._said = threading.Condition()
        self._popen = subprocess.Popen(
            [sys.executable, "-W", "error", str(HERE / script), json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def pid(self):
        return self._popen.pid

    def tell(self, do, **details):
        self._popen.stdin.write(json.dumps({"do": do, **details}) + "\n")
        self._popen.stdin.flush()

    def ask(self, do, answer, **details):
        """Tell it something, and return what it answers."""
        before = len(self.of(answer))
        self.tell(do, **details)
        return self.wait(lambda: self.of(answer)[before:])[0]

    def of(self, event):
        return [one for one in self.events if one["event"] == event]

    def take(self, event):
        """Return what it has said of this, and forget all that it has said."""
        with self._said:
            said = self.of(event)
            self.events.clear()
        return said

    def wait(self, condition, seconds=SECONDS):
        """Wait until what it says makes the condition true, and return what the condition says."""
        with self._said:
            assert self._said.wait_for(condition, seconds), f"not so within {seconds} s: {self.events[-20:]}"
            return condition()

    def signal(self, number):
        self._popen.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.wait_for_end()

    def wait_for_end(self, seconds=SECONDS):
        code = self._popen.wait(seconds)
        self._listener.join(seconds)
        return code

    def end(self):
        if self._popen.poll() is None:
            self.signal(signal.SIGCONT)
            self.kill()
        self._listener.join(SECONDS)
        self._popen.stdin.close()
        self._popen.stdout.close()

    def _listen(self):
        for line in self._popen.stdout:
            with self._said:
                self.events.append(json.loads(line))
                self._said.notify_all()


FRAMEWORKS = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("tornado", "gevent", "twisted")]
"""The cases of a test that is run for a web process of each framework."""


class Web(Process):
    """A web process; it has started, and its registrations stand, when this returns."""

    def __init__(self, store, register=(), *, framework="tornado", wait=True, **options):
        keys = register if isinstance(register, dict) else {name: {"account": 42} for name in register}
        options = {"heartbeat_seconds": 0.5, "lease_seconds": 2.0, **options}
        super().__init__(f"web_{framework}.py", store=store, options=options, register=keys)
        if wait:
            self.wait_for_start()

    def wait_for_start(self):
        (started,) = self.wait(lambda: self.of("started"))
        self.url, self.instance_id, self.port = started["url"], started["instance_id"], started["port"]

    def register(self, name, since=None):
        self.ask("register", "registered", name=name, keys={"account": 42}, since=since)

    def data(self, name):
        """What a callback was called with, in order."""
        return [one["data"] for one in self.of("n") if one["name"] == name]

    def wait_for_data(self, name, data, seconds=SECONDS):
        self.wait(lambda: len(self.data(name)) >= len(data), seconds)
        assert self.data(name) == data


class Job(Process):
    """A job process; `items` are (data, options of notify)."""

    def __init__(self, store, items, *, kind="blocking", die_at=None, **options):
        full = [({"account": 42}, data, more) for data, more in items]
        more = {"die_at": die_at} if die_at else {}
        super().__init__(f"job_{kind}.py", store=store, items=full, options=options, **more)

    @property
    def receipts(self):
        return self.of("receipt")


def run_job(store, items, **options):
    """Run a job to its end, and return its receipts."""
    job = Job(store, items, **options)
    try:
        assert job.wait_for_end() == 0
        return job.receipts
    finally:
        job.end()


class Browser:
    """Reads an EventSource of a web process, and comes back with what it read last."""

    def __init__(self):
        self.messages = []
        self.cursor = None

    def read(self, port, count):
        """Connect, read until there are so many messages in all, and go away."""
        with socket.create_connection(("127.0.0.1", port), SECONDS) as sock, sock.makefile("r") as stream:
            resume = f"last-event-id: {self.cursor}\r\n" if self.cursor else ""
            sock.sendall(f"GET /events/42 HTTP/1.1\r\nhost: a\r\n{resume}\r\n".encode())
            while len(self.messages) < count:
                self._take(stream.readline())

    def _take(self, line):
        name, _, value = line.rstrip("\n").partition(": ")
        if name == "id":
            self.cursor = value
        elif name == "data":
            self.messages.append(json.loads(value))


class Proxy:
    """Stands between jobs and an instance; `mode` says what it does with what comes.

    `forward`: hands it on, both ways. `swallow`: reads it, and says nothing. `deafen`: hands it on, and hangs up when the
    answer comes.
    """

    def __init__(self):
        self.mode = "forward"
        self.swallowed = 0
        self.target = 0
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self._sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()

    def cut(self):
        """Cut all connections that stand, so that the next request opens one in the mode of now."""
        for sock in self._sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def _accept(self):
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            self._sockets.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with sock, socket.create_connection(("127.0.0.1", self.target)) as inner:
            self._sockets.append(inner)
            back = threading.Thread(target=self._pump, args=(inner, sock, "deafen"), daemon=True)
            back.start()
            self._pump(sock, inner, "swallow")
            back.join(SECONDS)

    def _pump(self, source, sink, losing):
        with suppress(OSError):  # a reset is an end as well
            while data := source.recv(65_536):
                if self.mode != losing:
                    sink.sendall(data)
                    continue
                self.swallowed += 1
                if losing == "deafen":
                    break
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]
