"""What a page must see at once, so that it can resume by itself."""

from __future__ import annotations

import asyncio

from skyhooks._asyncio.registry import Registry
from skyhooks._bridge.events import event_stream
from skyhooks._bridge.options import BridgeOptions, cors_headers

KEYS = {"account": 42}


def test_an_event_stream_says_where_the_client_is_by_an_event_that_its_page_hears():
    async def first():
        async with Registry("memory://hello", listen=None) as registry:
            cursor = await registry.cursor(KEYS)
            feed = registry.feed(BridgeOptions())
            await feed.open(KEYS, None)
            stream = event_stream(feed, BridgeOptions(), lambda: 0.5)
            try:
                return cursor, await anext(stream)
            finally:
                await stream.aclose()
                await feed.close()

    cursor, said = asyncio.run(first())
    assert said.decode() == f"retry: 2500\nid: {cursor}\nevent: hello\ndata: {{}}\n\n"


def test_pages_of_named_origins_may_see_the_cursor_of_a_poll():
    headers = dict(cors_headers("https://app.example", {"https://app.example"}))
    assert headers["access-control-expose-headers"] == "skyhooks-cursor"
