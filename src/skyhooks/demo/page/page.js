// @ts-check
/** The whole page: it asks the demo how its processes are, and adds up what the panes have got. */

import {Pane, ask, element, judge, plural} from "./pane.js";
import {Plot} from "./plot.js";

const STATE_EVERY_MS = 400, LEGEND_EVERY_MS = 1_000;

const find = (/** @type {string} */ selector) => /** @type {any} */ (document.querySelector(selector));
/** @type {Map<string, Pane>} */
const panes = new Map();
const plot = new Plot(find("#latency canvas"));
/** @type {any} */
let state = null;
/** @type {any} */
let summary = null;
let legendDue = 0;

/** @param {Pane} pane @param {import("./tally.js").Told} data @param {number} ms @param {boolean} isLate */
function told(pane, data, ms, isLate) {
  plot.add(pane.name, ms, isLate);
  if (data.kind === "summary" && data.job >= (summary?.job ?? 0)) summary = data;
  paintSoon();
}

async function refresh() {
  try {
    state = await (await fetch("/state")).json();
  } catch {
    state = null;
  }
  if (state === null) {
    end();
    return;
  }
  for (const shown of state.processes) {
    const pane = panes.get(shown.name);
    if (pane) pane.show(shown);
    else panes.set(shown.name, new Pane(shown, told));
    state.failed_jobs.forEach((/** @type {number} */ job) => panes.get(shown.name)?.tally.forgive(job));
  }
  find("#along").textContent = `skyhooks listen ${state.key} --since start --store '${state.store}'`;
  find("#notice").textContent = state.notice;
  find("#notice").hidden = !state.notice;
  paint();
}

function end() {
  document.body.classList.add("ended");
  find("#ended").hidden = false;
  panes.forEach(pane => pane.end());
}

function paintSoon() {
  legendDue ||= setTimeout(() => {
    legendDue = 0;
    paintLegend();
  }, LEGEND_EVERY_MS);
  requestAnimationFrame(paint);
}

function paint() {
  for (const name of /** @type {const} */ (["received", "duplicated", "missing"])) {
    const count = [...panes.values()].reduce((sum, pane) => sum + pane.tally[name], 0);
    find(`#${name}`).textContent = count.toLocaleString("en");
    if (name !== "received") find(`#${name}`).dataset.is = judge(name, count);
  }
  if (state) paintJob();
}

function paintJob() {
  const [first, rest] = describeJob();
  const shown = find("#job");
  if (shown.textContent !== first + rest) shown.replaceChildren(element("strong", first), element("span", rest));
  find("#run").setAttribute("aria-disabled", String(state.job_is_running)); // `disabled` would take the focus away
}

function describeJob() {
  if (state.trouble) return [state.trouble, ""];
  if (state.job_is_running) return [`Job ${state.job} is reading files.`, "Kill a process now, or cut a connection: nothing will be missing."];
  if (summary?.job === state.job) {
    const facts = [plural(summary.files, "file"), plural(summary.lines, "line"), plural(summary.words, "word"), `${summary.seconds.toFixed(1)} s`];
    return [`Job ${summary.job} is done:`, `${facts.join(", ")}, SHA-256 ${summary.sha256.slice(0, 12)}…`];
  }
  if (state.job) return [`Job ${state.job} is done.`, "No pane has its end yet: start a process, and it catches up."];
  return ["No job yet.", "Run one; then kill a process, or cut a connection: its pane carries on without a gap."];
}

function paintLegend() {
  const entries = [...panes.values()].map(pane => {
    const found = plot.percentiles(pane.name), entry = element("li", "");
    entry.style.setProperty("--series", `var(--${pane.name})`);
    const figures = found ? ` p50 ${milliseconds(found.p50)}, p99 ${milliseconds(found.p99)}` : "";
    entry.append(element("b", `${SHAPES[/** @type {"A" | "B" | "C"} */ (pane.name)]} ${pane.name} ${pane.way}`), figures);
    return entry;
  });
  find("#legend").replaceChildren(...entries);
  find("#latency canvas").setAttribute("aria-label", `latency by time: ${entries.map(entry => entry.textContent).join("; ")}`);
}

const SHAPES = {A: "●", B: "■", C: "▲"};

/** @param {number} ms */
const milliseconds = ms => (ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`);

const run = () => state?.job_is_running || ask("job");

find("#run").addEventListener("click", run);
addEventListener("asked", refresh);
addEventListener("keydown", event => {
  const act = event.ctrlKey || event.metaKey || event.altKey || event.repeat ? undefined : actionOf(event.key.toUpperCase());
  if (!act || !state) return;
  event.preventDefault(); // in a select it would choose a transport
  act();
});

/** @param {string} key @returns {(() => unknown) | undefined} */
function actionOf(key) {
  const toKill = panes.get("ABC"["123".indexOf(key)]), toCut = panes.get("ABC"["QWE".indexOf(key)]);
  if (key === "J") return run;
  return toKill ? () => toKill.killOrStart() : toCut && (() => toCut.cut());
}

function redraw() {
  plot.draw();
  panes.forEach(pane => pane.draw());
}
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
redraw();
await refresh();
while (state) {
  await refresh();
  await new Promise(resolve => setTimeout(resolve, STATE_EVERY_MS));
}
