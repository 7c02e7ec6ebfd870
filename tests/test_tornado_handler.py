"""What a mounted handler answers: the same as the own listener, whatever the application around it does.

Tornado itself refuses heads that are malformed or above `max_header_size`: its bare 400 is in the last section.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import logging
import socket

import msgspec
import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from skyhooks._asyncio.io import Listener
from skyhooks._http import Response
from skyhooks.exceptions import ForkedRegistry, NotStarted
from skyhooks.tornado import Notifier, Registry, WebhookHandler

LIMIT = 5000
BODY = b'{"v":1}'
SECONDS = 5.0


class Recorder:
    """What the handler needs of a registry: keeps what it receives, and when it was told to dispatch."""

    max_body_bytes = LIMIT

    def __init__(self, response=None):
        self.response = response or Response(200, b'{"status":"ok"}')
        self.received = []
        self.dispatched = asyncio.Event()

    def receive(self, headers, body):
        self.received.append((headers, body))
        if isinstance(self.response, Exception):
            raise self.response
        return self.response

    def dispatch(self):
        self.dispatched.set()


class HardlyLingering(WebhookHandler):
    linger_seconds = 0.3


class Impatient(HardlyLingering):
    body_seconds = 0.3


@contextlib.asynccontextmanager
async def mounted(registry, *, handler=WebhookHandler, server=None, **settings):
    application = Application([(r"/webhook", handler, {"registry": registry})], **settings)
    served = HTTPServer(application, **(server or {}))
    sockets = bind_sockets(0, "127.0.0.1")
    served.add_sockets(sockets)
    try:
        yield sockets[0].getsockname()[1]
    finally:
        served.stop()
        await served.close_all_connections()


@contextlib.asynccontextmanager
async def listening(registry):
    listener = Listener(registry.receive, registry.dispatch, max_body_bytes=registry.max_body_bytes)
    await listener.start("127.0.0.1", 0)
    try:
        yield listener.port
    finally:
        await listener.close()


class Answer(msgspec.Struct):
    status: int
    headers: dict[str, str]
    body: bytes
    closed: bool = False


def request(method="POST", *, headers=(), body=BODY, length=True, version="1.1"):
    lines = [f"{method} /webhook HTTP/{version}", "host: a", "content-type: application/json"]
    lines += [f"content-length: {len(body)}"] if length else []
    return "\r\n".join([*lines, *headers]).encode() + b"\r\n\r\n" + body


async def read_answer(reader, *, method="POST"):
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    length = 0 if method == "HEAD" else int(headers["content-length"])
    return Answer(int(first.split()[1]), headers, await reader.readexactly(length))


async def ask(port, data, *, method="POST", rest=True):
    """Send bytes, read an answer, and see whether the peer then ends the connection."""
    async with asyncio.timeout(SECONDS), connected(port) as (reader, writer):
        writer.write(data)
        answer = await read_answer(reader, method=method)
        if rest:
            with contextlib.suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(0.5):
                    answer.closed = await reader.read() == b""
        return answer


@contextlib.asynccontextmanager
async def connected(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def shown(answer):
    wanted = ("content-type", "allow", "retry-after", "content-length")
    return answer.status, {name: answer.headers.get(name) for name in wanted}, answer.body, answer.closed


def chunked(*chunks):
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


REFUSED = {
    "too long": (request(body=b"x" * (LIMIT + 1)), 413, "too_large"),
    "far too long, and the body does not come": (
        request(body=b"", length=False, headers=["content-length: 200000000"]),
        413,
        "too_large",
    ),
    "too long in chunks": (
        request(body=chunked(b"x" * LIMIT, b"y"), length=False, headers=["transfer-encoding: chunked"]),
        413,
        "too_large",
    ),
    "a chunk that says 200 MB": (
        request(body=b"bebc200\r\n" + b"x" * (LIMIT + 1), length=False, headers=["transfer-encoding: chunked"]),
        413,
        "too_large",
    ),
    "no length": (request(body=b"", length=False), 411, "length_required"),
    "compressed": (request(headers=["content-encoding: gzip"]), 415, "media_type"),
    "a form": (
        b"POST /webhook HTTP/1.1\r\nhost: a\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\n{}",
        415,
        "media_type",
    ),
    "no type": (b"POST /webhook HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}", 415, "media_type"),
    "two types": (request(headers=["content-type: application/json"]), 415, "media_type"),
    "too many headers": (request(headers=[f"x-{n}: y" for n in range(100)]), 431, "headers_too_large"),
    "a long header": (request(headers=["x: " + "y" * 17_000]), 431, "headers_too_large"),
    "2000 headers": (request(headers=[f"x-{n}: y" for n in range(2000)]), 431, "headers_too_large"),
    "PUT": (request("PUT"), 405, "method"),
    "DELETE": (request("DELETE", body=b""), 405, "method"),
    "OPTIONS": (request("OPTIONS", body=b""), 405, "method"),
    "GET": (b"GET /webhook HTTP/1.1\r\nhost: a\r\n\r\n", 405, "method"),
    "BREW": (b"BREW /webhook HTTP/1.1\r\nhost: a\r\n\r\n", 405, "method"),
    "chunks in HTTP/1.0": (
        request(version="1.0", body=chunked(BODY), length=False, headers=["transfer-encoding: chunked"]),
        400,
        "malformed",
    ),
    "another version": (request(version="1.7"), 400, "malformed"),
    "an unknown coding": (request(length=False, headers=["transfer-encoding: gzip, chunked"]), 400, "malformed"),
    "length and chunks": (request(headers=["transfer-encoding: chunked"]), 400, "malformed"),
    "two lengths": (request(headers=["content-length: 9"]), 400, "malformed"),
    "twice the same length": (request(headers=["content-length: 7"]), 400, "malformed"),
    "an odd length": (request(length=False, headers=["content-length: +7"]), 400, "malformed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_htp_what_is_refused_is_refused_as_by_the_own_listener(name):
    data, status, code = REFUSED[name]

    async def scenario():
        registry = Recorder()
        async with mounted(registry, handler=Impatient) as theirs, listening(registry) as ours:
            answer, own = await ask(theirs, data), await ask(ours, data)
        assert (answer.status, json.loads(answer.body)["code"]) == (status, code)
        assert shown(answer) == shown(own)
        assert answer.closed
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["connection"] == "close"
        assert not registry.received
        assert not registry.dispatched.is_set()

    asyncio.run(scenario())


def test_htp_head_is_405_with_allow_and_without_a_body():
    async def scenario():
        async with mounted(Recorder()) as port:
            answer = await ask(port, b"HEAD /webhook HTTP/1.1\r\nhost: a\r\n\r\n", method="HEAD")
        assert (answer.status, answer.headers["allow"], answer.closed) == (405, "POST", True)

    asyncio.run(scenario())


def test_a_post_is_received_answered_and_then_dispatched():
    async def scenario():
        registry = Recorder()
        async with mounted(registry) as port:
            answer = await ask(port, request())
            await asyncio.wait_for(registry.dispatched.wait(), SECONDS)
        assert (answer.status, answer.body, answer.closed) == (200, b'{"status":"ok"}', False)
        assert answer.headers["content-type"] == "application/json"
        assert registry.received[0][1] == BODY

    asyncio.run(scenario())


@pytest.mark.parametrize("size", [0, 1, LIMIT])
def test_a_body_of_any_size_up_to_the_limit_arrives_whole_in_chunks_too(size):
    async def scenario():
        registry = Recorder()
        body = bytes(index % 251 for index in range(size))
        pieces = [body[at : at + 999] for at in range(0, size, 999)]
        in_chunks = request(body=chunked(*pieces), length=False, headers=["transfer-encoding: chunked"])
        async with mounted(registry) as port:
            assert (await ask(port, request(body=body), rest=False)).status == 200
            assert (await ask(port, in_chunks, rest=False)).status == 200
        assert [received for _, received in registry.received] == [body, body]

    asyncio.run(scenario())


def test_sig_repeated_headers_are_handed_on_one_by_one_with_names_in_lower_case():
    async def scenario():
        registry = Recorder()
        async with mounted(registry) as port:
            await ask(port, request(headers=["Webhook-Id: a", "WEBHOOK-ID: b, c"]), rest=False)
        headers = registry.received[0][0]
        assert [value for name, value in headers if name == "webhook-id"] == ["a", "b, c"]
        assert all(name == name.lower() for name, _ in headers)

    asyncio.run(scenario())


def test_calls_start_when_the_answer_is_in_the_peer_s_hands():
    async def scenario():
        registry = Recorder()
        with socket.socket() as peer:
            arrived = asyncio.Queue()
            registry.dispatch = lambda: arrived.put_nowait(peer.recv(12))
            async with mounted(registry) as port, asyncio.timeout(SECONDS):
                peer.connect(("127.0.0.1", port))
                peer.settimeout(SECONDS)
                peer.sendall(request())
                assert await arrived.get() == b"HTTP/1.1 200"

    asyncio.run(scenario())


def test_a_connection_serves_many_posts():
    async def scenario():
        registry = Recorder()
        async with mounted(registry) as port, connected(port) as (reader, writer), asyncio.timeout(SECONDS):
            for _ in range(3):
                writer.write(request())
                assert (await read_answer(reader)).status == 200
        assert len(registry.received) == 3

    asyncio.run(scenario())


@pytest.mark.parametrize("status", [400, 401, 410, 421, 503])
def test_what_the_registry_refuses_closes_the_connection(status):
    async def scenario():
        response = Response(status, b'{"code":"x"}', "application/problem+json", (("retry-after", "1"),))
        async with mounted(Recorder(response)) as port:
            answer = await ask(port, request())
        assert (answer.status, answer.body, answer.closed) == (status, b'{"code":"x"}', True)
        assert answer.headers["retry-after"] == "1"

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [NotStarted("it has not been started", "start it"), ForkedRegistry()])
def test_a_registry_that_is_not_started_is_draining(error):
    async def scenario():
        async with mounted(Recorder(error)) as port:
            answer = await ask(port, request())
        assert (answer.status, json.loads(answer.body)["code"]) == (503, "draining")
        assert answer.headers["retry-after"] == "1"
        assert answer.closed

    asyncio.run(scenario())


def test_an_error_is_answered_500_without_traceback_or_data_even_in_debug_mode(caplog):
    async def scenario():
        async with mounted(Recorder(KeyError("hunter2")), serve_traceback=True) as port:
            answer = await ask(port, request(body=b"hunter3"))
        assert (answer.status, json.loads(answer.body)["code"]) == (500, "internal")
        assert answer.closed
        return answer.body.decode()

    with caplog.at_level(logging.DEBUG):
        body = asyncio.run(scenario())
    assert "KeyError" in caplog.text
    assert "hunter" not in body + caplog.text


# -- an application around it ---------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["xsrf_cookies", "cross_origin_protection", "compress_response", "debug"])
def test_what_an_application_sets_does_not_stop_a_post(setting):
    async def scenario():
        registry = Recorder()
        # debug would watch the sources in the background
        settings = {setting: True} if setting != "debug" else {"debug": True, "autoreload": False}
        async with mounted(registry, **settings) as port:
            answer = await ask(port, request(headers=["origin: http://elsewhere"]), rest=False)
        assert answer.status == 200

    asyncio.run(scenario())


def test_the_limits_of_the_server_are_not_ours():
    async def scenario():
        registry = Recorder()
        async with mounted(registry, server={"max_body_size": 10, "body_timeout": 0.001}) as port:
            assert (await ask(port, request(body=b"x" * LIMIT), rest=False)).status == 200
            assert (await ask(port, request(body=b"x" * (LIMIT + 1)), rest=False)).status == 413

    asyncio.run(scenario())


def test_htp_a_server_that_unpacks_bodies_does_not_make_them_welcome():
    async def scenario():
        registry = Recorder()
        bomb = gzip.compress(bytes(1 << 20))
        async with mounted(registry, server={"decompress_request": True}) as port:
            answer = await ask(port, request(headers=["content-encoding: gzip"], body=bomb))
        assert answer.status == 415
        assert not registry.received

    asyncio.run(scenario())


# -- time -----------------------------------------------------------------------------------------


def test_htp_a_body_that_stalls_is_closed_and_nothing_dispatched_while_others_are_served():
    async def scenario():
        registry = Recorder()
        async with (
            mounted(registry, handler=Impatient) as port,
            connected(port) as (reader, writer),
            asyncio.timeout(SECONDS),
        ):
            writer.write(request(body=b"", length=False, headers=["content-length: 100"]) + b"{")
            await writer.drain()
            assert (await ask(port, request(), rest=False)).status == 200
            assert await reader.read() == b""
        assert len(registry.received) == 1

    asyncio.run(scenario())


def test_htp_a_body_that_drips_has_no_more_time_in_all():
    async def scenario():
        registry = Recorder()
        loop = asyncio.get_running_loop()
        async with mounted(registry, handler=Impatient) as port, connected(port) as (reader, writer):
            writer.write(request(body=b"", length=False, headers=["content-length: 100"]))
            began = loop.time()
            ended = asyncio.ensure_future(reader.read())
            while not ended.done():
                writer.write(b"x")
                await asyncio.wait((ended,), timeout=0.05)
                assert loop.time() - began < SECONDS
        assert not registry.received

    asyncio.run(scenario())


def test_htp_a_body_cut_short_is_not_received():
    async def scenario():
        registry = Recorder()
        async with mounted(registry) as port:
            async with connected(port) as (_, writer):
                writer.write(request(body=b"", length=False, headers=["content-length: 100"]) + b"{")
                await writer.drain()
            assert (await ask(port, request(), rest=False)).status == 200
        assert [body for _, body in registry.received] == [BODY]

    asyncio.run(scenario())


def test_htp_a_refusal_can_be_read_by_a_peer_that_first_sends_its_whole_body():
    async def scenario():
        async with mounted(Recorder()) as port, connected(port) as (reader, writer), asyncio.timeout(SECONDS):
            writer.write(request(body=b"x" * 4_000_000))
            await writer.drain()
            answer = await read_answer(reader)
            assert answer.status == 413
            assert await reader.read() == b""

    asyncio.run(scenario())


def test_a_refused_peer_that_goes_on_sending_is_closed_soon():
    async def scenario():
        async with (
            mounted(Recorder(), handler=HardlyLingering) as port,
            connected(port) as (reader, writer),
            asyncio.timeout(SECONDS),
        ):
            writer.write(request(body=b"", length=False, headers=["content-length: 200000000"]))
            assert (await read_answer(reader)).status == 413
            assert await reader.read() == b""

    asyncio.run(scenario())


def test_who_waits_for_a_100_gets_it_only_where_the_body_is_welcome():
    async def scenario():
        async with mounted(Recorder()) as port, asyncio.timeout(SECONDS):
            async with connected(port) as (reader, writer):
                writer.write(request(body=b"", length=False, headers=["content-length: 7", "Expect: 100-continue"]))
                assert b" 100 " in await reader.readuntil(b"\r\n\r\n")
                writer.write(BODY)
                assert (await read_answer(reader)).status == 200
            async with connected(port) as (reader, writer):
                writer.write(request(body=b"", length=False, headers=["content-length: 9999", "Expect: 100-continue"]))
                assert (await read_answer(reader)).status == 413
                assert await reader.read() == b""

    asyncio.run(scenario())


# -- what Tornado refuses first -------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        request(headers=["x: a\r b"]),
        request(headers=["x: a\0b"]),
        request(headers=["x: a", " folded"]),
        request(headers=["no colon"]),
        b"POST /webhook HTTP/3.0\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
    ids=["bare CR", "NUL", "folded", "no colon", "version", "nonsense"],
)
def test_htp_a_malformed_head_gets_tornado_s_bare_400_and_never_comes_here(data):
    async def scenario():
        registry = Recorder()
        async with mounted(registry) as port, connected(port) as (reader, writer), asyncio.timeout(SECONDS):
            writer.write(data)
            assert (await reader.read()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert not registry.received

    asyncio.run(scenario())


def test_htp_a_head_above_the_server_s_limit_is_closed_by_tornado_without_an_answer():
    async def scenario():
        registry = Recorder()
        async with mounted(registry) as port, connected(port) as (reader, writer), asyncio.timeout(SECONDS):
            writer.write(request(headers=["x: " + "y" * 100_000]))
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        assert not registry.received

    asyncio.run(scenario())


def test_htp_a_head_that_stalls_is_closed_after_the_server_s_idle_connection_timeout():
    async def scenario():
        async with (
            mounted(Recorder(), server={"idle_connection_timeout": 0.2}) as port,
            connected(port) as (reader, writer),
            asyncio.timeout(SECONDS),
        ):
            writer.write(b"POST /webhook HTT")
            assert await reader.read() == b""

    asyncio.run(scenario())


# -- with a registry ------------------------------------------------------------------------------


def test_a_registry_that_is_mounted_proves_its_url_and_is_rung_through_it():
    async def scenario():
        arrived = asyncio.Queue()
        registry = None
        sockets = bind_sockets(0, "127.0.0.1")
        url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/webhook"
        registry = Registry("memory://mounted", url=url)
        served = HTTPServer(Application([(r"/webhook", WebhookHandler, {"registry": registry})], xsrf_cookies=True))
        served.add_sockets(sockets)
        async with asyncio.timeout(SECONDS), registry, Notifier("memory://mounted") as notifier:
            await registry.register({"account": 42}, arrived.put_nowait)
            receipt = await notifier.notify({"account": "42"}, {"rows": 12})
            assert (await arrived.get()).data == {"rows": 12}
        assert (receipt.ok, receipt.reached) == (True, 1)
        served.stop()
        await served.close_all_connections()

    asyncio.run(scenario())
