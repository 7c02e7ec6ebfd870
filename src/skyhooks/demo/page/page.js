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
  document.body.classList.toggle("ended", state === null);
  find("#ended").hidden = state !== null;
  if (state === null) return;
  for (const shown of state.processes) {
    const pane = panes.get(shown.name);
    if (pane) pane.show(shown);
    else panes.set(shown.name, new Pane(shown, told));
  }
  find("#along").textContent = `skyhooks listen ${state.key} --since start --store '${state.store}'`;
  find("#notice").textContent = state.notice;
  find("#notice").hidden = !state.notice;
  paint();
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
  find("#run").disabled = state.job_is_running;
}

function describeJob() {
  if (state.trouble) return [state.trouble, ""];
  if (state.job_is_running) return [`Job ${state.job} is reading files.`, "Kill a process now, or cut a connection: nothing will be missing."];
  if (summary?.job === state.job) {
    const facts = [plural(summary.files, "file"), plural(summary.lines, "line"), plural(summary.words, "word"), `${summary.seconds.toFixed(1)} s`];
    return [`Job ${summary.job} is done:`, `${facts.join(", ")}, SHA-256 ${summary.sha256.slice(0, 12)}…`];
  }
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

find("#run").addEventListener("click", () => ask("job"));
addEventListener("asked", refresh);
addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target instanceof HTMLSelectElement) return;
  const key = event.key.toUpperCase();
  if (key === "J" && !find("#run").disabled) ask("job");
  panes.get("ABC"["123".indexOf(key)])?.killOrStart();
  panes.get("ABC"["QWE".indexOf(key)])?.cut();
});
function redraw() {
  plot.draw();
  panes.forEach(pane => pane.draw());
}
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
redraw();
for (;;) {
  await refresh();
  await new Promise(resolve => setTimeout(resolve, STATE_EVERY_MS));
}
