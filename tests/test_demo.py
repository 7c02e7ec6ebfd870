"""The demo, run as a process: with its page driven over HTTP, and once, checking itself."""
# ruff: noqa: F401, F811 - fixtures are imported, and asked for by their names

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import io
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from commands import LIMIT_SECONDS, begin, lines, run
from demo_page import WebTests, assert_nothing_is_left, processes_of, room, serving, wait_until
from skyhooks._stores import open_store
from skyhooks.cli.output import Bar, cut, style, width
from skyhooks.demo import check as demo_check
from skyhooks.demo import cluster, files, processes
from skyhooks.demo.check import Check, Result, Verdict, judge
from skyhooks.demo.clients import read_events, read_polls
from skyhooks.demo.cluster import Cluster
from skyhooks.demo.command import _fault, _praise
from skyhooks.demo.frameworks import INSTALL, WANTED, choose, notice
from skyhooks.demo.orders import JobReport, WebOrder
from skyhooks.demo.processes import ProcessFailed
from skyhooks.demo.reader import Reader
from skyhooks.demo.store import Log
from skyhooks.demo.web import listening_socket
from skyhooks.demo.wire import Wire


@pytest.fixture
def work(tmp_path):
    """Some files of all kinds to read."""
    place = tmp_path / "files"
    (place / "sub").mkdir(parents=True)
    for number in range(40):
        (place / "sub" / f"{number:02}.txt").write_text("a few words\n" * number, encoding="utf-8")
    Path(os.fsdecode(bytes(place) + b"/name-\xff")).write_bytes(b"\x00\xff no text")
    os.mkfifo(place / "pipe")
    (place / "gone").symlink_to("nowhere")
    return place


# -- once -----------------------------------------------------------------------------------------


def test_once_kills_each_process_in_turn_and_everybody_gets_everything(room):
    done = run("demo", "--once", "--json", "--seconds", "2", TMPDIR=str(room))
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = lines(done.stdout)
    assert (result["ok"], result["notifications"], result["trimmed"]) == (True, 402, 0)
    verdicts = result["verdicts"]
    assert [(one["process"], one["killed_after"], one["resumed"]) for one in verdicts] == [
        ("A", 101, True),
        ("B", 201, True),
        ("C", 302, True),
    ]
    assert [(one["received"], one["duplicates"], one["gaps"]) for one in verdicts] == [(402, 0, 0)] * 3
    for name in "ABC":
        assert f"killed process {name} (" in done.stderr
        assert f"started process {name} anew" in done.stderr
    assert_nothing_is_left(room)


def test_once_shows_people_a_table_and_a_verdict(room, work):
    done = run("demo", "--once", "--seconds", "1", work, TMPDIR=str(room))
    assert done.returncode == 0, done.stdout + done.stderr
    headers, a, _, _, verdict = done.stdout.splitlines()
    assert headers.split()[:6] == ["PROCESS", "FRAMEWORK", "TRANSPORT", "KILLED", "AFTER", "RECEIVED"]
    assert a.split()[:5] == ["A", choose()[0], "EventSource", "11", "43"]
    assert verdict.startswith("ok: each process was killed, and its reader went on where it was")
    assert verdict.endswith("all 43 notifications of the log, once and in order")


def test_the_smallest_job_is_long_enough_to_kill_everybody(room):
    done = run("demo", "--once", "--json", "--files", "1", "--seconds", "0.1", TMPDIR=str(room))
    assert done.returncode == 0, done.stdout + done.stderr
    assert [one["killed_after"] for one in lines(done.stdout)[0]["verdicts"]] == [1, 2, 2]


# -- on a store that was given ---------------------------------------------------------------------


def test_a_given_store_keeps_the_log_and_no_hook(room, tmp_path):
    url = f"sqlite:///{tmp_path}/given.db"
    done = run("demo", "--once", "--json", "--files", "40", "--seconds", "1", "--store", url, TMPDIR=str(room))
    assert done.returncode == 0, done.stdout + done.stderr
    store = open_store(url)
    assert store.instances() == []
    assert store.reap().hooks == 0
    store.close()
    assert_nothing_is_left(room)


