"""From the Celery task to the browser's tab: the documents' programs on real parts, while web processes and workers are killed."""

from __future__ import annotations

import json
import re
import socket
from contextlib import suppress
from uuid import uuid4

import pytest

from brokers import rabbitmq  # noqa: F401  # a fixture
from chromium import Tab, browser, chromium  # noqa: F401  # fixtures
from documents import DOCS, README, REDIS, WORK, Program, write_programs
from held_work import begun, leave
from processes import FRAMEWORKS, SECONDS, Proxy, free_port, until
from skyhooks import Notifier

TRANSPORTS = ["events", "socket", "poll"]
"""In the order in which a page tries them."""
STORE = "sqlite:///skyhooks.db"
AS_TESTED = {
    WORK: "from held_work import do; do(page)",
    f'install(app, "{STORE}")': f'install(app, "{STORE}", progress_seconds=0)',
}
each_transport = pytest.mark.parametrize("transport", TRANSPORTS)


class Company:
    """The programs of docs/celery.md in a folder of their own: a web process of each framework, and a worker."""

    def __init__(self, folder, broker_url):
        self.folder = folder
        self.ports = {}
        self.webs = {}
        write_programs(DOCS / "celery.md", folder, {REDIS: broker_url, **AS_TESTED})
        self.worker = begin_worker(self.folder)

    def begin_web(self, framework):
        port = self.ports.setdefault(framework, free_port())
        return Program(self.folder, f"web_{framework}.py", str(port), ready="ready")

    def open(self, *frameworks):
        """Return the ports of web processes of these frameworks; all of them, and the worker, are ready."""
        for framework in frameworks:
            self.webs[framework] = self.webs.get(framework) or self.begin_web(framework)
        for program in (self.worker, *map(self.webs.get, frameworks)):
            program.wait_until_ready()
        return [self.ports[framework] for framework in frameworks]

    def kill_web(self, framework):
        self.webs.pop(framework).kill()

    def kill_worker(self):
        """Kill the worker, and put another one in its place, which is ready when it is."""
        self.worker.kill()
        self.worker = begin_worker(self.folder)

    def let(self, task, page):
        leave(task, page, self.folder).touch()

    def end(self):
        for program in (self.worker, *self.webs.values()):
            program.kill()


def begin_worker(folder):
    options = f"-A tasks worker -c 1 -n {uuid4().hex}@localhost -l INFO --without-gossip --without-mingle"
    return Program(folder, "-m", "celery", *options.split(), ready=" ready.")


def notify(folder, data):
    with Notifier(f"sqlite:///{folder}/skyhooks.db") as notifier:
        notifier.notify({"account": 42}, data)


class ReportTab(Tab):
    """A tab with the document's page."""

    def start(self):
        """Make a report, and return its task's id when the page is connected."""
        self.page.click("button")
        self.wait_for("document.querySelector('output').textContent.startsWith('open')")
        return re.search(r"task=([^&]+)", self.link)[1]

    def wait_for_told(self, *told):
        """Wait for so many lines; they must be these, in this order: how many pages were done, the result, the end."""
        self.wait_for(f"document.querySelector('pre').textContent.split('\\n').length > {len(told)}")
        assert self.told == list(told)

    @property
    def told(self):
        lines = self.run("document.querySelector('pre').textContent").splitlines()
        return [line.get("done") or line.get("result") or line["state"] for line in map(json.loads, lines)]

    @property
    def connection(self):
        return self.run("document.querySelector('output').textContent")

    @property
    def link(self):
        return self.run("location.href")


@pytest.fixture(scope="module")
def company(rabbitmq, tmp_path_factory):
    company = Company(tmp_path_factory.mktemp("company"), rabbitmq.url)
    yield company
    company.end()


@pytest.fixture
def proxy(company):
    """What stands between a tab and the processes."""
    proxy = Proxy()
    yield proxy
    proxy.close()


@pytest.fixture
def open_tab(browser, transport):
    """Open a tab, in a browser where no transport works but one."""
    if transport != "events":
        browser.route(re.compile(r"/events\?"), lambda route: route.fulfill(status=404))
    if transport == "poll":
        browser.route_web_socket(re.compile(r"/socket\?"), lambda socket: socket.close())

    def open_tab(url):
        tab = ReportTab(browser, url)
        tab.hurry()
        return tab

    return open_tab


