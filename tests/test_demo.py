"""The demo, run as a process: with its page driven over HTTP, and once, checking itself."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import io
import json
import os
import signal
import socket
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from commands import LIMIT_SECONDS, begin, lines, run
from skyhooks.cli.output import Bar, cut, style, width
from skyhooks.demo import check as demo_check
from skyhooks.demo import files, processes
from skyhooks.demo.check import Check, Result, Verdict, judge
from skyhooks.demo.command import _fault
from skyhooks.demo.orders import JobReport
from skyhooks.demo.processes import Cluster, ProcessFailed
from skyhooks.demo.reader import Reader


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


@pytest.fixture
def room(tmp_path):
    """Where the demo puts what is temporary: empty again when it has ended."""
    place = tmp_path / "room"
    place.mkdir()
    return place


def processes_of(room):
    """Find the processes that were started for a demo in that room."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if os.fsencode(room) in command:
            found.append(int(entry.name))
    return found


def wait_until(condition, seconds=LIMIT_SECONDS):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.02)


def assert_nothing_is_left(room):
    assert processes_of(room) == []
    assert list(room.iterdir()) == []


# -- once -----------------------------------------------------------------------------------------


def test_once_kills_a_process_and_everybody_gets_everything(room):
    done = run("demo", "--once", "--json", "--seconds", "2", TMPDIR=str(room))
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = lines(done.stdout)
    assert (result["ok"], result["notifications"], result["victim"], result["resumed"]) == (True, 402, "B", True)
    assert result["killed_after"] == 201
    assert [(one["received"], one["duplicates"], one["gaps"]) for one in result["verdicts"]] == [(402, 0, 0)] * 3
    assert "killed process B (kill -9 " in done.stderr
    assert "started process B anew" in done.stderr
    assert_nothing_is_left(room)


def test_once_shows_people_a_table_and_a_verdict(room, work):
    done = run("demo", "--once", "--seconds", "1", work, TMPDIR=str(room))
    assert done.returncode == 0, done.stdout + done.stderr
    headers, a, _, _, verdict = done.stdout.splitlines()
    assert headers.split()[:5] == ["PROCESS", "FRAMEWORK", "RECEIVED", "DUPLICATES", "GAPS"]
    assert a.split()[:5] == ["A", "asyncio", "43", "0", "0"]
    assert verdict.startswith("ok: every process got all 43 notifications of the log, once and in order")


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


class Page:
    """The demo's page without a browser."""

    def __init__(self, url):
        self.port = int(url.rsplit(":", 1)[1].rstrip("/"))

    def ask(self, method, path, port=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=LIMIT_SECONDS)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body

    @property
    def state(self):
        return json.loads(self.ask("GET", "/state")[1])

    def process(self, name):
        return next(one for one in self.state["processes"] if one["name"] == name)


class Pane:
    """An EventSource: goes on with the last event's id whenever the connection ends."""

    def __init__(self, page, name, until):
        self.name = name
        self.port = page.process(name)["port"]
        self.told, self.pids, self.half = [], [], threading.Event()
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
        return self.told and (self.told[-1]["data"]["job"], self.told[-1]["data"]["kind"]) == (self._until, "summary")

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
            if not name:
                self._take(event)
                event = {}
        connection.close()

    def _take(self, event):
        data = json.loads(event["data"])
        self._cursor = event.get("id", self._cursor)
        if event["event"] == "hello":
            self.pids.append(data["pid"])
        else:
            assert event["event"] == "notification"
            self.told.append(data)
            if data["data"]["index"] * 2 >= data["data"]["files"]:
                self.half.set()


@contextmanager
def serving(room, *words):
    process = begin("demo", *words, TMPDIR=str(room))
    try:
        first = process.stdout.readline()
        assert first.startswith("http://127.0.0.1:"), process.stderr.read()
        yield Page(first.split()[0])
    finally:
        process.terminate()
        assert process.wait(LIMIT_SECONDS) == 143
        process.communicate()
        assert_nothing_is_left(room)