def test_a_store_that_keeps_too_little_is_named_as_the_cause(room, tmp_path):
    url = f"sqlite:///{tmp_path}/small.db?keep_bytes=4096"
    done = run("demo", "--once", "--files", "80", "--seconds", "1", "--store", url, TMPDIR=str(room))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "of which the store keeps only the last" in done.stdout
    assert_nothing_is_left(room)


@pytest.mark.parametrize(
    ("url", "status", "part"),
    [
        ("sqlite:////nowhere/at/all/x.db", 3, "/nowhere/at/all"),
        ("memory://demo", 2, "lives within one process"),
        ("redis://localhost", 2, "redis"),
    ],
)
@pytest.mark.parametrize("words", [["--once"], []])
def test_a_store_that_cannot_be_used_is_one_line(url, status, part, words, room):
    done = run("demo", *words, "--store", url, TMPDIR=str(room))
    assert (done.returncode, done.stdout) == (status, "")
    assert part in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert_nothing_is_left(room)


def test_nobody_sees_the_store_in_the_list_of_processes(room, tmp_path):
    with serving(room, "--store", f"sqlite:///{tmp_path}/secret.db") as page:
        commands = [Path(f"/proc/{page.process(name)['pid']}/cmdline").read_bytes() for name in "ABC"]
        assert not any(b"secret.db" in command for command in commands)


# -- the frameworks --------------------------------------------------------------------------------


def test_plain_asyncio_takes_the_place_of_what_is_not_installed(monkeypatch):
    for name in WANTED:
        monkeypatch.setitem(sys.modules, name, None)
    assert choose() == ["asyncio"] * 3
    assert "not installed: tornado, gevent and twisted; plain asyncio" in notice()
    assert INSTALL in notice()


def test_the_page_says_what_is_not_installed(room):
    with serving(room) as page:
        assert page.state["notice"] == notice()
        assert [one["framework"] for one in page.state["processes"]] == choose()


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["/nope"], "/nope: No such file"),
        (["pipe"], "neither a file nor a directory"),
        (["empty"], "there are no files in empty"),
        (["--once", "--port", "8000"], "--once shows no page"),
        (["--json"], "--json goes with --once"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_starts(words, part, tmp_path, room):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").mkdir()
    done = run("demo", *words, cwd=tmp_path, TMPDIR=str(room))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert part in done.stderr
    assert_nothing_is_left(room)


@pytest.mark.parametrize("port", ["own", "next"])
def test_a_port_that_is_taken_is_trouble_and_leaves_nothing(port, room):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1] - (port == "next")
        done = run("demo", "--port", number, TMPDIR=str(room))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert "give another --port" in done.stderr
    assert_nothing_is_left(room)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
@pytest.mark.parametrize("words", [["--once"], []])
def test_a_signal_leaves_neither_process_nor_file(words, number, status, room):
    with begin("demo", *words, TMPDIR=str(room)) as process:
        wait_until(lambda: len(processes_of(room)) >= 3)
        process.send_signal(number)
        process.send_signal(number)
        assert process.wait(LIMIT_SECONDS) == status, process.stderr.read()
        assert "Traceback" not in process.stderr.read()
    assert_nothing_is_left(room)


def test_a_parent_that_is_killed_leaves_neither_process_nor_file(room):
    with begin("demo", TMPDIR=str(room)) as process:
        assert process.stdout.readline().startswith("http://")
        assert len(processes_of(room)) == 3
        process.kill()
    wait_until(lambda: not processes_of(room))
    assert_nothing_is_left(room)


# -- the page -------------------------------------------------------------------------------------


