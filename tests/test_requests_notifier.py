"""The blocking notifier over a `requests.Session`, put to the suite that every adapter is put to."""

from __future__ import annotations

import pytest
import requests

from adapters import BlockingAdapter
from skyhooks.testing import AdapterConformance


class WithSession(BlockingAdapter):
    own_client = False

    def __init__(self, store_url):
        super().__init__(store_url)
        self.sessions = []

    def notifier_options(self):
        session = requests.Session()
        self.sessions.append(session)
        return {"client": session}

    async def close(self):
        await super().close()
        for session in self.sessions:
            session.close()


class TestBlockingOverRequests(AdapterConformance):
    @pytest.fixture
    def adapter(self, store_url):
        return WithSession(store_url)
