"""skyhooks.js in a real browser, against real web processes that end, are killed, and are hidden by proxies."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from chromium import ScriptTab, browser, chromium  # noqa: F401  # fixtures
from processes import Process, Proxy
from skyhooks import Notifier

KEYS = {"account": 42}
TRANSPORTS = ["events", "socket", "poll"]
ALL = {name: f"/{name}" for name in TRANSPORTS}
each_transport = pytest.mark.parametrize("transport", TRANSPORTS)


class Web(Process):
    """A web process with bridges and a page."""

    def __init__(self, store, port=0):
        options = {"heartbeat_seconds": 0.5, "lease_seconds": 2.0}
        super().__init__("page_tornado.py", store=store, port=port, options=options)

    def wait_for_start(self):
        (started,) = self.wait(lambda: self.of("started"))
        self.port = started["port"]
        self.url = f"http://127.0.0.1:{self.port}/"

    @property
    def cursor(self):
        return self.ask("cursor", "cursor", keys=KEYS)["cursor"]


class Deployment:
    """One store, the processes on it, and the job that notifies."""

    def __init__(self, folder):
        self.store = f"sqlite:///{folder / 'skyhooks.db'}"
        self.notifier = Notifier(self.store)
        self.processes = []

    def web(self, port=0, store=None):
        web = Web(store or self.store, port)
        self.processes.append(web)
        web.wait_for_start()
        return web

    def notify(self, *data):
        for one in data:
            self.notifier.notify(KEYS, one)

    def end(self):
        self.notifier.close()
        for process in self.processes:
            process.end()


@pytest.fixture
def deployment(tmp_path):
    deployment = Deployment(tmp_path)
    yield deployment
    deployment.end()


@pytest.fixture
def proxy(deployment):
    """What stands between a tab and the processes; it closes before they end."""
    proxy = Proxy()
    yield proxy
    proxy.close()


def opened(browser, server, transport, **options):
    """Open a tab, and wait until it listens."""
    tab = ScriptTab(browser, f"http://127.0.0.1:{server.port}/").begin(ALL, transports=[transport], **options)
    tab.wait_for_state(f"open {transport}")
    return tab


# -- each once ----------------------------------------------------------------------------------------


@each_transport
def test_tabs_opened_before_during_and_after_a_job_show_each_once(browser, deployment, transport):
    web = deployment.web()
    since = web.cursor
    before = opened(browser, web, transport)
    job = threading.Thread(target=deployment.notify, args=range(200))
    job.start()
    during = opened(browser, web, transport, since=since)
    job.join()
    after = opened(browser, web, transport, since=since)
    for tab in (before, during, after):
        tab.wait_for_data(*range(200))
        assert tab.errors == []


@each_transport
def test_what_is_told_of_a_notification(browser, deployment, transport):
    tab = opened(browser, deployment.web(), transport)
    deployment.notifier.notify(KEYS, {"rows": [1, "zwölf\n", None]}, id="task-17")
    tab.wait_for_data({"rows": [1, "zwölf\n", None]})
    (shown,) = tab.shown
    assert shown["cursor"] == tab.run("tab.subscription.cursor")
    if transport == "events":
        assert shown["event"] == "message"
    else:
        assert (shown["id"], shown["key"]) == ("task-17", "account=42")
        assert transport == "poll" or not shown["replayed"]  # between two polls the log is where it waits
        assert tab.run("Math.abs(Date.now() - tab.shown[0].sentAt) < 60_000")


@each_transport
def test_two_tabs_of_one_browser_show_each(browser, deployment, transport):
    web = deployment.web()
    tabs = [opened(browser, web, transport), opened(browser, web, transport)]
    deployment.notify(1, 2)
    for tab in tabs:
        tab.wait_for_data(1, 2)


@each_transport
def test_what_a_callback_throws_is_reported_and_stops_nothing(browser, deployment, transport):
    tab = ScriptTab(browser, deployment.web().url)
    tab.run(f"""begin({ALL}, {{transports: ["{transport}"], onNotification: one => {{
        tab.shown.push(one);
        throw new Error(`no ${{one.data}}`);
    }}}})""")
    tab.wait_for_state("open")
    deployment.notify(1, 2)
    tab.wait_for_data(1, 2)
    assert tab.errors == ["no 1", "no 2"]
    assert tab.states == [f"connecting {transport}", f"open {transport}"]


@each_transport
def test_a_callback_may_close_and_hears_nothing_more(browser, deployment, transport):
    web = deployment.web()
    since = web.cursor
    deployment.notify(1, 2, 3)
    tab = ScriptTab(browser, web.url)
    tab.run(f"""begin({ALL}, {{transports: ["{transport}"], since: "{since}", onNotification: one => {{
        tab.shown.push(one);
        tab.subscription.close();
    }}}})""")
    tab.wait_for_state("closed")
    witness = opened(browser, web, transport, since=since)
    witness.wait_for_data(1, 2, 3)
    assert tab.data == [1]
    assert tab.states[-1] == f"closed {transport}"


# -- processes that end -------------------------------------------------------------------------------


@each_transport
def test_a_process_is_killed_and_another_takes_its_place(browser, deployment, transport):
    web = deployment.web()
    tab = opened(browser, web, transport)
    deployment.notify(1, 2)
    tab.wait_for_data(1, 2)
    web.kill()
    tab.wait_for_state("waiting")
    deployment.notify(3, 4)
    deployment.web(web.port)
    deployment.notify(5)
    tab.wait_for_data(1, 2, 3, 4, 5)
    assert tab.errors == []


@each_transport
def test_a_tab_that_has_shown_nothing_yet_misses_nothing_of_a_restart_behind_a_proxy(browser, deployment, transport):
    web = deployment.web()
    tab = opened(browser, web, transport)
    tab.hurry()
    web.kill()
    with answering(web.port, 502):
        tab.wait_for_state("waiting", times=2)
        deployment.notify(1)
    deployment.web(web.port)
    tab.wait_for_data(1)


@each_transport
def test_stop_sends_tabs_to_another_process(browser, deployment, proxy, transport):
    old, new = deployment.web(), deployment.web()
    proxy.target = old.port
    tab = opened(browser, proxy, transport)
    deployment.notify(1)
    proxy.target = new.port
    old.tell("stop", drain_seconds=1)
    deployment.notify(*range(2, 100))
    old.wait(lambda: old.of("stopped"))
    deployment.notify(100)
    tab.wait_for_data(*range(1, 101))


@each_transport
def test_a_connection_that_is_cut_is_made_anew(browser, deployment, proxy, transport):
    proxy.target = deployment.web().port
    tab = opened(browser, proxy, transport)
    tab.hurry()
    for number in range(3):
        proxy.cut()
        deployment.notify(number)
        tab.wait_for_data(*range(number + 1))


@each_transport
def test_a_store_that_was_wiped_is_told_as_a_gap(browser, deployment, transport):
    web = deployment.web()
    before = deployment.web(store=f"{deployment.store}.old")
    tab = opened(browser, web, transport, since=before.cursor)
    deployment.notify(1)
    tab.wait_for_data(1)
    (gap,) = tab.run("tab.gaps")
    assert (gap["key"], gap["reason"]) == ("account=42", "restarted")
    assert gap["cursor"] != tab.run("tab.subscription.cursor")


# -- the transport ------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocked", ["/refusing", "/silent", "/holding"])
def test_the_next_transport_is_taken_where_an_eventsource_is_blocked(browser, deployment, blocked):
    tab = ScriptTab(browser, deployment.web().url).begin({**ALL, "events": blocked}, helloSeconds=1)
    tab.wait_for_state("open")
    deployment.notify(1)
    tab.wait_for_data(1)
    assert tab.states == ["connecting events", "connecting socket", "open socket"]


@pytest.mark.parametrize("blocked", ["/refusing", "/silent"])
def test_a_long_poll_goes_where_nothing_else_does(browser, deployment, blocked):
    tab = ScriptTab(browser, deployment.web().url).begin({**ALL, "events": blocked, "socket": blocked}, helloSeconds=1)
    tab.wait_for_state("open")
    deployment.notify(1)
    tab.wait_for_data(1)
    assert tab.states == ["connecting events", "connecting socket", "connecting poll", "open poll"]


def test_a_tab_keeps_to_the_transport_that_has_worked(browser, deployment):
    web = deployment.web()
    tab = ScriptTab(browser, web.url).begin({**ALL, "events": "/refusing"})
    tab.wait_for_state("open socket")
    web.kill()
    deployment.notify(1)
    deployment.web(web.port)
    tab.wait_for_data(1)
    assert "connecting events" not in tab.states[1:]


def test_the_cursor_goes_along_to_another_transport(browser, deployment):
    web = deployment.web()
    tab = ScriptTab(browser, web.url).begin(ALL)
    tab.wait_for_state("open events")
    tab.run("EventSource = undefined")
    web.kill()
    deployment.notify(1)
    deployment.web(web.port)
    tab.wait_for_data(1)
    assert tab.states[-1] == "open socket"


def test_a_transport_that_failed_is_tried_again_after_five_minutes_and_then_after_ten(browser, deployment):
    tab = ScriptTab(browser, deployment.web().url, clock=True)
    tab.begin({"events": "/refusing", "socket": "/socket"})
    for tries, seconds in enumerate([300, 600], start=1):
        tab.wait_for_state("open socket", tries)
        tab.page.clock.run_for(1_000 * seconds - 1_000)
        assert tab.states.count("connecting events") == tries, tab.states
        tab.page.clock.run_for(1_000)
        tab.wait_for_state("connecting events", tries + 1)
    tab.wait_for_state("open socket", 3)
    deployment.notify(1)
    tab.wait_for_data(1)


def test_a_tab_goes_back_to_the_transport_that_works_again(browser, deployment):
    tab = ScriptTab(browser, deployment.web().url, clock=True)
    tab.run("window.first = EventSource; EventSource = undefined")
    tab.begin({"events": "/events", "socket": "/socket"})
    tab.wait_for_state("open socket")
    tab.run("void (EventSource = first)")
    tab.page.clock.run_for(300_000)
    tab.wait_for_state("open events")
    tab.page.clock.run_for(3_600_000)
    deployment.notify(1)
    tab.wait_for_data(1)
    assert tab.states[-2:] == ["connecting events", "open events"]


def test_a_tab_beyond_the_six_connections_of_http_1_takes_a_websocket(browser, deployment):
    tab = ScriptTab(browser, deployment.web().url)
    for _ in range(7):
        tab.begin(ALL, helloSeconds=1)
    tab.wait_for_state("open", times=7)
    deployment.notify(1)
    tab.wait_for_data(*[1] * 7)
    assert sorted(one for one in tab.states if one.startswith("open")) == ["open events"] * 6 + ["open socket"]


def test_the_wait_doubles_up_to_half_a_minute(browser, deployment):
    tab = ScriptTab(browser, deployment.web().url, clock=True)
    tab.run("Math.random = () => 1")
    tab.begin("/refusing", transports=["poll"])
    for tries, seconds in enumerate([2, 4, 8, 16, 30, 30], start=1):
        tab.wait_for_state("waiting", tries)
        tab.page.clock.run_for(1_000 * seconds - 1)
        assert tab.states[-1].startswith("waiting")
        tab.page.clock.run_for(1)
        tab.wait_for_state("connecting", tries + 1)


def test_a_refusal_is_told_and_tried_again(browser, deployment):
    tab = ScriptTab(browser, deployment.web().url).begin("/refusing", transports=["poll"])
    tab.wait_for_state("connecting", times=2)
    assert tab.states[:3] == ["connecting poll", "waiting poll 404", "connecting poll"]


def test_a_callback_that_is_missing_is_an_error_at_once(browser, deployment):
    tab = ScriptTab(browser, deployment.web().url)
    with pytest.raises(Exception, match=r"subscribe takes \{onNotification, onGap\}"):
        tab.run("import('/skyhooks.js').then(({subscribe}) => subscribe('/events'))")


def test_a_subscription_can_be_closed_from_the_first_callback(browser, deployment):
    tab = ScriptTab(browser, deployment.web().url)
    states = tab.run("""import("/skyhooks.js").then(({subscribe}) => new Promise(resolve => {
      const states = [];
      const subscription = subscribe("/events", {
        onNotification() {},
        onGap() {},
        onState(state) {
          states.push(state);
          subscription.close();
          resolve(states);
        },
      });
    }))""")
    assert states == ["connecting", "closed"]
    assert tab.errors == []


@pytest.mark.parametrize(
    "arguments", ["{}, {}", "{events: '/events'}, {transports: ['poll']}", "'/', {transports: ['pigeon']}"]
)
def test_a_transport_without_a_url_is_an_error_at_once(browser, deployment, arguments):
    tab = ScriptTab(browser, deployment.web().url)
    with pytest.raises(Exception, match="TypeError"):
        tab.run(f"begin({arguments})")


@each_transport
def test_a_retry_ends_the_wait_and_disturbs_no_connection(browser, deployment, transport):
    web = deployment.web()
    tab = opened(browser, web, transport)
    tab.wait_for_ever()
    web.kill()
    tab.wait_for_state("waiting")
    deployment.notify(1)
    deployment.web(web.port)
    tab.run("tab.subscription.retry()")
    tab.wait_for_data(1)
    states = tab.states
    tab.run("tab.subscription.retry()")
    deployment.notify(2)
    tab.wait_for_data(1, 2)
    assert tab.states == states


# -- the machine it runs on ---------------------------------------------------------------------------


@each_transport
def test_a_browser_that_is_online_again_connects_at_once(browser, deployment, transport):
    tab = opened(browser, deployment.web(), transport)
    tab.wait_for_ever()
    browser.set_offline(True)
    deployment.notify(1)
    browser.set_offline(False)
    tab.wait_for_state(f"open {transport}", times=2)
    tab.wait_for_data(1)


def test_a_tab_that_is_seen_again_connects_at_once(browser, deployment):
    web = deployment.web()
    tab = opened(browser, web, "events")
    tab.wait_for_ever()
    web.kill()
    tab.wait_for_state("waiting")
    deployment.notify(1)
    deployment.web(web.port)
    tab.run("document.dispatchEvent(new Event('visibilitychange'))")
    tab.wait_for_data(1)


def test_a_tab_that_was_hidden_for_long_does_not_trust_its_connection(browser, deployment):
    tab = ScriptTab(browser, deployment.web().url, clock=True).begin()
    tab.wait_for_state("open")
    for hidden_seconds, states in [(29, []), (31, ["connecting events"])]:
        before = tab.states
        show(tab, hidden="true")
        tab.page.clock.run_for(1_000 * hidden_seconds)
        show(tab, hidden="false")
        assert tab.states[len(before) :][:1] == states  # it may be open again by now


def test_a_tab_that_was_opened_in_the_background_does_not_trust_its_connection_either(browser, deployment):
    tab = ScriptTab(browser, deployment.web().url, clock=True)
    show(tab, hidden="true")
    tab.begin()
    tab.wait_for_state("open")
    tab.page.clock.run_for(31_000)
    show(tab, hidden="false")
    tab.wait_for_state("connecting", times=2)


def show(tab, hidden):
    """Hide or show the tab: headless Chromium has no window to do it with."""
    tab.run(f"Object.defineProperty(document, 'hidden', {{value: {hidden}, configurable: true}})")
    tab.run("document.dispatchEvent(new Event('visibilitychange'))")


@contextmanager
def answering(port, status):
    """Be a proxy whose server is away."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    with HTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield
        server.shutdown()
        thread.join()