class Pane:
    """An EventSource: goes on with the last event's id whenever the connection ends."""

    def __init__(self, page, name, until):
        self.name = name
        self.port = page.process(name)["port"]
        self.told, self.connections, self.half = [], 0, threading.Event()
        self._cursor = None
        self._until = until
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def join(self):
        self._thread.join(LIMIT_SECONDS)
        assert not self._thread.is_alive(), f"{self.name} got {len(self.told)}"

    def _read(self):
        deadline = time.monotonic() + LIMIT_SECONDS
        while not self._ended and time.monotonic() < deadline:
            try:
                self._read_on()
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)

    @property
    def _ended(self):
        return self.told and (self.told[-1]["job"], self.told[-1]["kind"]) == (self._until, "summary")

    def _read_on(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_SECONDS)
        connection.request(
            "GET", "/events?since=start", headers={"Last-Event-ID": self._cursor} if self._cursor else {}
        )
        answer = connection.getresponse()
        assert answer.status == 200
        event = {}
        while not self._ended and (line := answer.readline().decode()):
            name, _, value = line.rstrip("\n").partition(": ")
            event[name] = value
            if name:
                continue
            if "data" in event:  # else a comment
                self._take(event)
            event = {}
        connection.close()

    def _take(self, event):
        data = json.loads(event["data"])
        self._cursor = event["id"]
        if event.get("event") == "hello":
            self.connections += 1
        else:
            assert "event" not in event
            self.told.append(data)
            if data["index"] * 2 >= data["files"]:
                self.half.set()


def test_a_pane_carries_on_without_a_gap_when_its_process_is_killed(room, work):
    with serving(room, "--seconds", "2", work) as page:
        panes = [Pane(page, name, until=1) for name in "ABC"]
        before = page.process("B")
        assert page.ask("POST", "/job")[0] == 202
        assert page.ask("POST", "/job")[0] == 409
        assert panes[1].half.wait(LIMIT_SECONDS)
        assert page.ask("POST", "/start?process=B")[0] == 409
        assert page.ask("POST", "/kill?process=B")[0] == 202
        wait_until(lambda: page.process("B")["pid"] is None)
        assert page.ask("POST", "/kill?process=B")[0] == 409
        assert page.ask("POST", "/cut?process=B")[0] == 409
        assert page.ask("POST", "/start?process=B")[0] == 202
        assert page.ask("POST", "/start?process=B")[0] == 409
        for pane in panes:
            pane.join()
        after = page.process("B")
    assert [pane.connections for pane in panes] == [1, 2, 1]
    assert (before["port"] == after["port"], before["pid"] == after["pid"]) == (True, False)
    for pane in panes:
        assert [one["index"] for one in pane.told] == list(range(43))


def test_a_pane_carries_on_without_a_gap_when_its_connection_is_cut(room, work):
    with serving(room, "--seconds", "2", work) as page:
        panes = [Pane(page, name, until=1) for name in "AB"]
        before = page.process("A")
        page.ask("POST", "/job")
        assert panes[0].half.wait(LIMIT_SECONDS)
        assert page.ask("POST", "/cut?process=A")[0] == 202
        assert page.process("A")["cut"]
        assert page.ask("POST", "/cut?process=A")[0] == 409
        with pytest.raises((OSError, http.client.HTTPException)):
            page.ask("GET", "/poll?timeout=0", port=before["port"])
        for pane in panes:
            pane.join()
        after = page.process("A")
    assert (before["pid"], after["cut"]) == (after["pid"], False)
    assert [pane.connections > 1 for pane in panes] == [True, False]
    for pane in panes:
        assert [one["index"] for one in pane.told] == list(range(43))


def test_a_job_tells_what_is_in_the_files(room, work):
    with serving(room, "--seconds", "0.1", "--files", "41", work) as page:
        page.ask("POST", "/job")
        pane = Pane(page, "A", until=1)
        pane.join()
        wait_until(lambda: page.state["report"] is not None)
        state = page.state
    started, *middle, summary = pane.told
    content = {one["path"]: one for one in middle}
    assert started["kind"] == "started"
    assert set(content) == {"name-\ufffd", *(f"sub/{number:02}.txt" for number in range(40))}
    assert content["sub/07.txt"]["words"] == 21
    assert content["sub/07.txt"]["sha256"] == hashlib.sha256(b"a few words\n" * 7).hexdigest()
    assert summary["lines"] == sum(range(40))
    assert (summary["files"], summary["unreadable"]) == (41, 0)
    assert (state["report"]["notifications"], state["report"]["failed"]) == (43, 0)


