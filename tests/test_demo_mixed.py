"""The demo with its three frameworks: one Tornado, one gevent and one Twisted process survive a kill each."""
# ruff: noqa: F401, F811 - fixtures are imported, and asked for by their names

from __future__ import annotations

import asyncio

import pytest

from commands import lines, run
from demo_page import WebTests, assert_nothing_is_left, room
from mongodb_server import server
from processes import free_port
from skyhooks._stores import open_store
from skyhooks.demo.clients import read_socket

for package in ("tornado", "gevent", "twisted"):
    pytest.importorskip(package)


@pytest.mark.long  # the bridges themselves are judged on each Python
class TestWeb(WebTests):
    @pytest.fixture(params=["A", "B", "C"], ids=["tornado", "gevent", "twisted"])
    def name(self, request):
        return request.param


def assert_all_got_everything(room, *words):
    done = run("demo", "--once", "--json", *words, TMPDIR=str(room))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not installed" not in done.stderr
    (result,) = lines(done.stdout)
    assert (result["ok"], result["alike"], result["notifications"]) == (True, True, 402)
    verdicts = result["verdicts"]
    assert [
        (one["process"], one["framework"], one["transport"], one["killed_after"], one["resumed"]) for one in verdicts
    ] == [
        ("A", "tornado", "events", 101, True),
        ("B", "gevent", "socket", 201, True),
        ("C", "twisted", "poll", 302, True),
    ]
    assert [(one["received"], one["duplicates"], one["gaps"]) for one in verdicts] == [(402, 0, 0)] * 3
    assert_nothing_is_left(room)


def test_three_frameworks_get_the_same_on_sqlite(room):
    assert_all_got_everything(room)


@pytest.mark.external
def test_three_frameworks_get_the_same_on_mongodb(room, server):
    url = server.url()
    assert_all_got_everything(room, "--store", url)
    store = open_store(url)
    assert store.instances() == []
    assert store.reap().hooks == 0
    store.close()


def test_a_mongodb_that_is_away_is_one_line_without_its_password(room):
    url = f"mongodb://user:hunter2@127.0.0.1:{free_port()}/skyhooks"
    done = run("demo", "--once", "--store", url, TMPDIR=str(room))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 2
    assert "hunter2" not in done.stderr
    assert_nothing_is_left(room)


def test_a_client_that_gets_no_websocket_says_so():
    async def refuse(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async def body():
        async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
            with pytest.raises(ConnectionError, match="403"):
                await anext(read_socket("127.0.0.1", server.sockets[0].getsockname()[1], "start"))

    asyncio.run(body())