def test_a_pane_carries_on_without_a_gap_when_its_process_is_killed(room, work):
    with serving(room, "--seconds", "2", work) as page:
        panes = [Pane(page, name, until=1) for name in "ABC"]
        before = page.process("B")
        assert page.ask("POST", "/job")[0] == 202
        assert page.ask("POST", "/job")[0] == 409
        assert panes[1].half.wait(LIMIT_SECONDS)
        assert page.ask("POST", "/kill?process=B")[0] == 202
        assert page.ask("POST", "/kill?process=B")[0] == 409
        for pane in panes:
            pane.join()
        after = page.process("B")
    assert panes[1].pids == [before["pid"], after["pid"]]
    assert before["port"] == after["port"]
    for pane in panes:
        assert [one["data"]["index"] for one in pane.told] == list(range(43))
        assert len({one["id"] for one in pane.told}) == 43


def test_a_job_tells_what_is_in_the_files(room, work):
    with serving(room, "--seconds", "0.1", "--files", "41", work) as page:
        page.ask("POST", "/job")
        pane = Pane(page, "A", until=1)
        pane.join()
        wait_until(lambda: page.state["report"] is not None)
        state = page.state
    started, *middle, summary = [one["data"] for one in pane.told]
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
    assert [one["data"]["index"] for one in pane.told] == [*range(43)] * 2
    assert all(one["replayed"] for one in pane.told)


def test_a_process_that_dies_by_itself_can_be_started_again(room):
    with serving(room) as page:
        os.kill(page.process("A")["pid"], signal.SIGKILL)
        wait_until(lambda: page.process("A")["pid"] is None)
        assert page.process("A")["reviving"] is False
        page.ask("POST", "/kill?process=A")
        wait_until(lambda: page.process("A")["pid"] is not None and not page.process("A")["reviving"])


def test_the_page_is_served_to_its_own_browser_only(room):
    with serving(room) as page:
        status, body = page.ask("GET", "/")
        assert (status, b"<title>skyhooks demo</title>" in body) == (200, True)
        events = page.process("A")["port"]
        assert page.ask("GET", "/state", Host="evil.example:80")[0] == 403
        assert page.ask("POST", "/job", Origin="http://evil.example")[0] == 403
        assert page.ask("POST", "/job", Origin="null")[0] == 403
        assert page.ask("GET", "/events", port=events, Origin="http://evil.example")[0] == 403
        assert page.ask("GET", "/nope")[0] == 404
        assert page.ask("POST", "/kill?process=D")[0] == 404
        assert page.ask("GET", "/nope", port=events, Origin=f"http://localhost:{page.port}")[0] == 404
        assert page.ask("POST", "/events", port=events)[0] == 405
        assert page.ask("GET", "/events?since=junk", port=events)[0] == 400
        assert page.state["job"] == 0


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
    async with Cluster(0, ()) as cluster:
        return await Check(cluster, Bar("", io.StringIO())).run([], **how)


def test_a_check_whose_time_runs_out_fails_and_says_what_is_missing(in_room, monkeypatch):
    monkeypatch.setattr(demo_check, "CHECK_SECONDS", -7.0)
    result = asyncio.run(check(files=1000, seconds=8.0))
    assert (result.ok, result.report) == (False, None)
    assert 0 < result.notifications < 1000


def test_a_check_whose_job_breaks_names_the_reason(in_room, work):
    with pytest.raises(ProcessFailed, match="ended with status 1: ValueError: "):
        asyncio.run(check(files=2**64, seconds=1.0))


def test_a_process_that_cannot_start_is_told_with_its_last_words(in_room, monkeypatch):
    monkeypatch.setattr(processes, "FRAMEWORKS", {"none": "skyhooks.demo.web_nowhere"})
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
    verdict = judge(reader, list("abc"))
    assert (verdict.duplicates, verdict.gaps, verdict.ok) == (duplicates, gaps, ok)
    assert verdict.p50_ms is None


def test_percentiles_are_of_what_was_measured():
    reader = Reader(Someone, None)
    reader.latencies = [number / 1000 for number in range(100, 0, -1)]
    verdict = judge(reader, [])
    assert (verdict.p50_ms, verdict.p99_ms) == (50, 99)


@pytest.mark.parametrize(
    ("verdict_ok", "report", "part"),
    [
        (True, None, "the time ran out"),
        (False, JobReport(3, 0, 3, []), "A did not get the 3 notifications"),
        (True, JobReport(3, 2, 3, []), "could not publish 2"),
        (True, JobReport(3, 0, 3, []), "B did not go on"),
    ],
)
def test_a_failure_says_what_is_wrong(verdict_ok, report, part):
    verdict = Verdict("A", "asyncio", 3, 0, 0, verdict_ok, None, None)
    assert part in _fault(Result(False, 3, "B", 1, False, [verdict], report))


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