def test_who_comes_late_gets_all_jobs_from_the_log(room, work):
    with serving(room, "--seconds", "0.1", work) as page:
        for number in (1, 2):
            assert page.ask("POST", "/job")[0] == 202
            wait_until(lambda number=number: page.state["job"] == number and not page.state["job_is_running"])
        pane = Pane(page, "C", until=2)
        pane.join()
    assert [(one["job"], one["index"]) for one in pane.told] == [(job, index) for job in (1, 2) for index in range(43)]


def test_what_cannot_be_done_is_told_on_the_page(room):
    with serving(room) as page:
        for place in room.iterdir():
            shutil.rmtree(place)  # as something does that tidies up
        page.ask("POST", "/job")
        wait_until(lambda: page.state["trouble"])
        assert (page.state["failed_jobs"], page.state["job_is_running"]) == ([1], False)


@pytest.mark.parametrize("said", [b"HTTP/1.1 503 Service Unavailable\r\n\r\n", b"HTTP/1.1 200"])
@pytest.mark.parametrize("read", [read_events, read_polls])
def test_a_client_that_is_not_answered_well_says_so(said, read):
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()

    async def body():
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            with pytest.raises(ConnectionError, match=r"503|early"):
                await anext(read("127.0.0.1", server.sockets[0].getsockname()[1], "start"))

    asyncio.run(body())


def test_a_process_whose_port_somebody_else_has_cannot_listen():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        order = WebOrder("", {}, "A", "127.0.0.1", taken.getsockname()[1], [])
        with pytest.raises(OSError, match="in use"):
            listening_socket(order)


async def echo(reader, writer):
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(100):
            writer.write(piece)
    writer.close()


@pytest.mark.parametrize("turns", range(5))
def test_a_connection_that_is_being_made_is_cut_too(turns):
    async def body():
        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            wire = Wire(server.sockets[0].getsockname()[1])
            await wire.start(0)
            reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
            writer.write(b"x")
            for _ in range(turns):
                await asyncio.sleep(0)
            cutting = asyncio.create_task(wire.cut(0.2))
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 5) == b""
            await cutting
            writer.close()
            await wire.close()

    asyncio.run(body())


def test_a_process_that_dies_by_itself_can_be_started_again(room):
    with serving(room) as page:
        os.kill(page.process("A")["pid"], signal.SIGKILL)
        wait_until(lambda: page.process("A")["pid"] is None)
        assert page.process("A")["starting"] is False
        page.ask("POST", "/start?process=A")
        wait_until(lambda: page.process("A")["pid"] is not None and not page.process("A")["starting"])


def test_the_page_is_served_to_its_own_browser_only(room):
    with serving(room) as page:
        status, body = page.ask("GET", "/")
        assert (status, b"<title>skyhooks demo</title>" in body) == (200, True)
        assert page.ask("GET", "/state", Host="evil.example:80")[0] == 403
        assert page.ask("POST", "/job", Origin="http://evil.example")[0] == 403
        assert page.ask("POST", "/job", Origin="null")[0] == 403
        assert page.ask("GET", "/nope")[0] == 404
        assert page.ask("POST", "/kill?process=D")[0] == 404
        assert page.ask("GET", "/kill?process=A")[0] == 404
        assert page.state["job"] == 0


@pytest.mark.long  # the bridges themselves are judged on each Python
class TestWeb(WebTests):
    @pytest.fixture
    def name(self):
        return "A"