def end_with(company, task, tabs, transport, *told):
    """Tell something after the task's result: by then each tab has shown all that was told of it, and nothing twice."""
    notify(company.folder, {"id": uuid4().hex, "state": "SUCCESS"})  # another report's
    notify(company.folder, {"id": task, "state": "END"})
    for tab in tabs:
        tab.wait_for_told(*told, "END")
        assert tab.connection == f"open ({transport})"
        assert tab.errors == []


@pytest.mark.parametrize("framework", FRAMEWORKS)
@each_transport
def test_tabs_opened_before_during_and_after_a_task_show_its_result_once_though_all_its_processes_are_killed(
    company, open_tab, framework, transport
):
    (port,) = company.open(framework)
    before = open_tab(f"http://127.0.0.1:{port}/")
    task = before.start()
    company.let(task, 1)
    before.wait_for_told(1)
    during = open_tab(before.link)
    during.wait_for_told(1)
    company.kill_web(framework)
    company.kill_worker()
    company.let(task, 2)
    until(begun(task, 3, company.folder).exists)
    company.open(framework)
    for tab in (before, during):
        tab.wait_for_told(1, 1, 2)
    company.let(task, 3)
    for tab in (before, during):
        tab.wait_for_told(1, 1, 2, 3, {"rows": 36})
    after = open_tab(before.link)
    end_with(company, task, (before, during, after), transport, 1, 1, 2, 3, {"rows": 36})


@pytest.mark.tornado
@pytest.mark.gevent
@pytest.mark.twisted
@each_transport
def test_tabs_go_on_where_they_were_at_processes_of_another_framework(company, open_tab, proxy, transport):
    ports = company.open("tornado", "gevent", "twisted")
    proxy.target = ports[0]
    before = open_tab(proxy.url)
    task = before.start()
    during = open_tab(before.link)
    for page, framework, port in [(1, "tornado", ports[1]), (2, "gevent", ports[2])]:
        company.let(task, page)
        before.wait_for_told(*range(1, page + 1))
        proxy.target = port
        company.kill_web(framework)
    company.let(task, 3)
    end_with(company, task, (before, during), transport, 1, 2, 3, {"rows": 36})
    before.page.reload()
    before.wait_for_told(1, 2, 3, {"rows": 36}, "END")


@pytest.fixture
def story(rabbitmq, tmp_path):
    """The programs of the README, whose task is held."""
    story = Story(tmp_path, rabbitmq.url)
    yield story
    story.kill()


class Story:
    def __init__(self, folder, broker_url):
        self.folder = folder
        self.port = free_port()
        own = f'"{broker_url}", changes={{"task_default_queue": "{uuid4().hex}"}}'
        held = "    from held_work import do; do(1); return"
        write_programs(README, folder, {'"amqp://127.0.0.1"': own, "8080": str(self.port), "    return": held})

    def begin(self):
        self.worker, self.web = begin_worker(self.folder), Program(self.folder, "web.py")
        self.worker.wait_until_ready()
        until(lambda: answers(self.port))

    def kill(self):
        self.worker.kill()
        self.web.kill()

    def open(self, browser):
        """Open a tab, and return it with its task's id."""
        tab = Tab(browser, f"http://127.0.0.1:{self.port}/")
        tab.hurry()
        return tab, tab.run("document.querySelector('h1').textContent.split(' ')[1]")


@pytest.mark.tornado
def test_the_readmes_page_shows_a_result_once_though_its_processes_are_killed_or_it_is_slow(browser, story):
    story.begin()
    tab, task = story.open(browser)
    until(begun(task, 1, story.folder).exists)
    story.kill()
    story.begin()
    leave(task, 1, story.folder).touch()
    tab.wait_for("document.body.textContent.includes('SUCCESS')")
    held = []
    browser.route(re.compile("/events"), lambda route: held.append(route))
    slow, slow_task = story.open(browser)
    leave(slow_task, 1, story.folder).touch()
    until(lambda: f"[{slow_task}] succeeded" in story.worker.said)
    until(lambda: slow.run("true") and held)  # Playwright tells what has come while it is asked something
    held[0].continue_()
    for one, its in [(tab, task), (slow, slow_task)]:
        notify(story.folder, {"id": its, "state": "END"})
        one.wait_for("document.body.textContent.includes('END')")
        assert one.run("document.body.innerText").split() == ["Report", its, "SUCCESSEND"]
        assert one.errors == []


def answers(port):
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), SECONDS):
        return True
    return False
