"""The demo's page in a real browser: a job in three panes, while processes are killed and connections are cut."""
# ruff: noqa: F401, F811 - fixtures are imported, and asked for by their names

from __future__ import annotations

import pytest

from chromium import running_chromium
from demo_page import room, serving
from processes import SECONDS

FILES = 200
TOLD = FILES + 2
JOB = ("--files", str(FILES), "--seconds", "4")


@pytest.fixture(scope="module")
def chromium():
    with running_chromium() as browser:
        yield browser


class Window:
    """The page, and what it complained of."""

    def __init__(self, context, port):
        self.errors = []
        self.page = context.new_page()
        self.page.set_default_timeout(400 * SECONDS)
        self.page.on("pageerror", lambda error: self.errors.append(error.message))
        self.page.on("console", self._heard)
        self.page.goto(f"http://127.0.0.1:{port}/")
        for name in "ABC":
            self.wait_for_state(name, "open")

    def _heard(self, message):
        # That connections end is what the story is about; all else is a fault, what the page's policy forbids above all.
        is_end = "net::ERR" in message.text or message.text.startswith("WebSocket connection to")
        if message.type == "error" and not is_end:
            self.errors.append(message.text)

    def pane(self, name):
        return self.page.get_by_role("article", name=f"process {name}")

    def button(self, text, name):
        return self.page.get_by_role("button", name=f"{text}: process {name}")

    def wait_for_state(self, name, state):
        self.pane(name).locator(f".state[data-is='{state}']").wait_for()

    def wait_for_count(self, name, least):
        self.page.wait_for_function(
            "([name, least]) => Number(document.querySelector(`[aria-label='process ${name}'] .received`).textContent) >= least",
            arg=[name, least],
        )

    def wait_for_end(self, job=1):
        for name in "ABC":
            self.pane(name).get_by_text(f"job {job}: {TOLD} of {TOLD}").wait_for()

    def counts(self, name=None):
        place = self.pane(name) if name else self.page.locator("#score")
        of = (lambda word: f".{word}") if name else (lambda word: f"#{word}")
        return [
            int(place.locator(of(word)).inner_text().replace(",", "")) for word in ("received", "duplicated", "missing")
        ]


@pytest.fixture
def window(chromium, room):
    with serving(room, *JOB) as page:
        context = chromium.new_context()
        window = Window(context, page.port)
        yield window
        assert window.errors == []
        context.close()


def test_three_panes_stay_complete_while_processes_are_killed_and_connections_cut(window):
    assert [window.pane(name).locator("select").input_value() for name in "ABC"] == ["events", "socket", "poll"]
    window.page.get_by_role("button", name="Run a job").click()
    for name in "ABC":
        window.wait_for_count(name, 20)
    window.button("kill -9", "B").click()
    window.wait_for_state("B", "killed")
    window.button("cut connection", "A").click()
    window.wait_for_state("A", "cut")
    window.button("kill -9", "C").click()
    window.wait_for_state("C", "killed")
    window.button("start again", "C").click()
    window.button("start again", "B").click()
    window.wait_for_end()
    assert [window.counts(name) for name in "ABC"] == [[TOLD, 0, 0]] * 3
    assert window.counts() == [3 * TOLD, 0, 0]
    for name in "ABC":
        assert int(window.pane(name).locator(".late").inner_text()) > 0
        assert "caught up from the log" in window.pane(name).locator(".note").inner_text()
    window.page.get_by_text("Job 1 is done:").wait_for()


def test_a_pane_goes_on_by_another_transport_with_its_cursor(window):
    window.page.keyboard.press("j")
    ways = {"A": ["poll", "socket"], "B": ["events", "poll"], "C": ["socket", "events"]}
    for step in (0, 1):
        for name in "ABC":
            window.wait_for_count(name, 30 * (step + 1))
            window.pane(name).locator("select").select_option(ways[name][step])
    window.wait_for_end()
    assert window.counts() == [3 * TOLD, 0, 0]


def test_a_pane_that_is_opened_when_all_is_over_shows_all(window):
    window.page.keyboard.press("j")
    window.wait_for_end()
    window.page.reload()
    window.wait_for_end()
    assert window.counts() == [3 * TOLD, 0, 0]
    assert [int(window.pane(name).locator(".late").inner_text()) for name in "ABC"] == [TOLD] * 3


def test_all_of_it_goes_by_the_keyboard(window):
    window.page.keyboard.press("j")
    for name, kill, cut in zip("ABC", "123", "qwe", strict=True):
        window.wait_for_count(name, 10)
        window.page.keyboard.press(cut)
        window.wait_for_state(name, "cut")
        window.page.keyboard.press(kill)
        window.wait_for_state(name, "killed") if name == "C" else None
    for name, kill in zip("ABC", "123", strict=True):
        window.button("start again", name).wait_for()
        window.page.keyboard.press(kill)
    window.wait_for_end()
    assert window.counts() == [3 * TOLD, 0, 0]
    window.page.keyboard.press("Tab")
    assert window.page.evaluate("document.activeElement.matches('button, select')")
    outlined = window.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outlined == "solid"