@pytest.mark.parametrize("head", [b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nx: " + b"y" * 20_000, b"GET http://[ x\r\n\r\n"])
def test_a_malformed_request_is_answered_400(head, room):
    with serving(room) as page, socket.create_connection(("127.0.0.1", page.port), LIMIT_SECONDS) as client:
        client.sendall(head)
        assert client.recv(99).startswith(b"HTTP/1.1 400 ")


# -- when something goes wrong ---------------------------------------------------------------------


@pytest.fixture
def in_room(room, monkeypatch):
    """Make clusters of this very process use the room too."""
    monkeypatch.setattr(tempfile, "tempdir", str(room))
    yield
    assert_nothing_is_left(room)


async def check(**how):
    async with Cluster() as fleet:
        return await Check(fleet, Bar("", io.StringIO())).run([], **how)


def test_a_check_passes_on_plain_asyncio_alone(in_room, monkeypatch):
    monkeypatch.setattr(cluster, "choose", lambda: ["asyncio"] * 3)
    result = asyncio.run(check(files=40, seconds=1.0))
    assert [(one.framework, one.transport, one.killed_after) for one in result.verdicts] == [
        ("asyncio", "events", 11),
        ("asyncio", "events", 21),
        ("asyncio", "poll", 32),
    ]
    assert result.ok


def test_a_process_that_does_not_come_back_ends_the_check(in_room, monkeypatch):
    async def start(process):
        if process.instance_ids:
            raise ProcessFailed("it is gone for good")
        await started(process)

    started = processes.WebProcess.start
    monkeypatch.setattr(processes.WebProcess, "start", start)
    with pytest.raises(ProcessFailed, match="gone for good"):
        asyncio.run(check(files=40, seconds=1.0))


def test_a_check_whose_time_runs_out_fails_and_says_what_is_missing(in_room, monkeypatch):
    monkeypatch.setattr(demo_check, "CHECK_SECONDS", -7.0)
    result = asyncio.run(check(files=1000, seconds=8.0))
    assert (result.ok, result.report) == (False, None)
    assert 0 < result.notifications < 1000


def test_a_check_whose_job_breaks_names_the_reason(in_room, work):
    with pytest.raises(ProcessFailed, match="ended with status 1: ValueError: "):
        asyncio.run(check(files=2**64, seconds=1.0))


def test_a_process_that_cannot_start_is_told_with_its_last_words(in_room, monkeypatch):
    monkeypatch.setattr(cluster, "choose", lambda: ["asyncio", "nowhere", "asyncio"])
    with pytest.raises(ProcessFailed, match="No module named"):
        asyncio.run(check(files=1, seconds=1.0))


def test_a_process_that_does_not_begin_in_time_is_given_up(in_room, monkeypatch):
    monkeypatch.setattr(processes, "START_SECONDS", 0.01)
    with pytest.raises(ProcessFailed, match="does not start"):
        asyncio.run(check(files=1, seconds=1.0))


# -- parts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 2, 3, 1000])
@pytest.mark.parametrize("content", [b"", b"\n", b"one two\nthree", b" a  b\n\tc ", b"abc\xa0def"])
def test_facts_do_not_depend_on_how_a_file_is_cut(content, chunk, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "CHUNK_BYTES", chunk)
    (tmp_path / "file").write_bytes(content)
    facts = files.measure(tmp_path / "file")
    assert (facts.lines, facts.words, facts.bytes) == (content.count(b"\n"), len(content.split()), len(content))
    assert facts.sha256 == hashlib.sha256(content).hexdigest()


def test_a_pipe_in_a_files_place_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        files.measure(tmp_path / "pipe")


def test_the_standard_library_is_there_to_be_read():
    chosen = files.choose([], 400)
    assert len(chosen) == 400
    assert not any("site-packages" in path for path in chosen)


class Someone:
    name = "A"
    framework = "asyncio"
    transports = ("events",)
    pid = 1


def test_a_reader_takes_nothing_more_from_a_process_that_is_dead():
    async def answer(_, writer):
        data = json.dumps({"kind": "file", "job": 1, "index": 1, "files": 2, "at": 0.0}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"id: 1\ndata: %b\n\n" % data * 2)
        writer.close()

    async def die(reader):
        someone.pid = None

    async def read():
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            someone.port = server.sockets[0].getsockname()[1]
            await reader._read_on()

    someone = Someone()
    reader = Reader(someone, die)
    asyncio.run(read())
    assert reader.ids == ["job-1:1"]


@pytest.mark.parametrize(
    ("got", "told_gaps", "duplicates", "gaps", "ok"),
    [
        ("abc", 0, 0, 0, True),
        ("abbc", 0, 1, 0, False),
        ("ac", 0, 0, 1, False),
        ("acb", 0, 0, 0, False),
        ("abc", 1, 0, 1, False),
        ("abcx", 0, 0, 0, False),
        ("", 0, 0, 3, False),
    ],
)
def test_a_verdict_sees_what_is_not_the_log(got, told_gaps, duplicates, gaps, ok):
    reader = Reader(Someone, None)
    reader.ids = list(got)
    reader.gaps = told_gaps
    verdict = judge(reader, Log(list("abc")), 1)
    assert (verdict.duplicates, verdict.gaps, verdict.ok) == (duplicates, gaps, ok)
    assert verdict.p50_ms is None


@pytest.mark.parametrize(("got", "ok"), [("abc", True), ("bc", False), ("xabc", False), ("cba", False)])
def test_a_verdict_counts_what_the_log_no_longer_has(got, ok):
    reader = Reader(Someone, None)
    reader.ids = list(got)
    assert judge(reader, Log(["b", "c"], trimmed=1), 1).ok is ok


def test_percentiles_are_of_what_was_measured():
    reader = Reader(Someone, None)
    reader.latencies = [number / 1000 for number in range(100, 0, -1)]
    verdict = judge(reader, Log([]), None)
    assert (verdict.p50_ms, verdict.p99_ms) == (50, 99)


def a_verdict(*, ok=True, killed_after=1, resumed=True):
    return Verdict("A", "asyncio", "events", killed_after, resumed, 3, 0, 0, 0, ok, None, None)


def a_result(verdict, *, trimmed=0, alike=True, report=None):
    return Result(False, 3, trimmed, alike, [verdict], report)


@pytest.mark.parametrize(
    ("result", "part"),
    [
        (a_result(a_verdict()), "the time ran out"),
        (a_result(a_verdict(ok=False), report=JobReport(3, 0, 3, [])), "A did not get the 3 notifications"),
        (a_result(a_verdict(ok=False), trimmed=1, report=JobReport(3, 0, 3, [])), "keeps only the last 2"),
        (a_result(a_verdict(), alike=False, report=JobReport(3, 0, 3, [])), "did not get the same"),
        (a_result(a_verdict(), report=JobReport(3, 2, 3, [])), "could not publish 2"),
        (a_result(a_verdict(resumed=False), report=JobReport(3, 0, 3, [])), "A had no kill to survive"),
        (a_result(a_verdict(killed_after=None), report=JobReport(3, 0, 3, [])), "A had no kill to survive"),
        (a_result(a_verdict(), report=JobReport(4, 0, 3, [])), "published 4 notifications, and the log has 3"),
    ],
)
def test_a_failure_says_what_is_wrong(result, part):
    assert part in _fault(result)


def test_a_success_says_what_the_log_no_longer_has():
    assert "keeps the last 2 of them" in _praise(a_result(a_verdict(), trimmed=1))


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_is_drawn_in_place_on_a_terminal_and_nowhere_else(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        bar = Bar("files", stream)
        bar.show(1, 2, "A 1")
        bar.say("something happened")
        bar.clear()
    assert pipe.getvalue() == "something happened\n"
    assert "1/2" in terminal.getvalue()
    assert "\n" not in terminal.getvalue().replace("something happened\n", "")
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_text_is_measured_and_cut_in_cells():
    assert (width("日本"), width("e\u0301"), cut("日本語", 5), cut("abc", 3)) == (4, 1, "日本…", "abc")


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colour_where_it_is_not_wanted(name, value, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert style("red", "x", Terminal()) == "\x1b[31mx\x1b[0m"
    monkeypatch.setenv(name, value)
    assert style("red", "x", Terminal()) == "x"
