// @ts-check
/** How long each notification took from the job to the page, over the last half minute; caught up ones are hollow. */

const SHOWN_MS = 30_000;
const MOST_POINTS = 4_000;
const RECENT = 500; // of how many the percentiles are
const LEAST_MS = 0.3, MOST_MS = 60_000; // the scale is logarithmic
const MARKS = [[1, "1 ms"], [10, "10 ms"], [100, "100 ms"], [1_000, "1 s"], [10_000, "10 s"], [60_000, "1 min"]];
const CALM = matchMedia("(prefers-reduced-motion: reduce)");
const FRAME_MS = 50, CALM_FRAME_MS = 1_000;
const LEFT = 46, BOTTOM = 16, TOP = 6, RIGHT = 6;

/** @typedef {{at: number, ms: number, name: string, isLate: boolean}} Point */

/** The time by this machine's clock, which is the job's too, in finer steps than `Date.now()` has. */
export const now = () => performance.timeOrigin + performance.now();

export class Plot {
  /** @type {Point[]} */
  #points = [];
  /** @type {Map<string, number[]>} */
  #recent = new Map();
  #due = 0;
  #canvas;

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
  }

  /** @param {string} name @param {number} ms @param {boolean} isLate */
  add(name, ms, isLate) {
    this.#points.push({at: now(), ms, name, isLate});
    if (this.#points.length > MOST_POINTS) this.#points.shift();
    if (!isLate) this.#recent.set(name, [...(this.#recent.get(name) ?? []).slice(1 - RECENT), ms]);
    this.draw();
  }

  /** Of what came as it happened. @param {string} name @returns {{p50: number, p99: number} | null} */
  percentiles(name) {
    const sorted = [...(this.#recent.get(name) ?? [])].sort((a, b) => a - b);
    const at = (/** @type {number} */ share) => sorted[Math.ceil(sorted.length * share) - 1];
    return sorted.length ? {p50: at(0.5), p99: at(0.99)} : null;
  }

  draw() {
    this.#due ||= setTimeout(() => {
      this.#due = 0;
      this.#paint();
      if (this.#points.length) this.draw(); // time goes on
    }, CALM.matches ? CALM_FRAME_MS : FRAME_MS);
  }

  #paint() {
    const brush = fit(this.#canvas), wide = this.#canvas.clientWidth, high = this.#canvas.clientHeight;
    const end = now(), span = high - TOP - BOTTOM;
    while (this.#points.length && this.#points[0].at < end - SHOWN_MS) this.#points.shift();
    const y = (/** @type {number} */ ms) =>
      TOP + span * (1 - Math.log(Math.min(Math.max(ms, LEAST_MS), MOST_MS) / LEAST_MS) / Math.log(MOST_MS / LEAST_MS));
    this.#paintScale(brush, wide, high, y);
    const colours = new Map(Object.keys(SHAPES).map(name => [name, colour(`--${name}`)]));
    for (const {at, ms, name, isLate} of this.#points) {
      const x = LEFT + (wide - LEFT - RIGHT) * (1 - (end - at) / SHOWN_MS);
      brush.strokeStyle = brush.fillStyle = colours.get(name) ?? "";
      mark(brush, name, x, y(ms), isLate);
    }
  }

  /** @param {CanvasRenderingContext2D} brush @param {number} wide @param {number} high @param {(ms: number) => number} y */
  #paintScale(brush, wide, high, y) {
    brush.font = "11px system-ui, sans-serif";
    brush.lineWidth = 1;
    for (const [ms, text] of MARKS) {
      const at = Math.round(y(Number(ms))) + 0.5;
      brush.strokeStyle = colour("--line");
      brush.beginPath();
      brush.moveTo(LEFT, at);
      brush.lineTo(wide - RIGHT, at);
      brush.stroke();
      brush.fillStyle = colour("--soft");
      brush.textAlign = "right";
      brush.textBaseline = "middle";
      brush.fillText(String(text), LEFT - 6, at);
    }
    brush.textBaseline = "bottom";
    brush.fillText("now", wide - RIGHT, high);
    brush.textAlign = "left";
    brush.fillText(`${SHOWN_MS / 1_000} s ago`, LEFT, high);
  }
}

/**
 * Each series has a shape too: colours are not for all.
 * @type {Record<string, (brush: CanvasRenderingContext2D, r: number) => void>}
 */
const SHAPES = {
  A: (brush, r) => brush.arc(0, 0, r, 0, 2 * Math.PI),
  B: (brush, r) => brush.rect(-r, -r, 2 * r, 2 * r),
  C: (brush, r) => {
    brush.moveTo(0, -1.2 * r);
    brush.lineTo(1.2 * r, r);
    brush.lineTo(-1.2 * r, r);
    brush.closePath();
  },
};

/** @param {CanvasRenderingContext2D} brush @param {string} name @param {number} x @param {number} y @param {boolean} isLate */
function mark(brush, name, x, y, isLate) {
  brush.save();
  brush.translate(x, y);
  brush.beginPath();
  SHAPES[name](brush, 2.6);
  brush.lineWidth = 0.8;
  if (isLate) brush.stroke();
  else brush.fill();
  brush.restore();
}

/** A colour of the page's, light or dark. @param {string} name */
export const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name);

/** Make a canvas as fine as the screen, and empty. @param {HTMLCanvasElement} canvas @returns {CanvasRenderingContext2D} */
export function fit(canvas) {
  const scale = devicePixelRatio || 1;
  const wide = Math.round(canvas.clientWidth * scale), high = Math.round(canvas.clientHeight * scale);
  if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, {width: wide, height: high});
  const brush = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  brush.setTransform(scale, 0, 0, scale, 0, 0);
  brush.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  return brush;
}
