// @ts-check
/** One pane: a subscription to one web process, what came by it, and buttons that get in its way. */

import {subscribe} from "./skyhooks.js";
import {colour, fit, now} from "./plot.js";
import {Tally} from "./tally.js";

const FILES_SHOWN = 4, CURSOR_SHOWN = 8;
/** @type {Record<import("./skyhooks.js").Transport, string>} */
const TRANSPORTS = {events: "EventSource", socket: "WebSocket", poll: "long poll"};

/**
 * A web process, as the demo's own server tells of it.
 * @typedef {{name: string, framework: string, transports: import("./skyhooks.js").Transport[], port: number, pid: number | null, starting: boolean, cut: boolean}} Shown
 */

export class Pane {
  tally = new Tally();
  transport;
  #shown;
  #element;
  #find;
  #told;
  /** @type {import("./skyhooks.js").Subscription | null} */
  #subscription = null;
  #state = "connecting";
  #openedAt = 0;
  #lostAt = 0;
  #lateBefore = 0;
  #back = "";
  /** @type {import("./tally.js").Told[]} */
  #files = [];
  #isDone = false;
  #isEnded = false;
  #due = 0;

  /**
   * @param {Shown} shown
   * @param {(pane: Pane, data: import("./tally.js").Told, ms: number, isLate: boolean) => void} told
   */
  constructor(shown, told) {
    this.#shown = shown;
    this.#told = told;
    this.transport = shown.transports[0];
    const template = /** @type {HTMLTemplateElement} */ (document.querySelector("#pane"));
    this.#element = /** @type {HTMLElement} */ (template.content.firstElementChild?.cloneNode(true));
    this.#find = (/** @type {string} */ name) => /** @type {any} */ (this.#element.querySelector(name));
    this.#element.style.setProperty("--series", `var(--${shown.name})`);
    this.#element.setAttribute("aria-label", `process ${shown.name}`);
    this.#find(".kill").addEventListener("click", () => this.killOrStart());
    this.#find(".cutting").addEventListener("click", () => this.cut());
    this.#find(".transport").setAttribute("aria-label", `process ${shown.name}: transport`);
    this.#find(".transport").append(...shown.transports.map(name => new Option(TRANSPORTS[name], name)));
    this.#find(".transport").addEventListener("change", (/** @type {any} */ event) => this.changeTo(event.target.value));
    document.querySelector("#panes")?.append(this.#element);
    this.#subscribe("start");
  }

  get name() {
    return this.#shown.name;
  }

  get way() {
    return TRANSPORTS[this.transport];
  }

  /** Go on by another transport: the cursor is the same for all. @param {import("./skyhooks.js").Transport} transport */
  changeTo(transport) {
    const since = this.#subscription?.cursor ?? "start";
    this.#subscription?.close();
    this.transport = transport;
    this.#subscribe(since);
    this.#lostAt = 0;
    this.#back = `Went on by ${this.way}`;
  }

  killOrStart() {
    if (!this.#shown.starting) ask(this.#shown.pid === null ? "start" : "kill", this.name);
  }

  cut() {
    if (!this.#shown.cut && this.#shown.pid !== null) ask("cut", this.name);
  }

  /** @param {Shown} shown */
  show(shown) {
    if (shown.pid !== null && !shown.starting && !shown.cut) this.#subscription?.retry();
    this.#shown = shown;
    this.draw();
  }

  /** The demo has ended, and with it all that could be told. */
  end() {
    this.#isEnded = true;
    this.#subscription?.close();
    this.#find(".transport").disabled = true;
    this.draw();
  }

  draw() {
    this.#due ||= requestAnimationFrame(() => {
      this.#due = 0;
      this.#paint();
    });
  }

  /** @param {string} since */
  #subscribe(since) {
    const base = `http://${location.hostname}:${this.#shown.port}`;
    this.#subscription = subscribe({events: `${base}/events`, socket: `${base}/socket`, poll: `${base}/poll`}, {
      since,
      transports: [this.transport],
      onNotification: ({data}) => this.#take(data),
      onGap: () => { this.tally.gap(); this.draw(); },
      onState: state => this.#turn(state),
    });
  }

  /** @param {string} state */
  #turn(state) {
    if (state === "open") this.#open();
    else if (this.#state === "open") this.#lose();
    this.#state = state;
    this.draw();
  }

  #open() {
    this.#openedAt = now();
    if (this.#lostAt) this.#back = `Back after ${((now() - this.#lostAt) / 1_000).toFixed(1)} s`;
    this.#lostAt = 0;
  }

  #lose() {
    this.#lostAt = now();
    this.#lateBefore = this.tally.late;
  }

  /** @param {import("./tally.js").Told} data */
  #take(data) {
    const sentAt = 1_000 * data.at, isLate = sentAt < this.#openedAt, job = this.tally.job;
    if (this.tally.take(data, isLate)) this.#told(this, data, now() - sentAt, isLate);
    if (this.tally.job !== job) {
      this.#files = [];
      this.#isDone = false;
      if (!isLate) this.#back = "";
    }
    if (data.kind === "file") this.#files = [data, ...this.#files].slice(0, FILES_SHOWN);
    if (data.kind === "summary") this.#isDone = true;
    this.draw();
  }

  // -- what is seen -----------------------------------------------------------------------------

  #paint() {
    const {name, framework, pid, port, starting, cut} = this.#shown, cursor = this.#subscription?.cursor ?? "";
    const state = this.#isEnded ? "ended" : cut ? "cut" : starting ? "starting" : pid === null ? "killed" : this.#state;
    this.#write(".name", name);
    this.#write(".framework", framework);
    this.#write(".where", pid === null ? `port ${port}` : `pid ${pid} · port ${port}`);
    this.#write(".state", state);
    this.#find(".state").dataset.is = state;
    this.#write(".cursor", cursor.length > CURSOR_SHOWN ? `cursor …${cursor.slice(-CURSOR_SHOWN)}` : "no cursor yet");
    this.#find(".cursor").title = cursor;
    this.#write(".note", this.#describe());
    this.#paintCounts();
    this.#paintFiles();
    this.#paintStrip();
    this.#paintButtons();
  }

  #paintCounts() {
    const {received, late, duplicated, missing} = this.tally;
    for (const [name, count] of Object.entries({received, late, duplicated, missing})) {
      this.#write(`.${name}`, count.toLocaleString("en"));
      if (name !== "received") this.#find(`.${name}`).dataset.is = judge(name, count);
    }
  }

  #describe() {
    const {starting, pid, cut} = this.#shown, {late, duplicated, missing, job} = this.tally;
    if (this.#isEnded) return "";
    if (cut) return "Its connection is cut, and none is let through.";
    if (starting) return "Starting.";
    if (pid === null) return "Dead. What is told meanwhile waits in the log.";
    if (this.#state !== "open") return "Connecting again, with its cursor.";
    const caughtUp = late - this.#lateBefore;
    const back = this.#back && `${this.#back}: ${caughtUp ? `${plural(caughtUp, "notification")} caught up from the log` : "nothing was missed"}. `;
    if (this.#isDone) return duplicated || missing ? back : `${back}Got everything, once and in order.`;
    return job ? back : "Waiting for a job.";
  }

  #paintFiles() {
    const shown = this.#files.map(file => file.index).join();
    if (this.#find(".files").dataset.shown === shown) return;
    this.#find(".files").dataset.shown = shown;
    this.#find(".files").replaceChildren(...this.#files.map(file => {
      const facts = file.error ? ["-", file.error] : [plural(file.lines, "line"), file.sha256.slice(0, 8)];
      const row = document.createElement("li");
      row.append(...[file.path, ...facts].map(text => element("span", text, "cut")));
      row.title = file.error
        ? `${file.path}: ${file.error}`
        : `${file.path}: ${plural(file.lines, "line")}, ${plural(file.words, "word")}, SHA-256 ${file.sha256}`;
      return row;
    }));
  }

  #paintStrip() {
    const strip = this.#find(".strip"), brush = fit(strip), {arrived, next, of, count, job} = this.tally;
    const wide = strip.clientWidth, palette = ["--bad", "--live", "--late-fill"].map(colour); // as a tally counts them
    const colours = Array.from({length: next}, (_, index) => palette[arrived[index] ?? 0]);
    for (let from = 0, to = 0; from < next; from = to) {
      while (to < next && colours[to] === colours[from]) to += 1; // in one go, or there are seams
      brush.fillStyle = colours[from];
      brush.fillRect(from / of * wide, 0, (to - from) / of * wide, strip.clientHeight);
    }
    strip.setAttribute("aria-valuemax", of);
    strip.setAttribute("aria-valuenow", count);
    strip.setAttribute("aria-label", `process ${this.name}: notifications of the job`);
    this.#write(".count", of ? `job ${job}: ${count.toLocaleString("en")} of ${of.toLocaleString("en")}` : "no job yet");
    this.#write(".percent", of ? `${Math.floor(100 * count / of)} %` : "");
  }

  #paintButtons() {
    const {name, pid, starting, cut} = this.#shown, index = "ABC".indexOf(name);
    const kill = this.#find(".kill"), cutting = this.#find(".cutting");
    label(kill, pid === null ? "start again" : "kill -9", "123"[index], `process ${name}`);
    kill.classList.toggle("start", pid === null);
    kill.setAttribute("aria-disabled", String(starting));
    label(cutting, cut ? "cut" : "cut connection", "QWE"[index], `process ${name}`);
    cutting.setAttribute("aria-disabled", String(cut || pid === null)); // `disabled` would take the focus away
  }

  /** @param {string} selector @param {string} text */
  #write(selector, text) {
    const found = this.#find(selector);
    if (found.textContent !== text) found.textContent = text;
  }
}

/** @param {string} name @param {number} count */
export function judge(name, count) {
  if (name === "late") return count ? "late" : "";
  return count ? "bad" : "good";
}

/** @param {string} what @param {string} [process] */
export async function ask(what, process) {
  await fetch(`/${what}${process ? `?process=${process}` : ""}`, {method: "POST"}).catch(() => {});
  dispatchEvent(new Event("asked"));
}

/** @param {number} count @param {string} word */
export const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

/** @param {string} kind @param {string} text @param {string} [name] */
export function element(kind, text, name = "") {
  const made = document.createElement(kind);
  made.textContent = text;
  made.className = name;
  return made;
}

/** @param {HTMLElement} button @param {string} text @param {string} key @param {string} of */
function label(button, text, key, of) {
  if (button.firstChild?.textContent === text) return;
  const hint = element("kbd", key);
  hint.setAttribute("aria-hidden", "true");
  button.replaceChildren(text, hint);
  button.setAttribute("aria-label", `${text}: ${of}`);
  button.setAttribute("aria-keyshortcuts", key.toLowerCase());
}
