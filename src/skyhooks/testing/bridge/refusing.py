"""Who gets nothing, and how it is told so."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ..._bridge.options import MAX_MESSAGE_BYTES
from ...abc import Store
from ..adapter.base import NAME
from ..adapter.raw import RawAnswer
from .base import KEY, QUICK, TRANSPORTS, BridgeAdapter, BridgeTests, Distant, data_of, each_transport
from .clients import Transport, connect, get, request, with_query
from .sockets import BINARY, PING, PONG, TEXT

HERE, THERE = "https://app.example", "https://evil.example"
PROBLEM = "application/problem+json"


class RefusingTests(BridgeTests):
    """Refusals: by the application, by the request, by the times."""

    @each_transport
    @pytest.mark.parametrize("status", [401, 403])
    async def test_whom_the_application_refuses_gets_its_status(
        self, adapter: BridgeAdapter, store: Store, transport: Transport, status: int
    ) -> None:
        registry = await adapter.started(**QUICK)
        url = await adapter.serve(registry, transport, keys=adapter.refuses(status))
        assert (await self.refused(adapter, url, transport)).status == status
        assert not await adapter.in_thread(_hooks, store)

    @each_transport
    async def test_a_permission_error_is_403(self, adapter: BridgeAdapter, transport: Transport) -> None:
        url = await adapter.serve(await adapter.started(), transport, keys=_forbid)
        assert _problem(await self.refused(adapter, url, transport)) == (403, "forbidden")

    @each_transport
    async def test_a_request_cannot_say_which_keys_it_has(self, adapter: BridgeAdapter, transport: Transport) -> None:
        _, notifier, url = await self.mounted(adapter, transport)
        asked = with_query(url, account="43", keys='{"account": 43}', key="account=43")
        async with self.tab(adapter, asked, transport) as tab:
            await notifier.notify({"account": 43}, "another's")
            await notifier.notify(KEY, "mine")
            assert data_of([await tab.next()]) == ["mine"]

    @each_transport
    async def test_another_s_cursor_opens_no_other_key(self, adapter: BridgeAdapter, transport: Transport) -> None:
        registry, notifier, url = await self.mounted(adapter, transport)
        cursor = await registry.cursor({"account": 43})
        await notifier.notify({"account": 43}, "another's")
        async with self.tab(adapter, url, transport, cursor) as tab:
            await notifier.notify(KEY, "mine")
            assert data_of([await tab.next()]) == ["mine"]

    @each_transport
    @pytest.mark.parametrize("keys", [{"a b": "hunter2"}, {}, None], ids=["a name", "none", "no mapping"])
    async def test_keys_that_cannot_be_are_the_application_s_fault(
        self, adapter: BridgeAdapter, transport: Transport, keys: Any
    ) -> None:
        registry = await adapter.started()
        url = await adapter.serve(registry, transport, keys=lambda _: keys)
        answer = await self.refused(adapter, url, transport)
        assert _problem(answer) == (500, "keys")
        assert b"hunter2" not in answer.body

    @each_transport
    async def test_a_damaged_cursor_is_refused_without_an_echo(
        self, adapter: BridgeAdapter, transport: Transport
    ) -> None:
        registry, _, url = await self.mounted(adapter, transport)
        for cursor in ("<script>", "hunter2", (await registry.cursor(KEY))[:-2]):
            answer = await self.refused(adapter, url, transport, cursor)
            assert _problem(answer) == (400, "cursor")
            assert cursor.encode() not in answer.body

    @each_transport
    async def test_while_the_store_is_away_one_is_told_to_come_again(
        self, adapter: BridgeAdapter, store: Store, transport: Transport
    ) -> None:
        distant = Distant(store)
        _, notifier, url = await self.mounted(adapter, transport, store=distant)
        distant.is_cut = True
        answer = await self.refused(adapter, url, transport)
        distant.is_cut = False
        assert _problem(answer) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        async with self.tab(adapter, url, transport) as tab:
            await notifier.notify(KEY, 1)
            assert data_of([await tab.next()]) == [1]

    @each_transport
    async def test_a_registry_that_has_stopped_sends_one_elsewhere(
        self, adapter: BridgeAdapter, transport: Transport
    ) -> None:
        registry, _, url = await self.mounted(adapter, transport)
        await registry.stop()
        answer = await self.refused(adapter, url, transport)
        assert _problem(answer) == (503, "unavailable")
        assert "retry-after" in answer.headers

    @each_transport
    @pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "DELETE", "OPTIONS"])
    async def test_there_is_one_method(
        self, adapter: BridgeAdapter, store: Store, transport: Transport, method: str
    ) -> None:
        _, _, url = await self.mounted(adapter, transport)
        headers = [("content-length", "0")] if method in ("POST", "PUT") else []
        answer = await adapter.in_thread(get, url, headers, method)
        assert (answer.status, answer.headers["allow"]) == (405, "GET")
        assert not await adapter.in_thread(_hooks, store)

    @pytest.mark.parametrize("transport", ["events", "poll"])
    async def test_pages_of_named_origins_may_read_and_no_others(
        self, adapter: BridgeAdapter, transport: Transport
    ) -> None:
        _, _, url = await self.mounted(adapter, transport, origins=[HERE])
        for since, status in (("bad", 400), ("start", 200)):
            for origin in (HERE, THERE):
                head = await adapter.in_thread(_headers, with_query(url, since=since, timeout="0"), origin)
                assert int(head["status"]) in (status, 204)
                assert head.get("access-control-allow-origin") == (HERE if origin == HERE else None)
                assert head.get("access-control-allow-credentials") == ("true" if origin == HERE else None)

    async def test_a_page_of_another_site_opens_no_socket_unless_it_is_named(self, adapter: BridgeAdapter) -> None:
        _, _, url = await self.mounted(adapter, "socket", origins=[HERE])
        for origin in (THERE, "null", "https://app.example.evil.example", "https://app.example:8443"):
            answer = await self.refused(adapter, url, "socket", headers=[("origin", origin)])
            assert _problem(answer) == (403, "origin")
        for origin in (HERE, url.rpartition("/")[0]):
            async with self.tab(adapter, url, "socket", headers=[("origin", origin)]):
                pass

    async def test_a_socket_has_to_be_asked_for(self, adapter: BridgeAdapter) -> None:
        _, _, url = await self.mounted(adapter, "socket")
        assert _problem(await adapter.in_thread(get, url)) == (426, "upgrade")

    @pytest.mark.parametrize("seconds", ["soon", "-1", "nan"])
    async def test_a_poll_s_timeout_is_a_number(self, adapter: BridgeAdapter, seconds: str) -> None:
        _, _, url = await self.mounted(adapter, "poll")
        answer = await adapter.in_thread(get, with_query(url, timeout=seconds))
        assert _problem(answer) == (400, "timeout")

    @pytest.mark.parametrize(
        ("frames", "code"),
        [
            ([(TEXT, b'{"since": ""}')], 1008),
            ([(TEXT, b"hello")], 1008),
            ([(BINARY, b"{}")], 1008),
            ([(TEXT, b"x" * MAX_MESSAGE_BYTES)], 1008),
            ([(TEXT, b"x" * (MAX_MESSAGE_BYTES + 1))], 1009),
        ],
        ids=["a second first message", "talk", "bytes", "much", "too much"],
    )
    async def test_a_socket_hears_nobody_out(
        self, adapter: BridgeAdapter, store: Store, frames: list[tuple[int, bytes]], code: int
    ) -> None:
        _, _, url = await self.mounted(adapter, "socket")
        async with self.tab(adapter, url, "socket") as tab:
            socket: Any = tab.browser
            for kind, payload in frames:
                await adapter.in_thread(socket.send, kind, payload)
            assert await adapter.in_thread(socket.ended) == code
            await adapter.until_store(lambda: not _hooks(store))

    async def test_a_message_in_pieces_is_no_way_around_the_limit(self, adapter: BridgeAdapter) -> None:
        _, _, url = await self.mounted(adapter, "socket")
        async with self.tab(adapter, url, "socket") as tab:
            socket: Any = tab.browser
            for kind in (TEXT, 0, 0, 0):
                await adapter.in_thread(lambda kind=kind: socket.send(kind, b"x" * 30_000, final=False))
            assert await adapter.in_thread(socket.ended) == 1009

    @pytest.mark.parametrize(
        ("first", "code"),
        [(b'{"since": "bad"}', 1008), (b'{"until": "start"}', 1008), (b"\xff", None), (b"start", 1008)],
    )
    async def test_a_first_message_that_makes_no_sense_is_the_last(
        self, adapter: BridgeAdapter, store: Store, first: bytes, code: int | None
    ) -> None:
        _, _, url = await self.mounted(adapter, "socket")
        async with self.tab(adapter, url, "socket", "", first=first, hello=False) as tab:
            got = await adapter.in_thread(tab.browser.ended)  # type: ignore[attr-defined]  # a socket's own
        assert got == code or (code is None and got in (1007, 1008))
        assert not await adapter.in_thread(_hooks, store)

    async def test_a_first_message_while_the_store_is_away_is_to_be_said_again(
        self, adapter: BridgeAdapter, store: Store
    ) -> None:
        distant = Distant(store)
        _, _, url = await self.mounted(adapter, "socket", store=distant)
        distant.is_cut = True
        async with self.tab(adapter, url, "socket", "", first=b'{"since": "start"}', hello=False) as tab:
            assert await adapter.in_thread(tab.browser.ended) == 1013  # type: ignore[attr-defined]  # a socket's own
        distant.is_cut = False

    async def test_a_ping_is_answered(self, adapter: BridgeAdapter) -> None:
        _, _, url = await self.mounted(adapter, "socket")
        async with self.tab(adapter, url, "socket") as tab:
            socket: Any = tab.browser
            await adapter.in_thread(socket.send, PING, b"there?")
            assert await adapter.in_thread(socket.receive_frame) == (PONG, b"there?")

    async def test_the_script_is_a_module_for_anyone(self, adapter: BridgeAdapter) -> None:
        url = await adapter.serve(await adapter.started(), "script", keys=None)
        answer = await adapter.in_thread(get, url)
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/javascript")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert b"export function subscribe" in answer.body

    async def test_bridges_that_cannot_be_are_said_to_be_so(self, adapter: BridgeAdapter) -> None:
        bad: list[dict[str, Any]] = [
            {"max_pending": 0},
            {"comment_seconds": 0},
            {"policy": "oldest"},
            {"origins": "https://app.example"},
            {"origins": ["https://app.example/page"]},
        ]
        registry = await adapter.started()
        for options in bad:
            for transport in TRANSPORTS:
                assert await _is_refused(adapter, registry, transport, options)


def _forbid(_: object) -> dict[str, object]:
    raise PermissionError


def _problem(answer: RawAnswer) -> tuple[int, str]:
    if answer.status != 101:
        assert msgspec.json.decode(answer.body)["status"] == answer.status
    return answer.status, answer.code


def _hooks(store: Store) -> object:
    return store.targets([NAME])[NAME]


def _headers(url: str, origin: str) -> dict[str, str]:
    """Return an answer's status and headers; its body may never end."""
    with connect(url) as sock, request(sock, url, [("origin", origin)]) as response:
        return {name.lower(): value for name, value in response.getheaders()} | {"status": str(response.status)}


async def _is_refused(adapter: BridgeAdapter, registry: Any, transport: Transport, options: dict[str, Any]) -> bool:
    """Tell whether a bridge says no to its options: when it is made, or, where each request makes it, to all of them."""
    try:
        url = await adapter.serve(registry, transport, keys=adapter.allows(KEY), **options)
        return (await adapter.in_thread(get, url)).status == 500
    except (TypeError, ValueError, ConnectionError):
        return True