def test_it_fits_a_phone_in_light_and_in_dark(window):
    window.page.set_viewport_size({"width": 360, "height": 740})
    window.page.keyboard.press("j")
    window.wait_for_end()
    window.button("kill -9", "C").scroll_into_view_if_needed()
    assert window.page.evaluate("document.documentElement.scrollWidth") <= 360
    seen = set()
    for scheme in ("light", "dark"):
        window.page.emulate_media(color_scheme=scheme)
        seen.add(window.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert faint_texts(window.page) == [], scheme
    assert len(seen) == 2


def faint_texts(page):
    """Find texts whose contrast to what is behind them is below 4.5 (WCAG 2.2, 1.4.3); what is disabled does not count."""
    return page.evaluate("""() => {
      const parse = colour => colour.match(/[\\d.]+/g).map(Number);
      const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
      const ground = element => {
        for (let e = element; e; e = e.parentElement) {
          const [r, g, b, a = 1] = parse(getComputedStyle(e).backgroundColor);
          if (a === 1) return [r, g, b];
        }
      };
      const found = [];
      for (const element of document.querySelectorAll("body *")) {
        const says = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
        if (!says || !element.checkVisibility() || element.closest("[aria-disabled='true'], template")) continue;
        const [a, b] = [light(parse(getComputedStyle(element).color)), light(ground(element))].sort((x, y) => y - x);
        if ((a + 0.05) / (b + 0.05) < 4.5) found.push(`${element.textContent}: ${(a + 0.05) / (b + 0.05)}`);
      }
      return found;
    }""")


def test_the_plot_shows_each_series_and_says_it_in_words(window):
    window.page.keyboard.press("j")
    window.wait_for_end()
    window.page.wait_for_function(
        "document.querySelectorAll('#legend li').length === 3 && document.querySelector('#legend').textContent.includes('p99')"
    )
    label = window.page.locator("#latency canvas").get_attribute("aria-label")
    assert [way in label for way in ("EventSource p50", "WebSocket p50", "long poll p50")] == [True] * 3
    colours = window.page.evaluate("""() => {
      const canvas = document.querySelector("#latency canvas");
      const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      return ["--A", "--B", "--C"].map(name => {
        const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
        const wanted = [1, 3, 5].map(at => parseInt(hex.slice(at, at + 2), 16));
        for (let at = 0; at < pixels.length; at += 4)
          if (wanted.every((value, index) => pixels[at + index] === value)) return true;
        return false;
      });
    }""")
    assert colours == [True, True, True]


TALLY = """async told => {
  const {Tally} = await import("/tally.js");
  const tally = new Tally();
  for (const one of told) {
    if (one === "gap") tally.gap();
    else if (one === "forgive") tally.forgive(1);
    else tally.take({kind: "file", job: one[0], index: one[1], files: 2, at: 0}, false);
  }
  return [tally.received, tally.duplicated, tally.missing];
}"""


def test_the_counters_count_what_is_doubled_and_what_is_missing(window):
    def tally(*told):
        return window.page.evaluate(TALLY, [one if isinstance(one, str) else [one // 10, one % 10] for one in told])

    assert tally(10, 11, 12, 13, 20) == [5, 0, 0]
    assert tally(10, 11, 11, 12, 10) == [3, 2, 0]
    assert tally(10, 12, 13) == [3, 0, 1]
    assert tally(12, 13, 20) == [3, 0, 0]  # the store had let go of what came before the first
    assert tally(10, 12, 11, 13) == [4, 0, 0]
    assert tally(10, 11, 20) == [3, 0, 2]
    assert tally(10, 11, 20, 22) == [4, 0, 3]
    assert tally(10, 11, "forgive", 20, 22) == [4, 0, 1]
    assert tally(10, 11, "gap", 13) == [3, 0, 1]
    assert tally(10, 11, "gap", 12, 13) == [4, 0, 1]
    assert tally(10, 11, "gap") == [2, 0, 1]


def test_a_process_that_is_started_again_is_gone_back_to_at_once(window):
    window.page.evaluate("Math.random = () => 1e4")  # the next try by itself would be in some hours
    for name in "ABC":
        window.button("kill -9", name).click()
        window.wait_for_state(name, "killed")
    for name in "ABC":
        window.button("start again", name).click()
        window.wait_for_state(name, "open")


def test_the_keys_work_beside_an_open_choice_and_change_none(window):
    window.pane("C").locator("select").focus()
    window.page.keyboard.press("e")
    window.wait_for_state("C", "cut")
    assert window.pane("C").locator("select").input_value() == "poll"


def test_a_store_that_let_go_of_the_beginning_makes_nothing_missing(chromium, room, tmp_path):
    url = f"sqlite:///{tmp_path}/small.db?keep=50&keep_min_seconds=0"
    with serving(room, "--store", url, *JOB) as page:
        context = chromium.new_context()
        window = Window(context, page.port)
        window.page.keyboard.press("j")
        window.wait_for_end()
        window.page.reload()
        window.page.get_by_text("Job 1 is done:").wait_for()
        for name in "ABC":
            window.wait_for_count(name, 1)
        (received, *wrong) = window.counts()
        context.close()
    assert (received < 3 * TOLD, wrong) == (True, [0, 0])


def test_the_end_of_the_demo_is_said(chromium, room):
    with serving(room, *JOB) as page:
        context = chromium.new_context()
        window = Window(context, page.port)
    window.page.get_by_role("alert").get_by_text("The demo has ended").wait_for()
    for name in "ABC":
        window.wait_for_state(name, "ended")
    assert not window.page.get_by_role("button").first.is_visible()
    context.close()
