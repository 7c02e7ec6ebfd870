"""A real browser for the tests: headless Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager

import pytest
from playwright.sync_api import sync_playwright

from processes import SECONDS


def chromium_path():
    """Find Chromium; skip where there is none, which in CI is a failure."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found:
        return found
    reason = "no Chromium on PATH: apt-get install chromium"
    if os.environ.get("CI"):
        pytest.fail(reason)
    return pytest.skip(reason)


@contextmanager
def running_chromium():
    """Run Chromium. While it does, this thread counts as one that runs an asyncio loop: let no other tests in between."""
    path = chromium_path()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def chromium():
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def browser(chromium):
    """A browser nobody has used: no connection is left of other tests."""
    context = chromium.new_context()
    yield context
    context.close()


class Tab:
    """A tab; `errors` is what its page has thrown."""

    def __init__(self, context, url, *, clock=False):
        """Open it; with `clock` time passes there only by `self.page.clock`."""
        self.errors = []
        self.page = context.new_page()
        self.page.set_default_timeout(1_000 * SECONDS)
        self.page.on("pageerror", lambda error: self.errors.append(error.message))
        if clock:
            self.page.clock.install(time=0)
        self.page.goto(url)

    def wait_for(self, condition):
        # By frames, as Playwright looks otherwise, nothing is seen in a tab that lies behind another.
        self.page.wait_for_function(condition, polling=10)

    def hurry(self):
        """Let it draw moments that come soon."""
        self.run("Math.random = () => 0.02")

    def wait_for_ever(self):
        """Let it draw moments that come in some hours."""
        self.run("Math.random = () => 1e4")

    def run(self, script):
        return self.page.evaluate(script)


class ScriptTab(Tab):
    """A tab with tests/page.html."""

    def __init__(self, context, url, *, clock=False):
        super().__init__(context, url, clock=clock)
        self.wait_for("window.tab")
        if clock:
            self.page.clock.pause_at(1_000 * SECONDS)

    def begin(self, address="/events", **options):
        """Subscribe, and return at once."""
        self.page.evaluate("([address, options]) => begin(address, options)", [address, options])
        return self

    def wait_for_data(self, *data):
        """Wait for so many notifications; they must be these, in this order."""
        self.wait_for(f"tab.shown.length >= {len(data)}")
        assert self.data == list(data)

    def wait_for_state(self, state, times=1):
        """Wait until it was told this so often; of a state with its transport, `state` may be the beginning."""
        self.wait_for(f"tab.states.filter(state => state.startsWith('{state}')).length >= {times}")

    @property
    def shown(self):
        return self.run("tab.shown")

    @property
    def data(self):
        return [one["data"] for one in self.shown]

    @property
    def states(self):
        return self.run("tab.states")
