// @ts-check
/** What one pane has got, held against how the job numbered it: nothing is to be missing, and nothing to come twice. */

const LIVE = 1, LATE = 2;

/** @typedef {{kind: string, job: number, index: number, files: number, at: number, [fact: string]: any}} Told */

export class Tally {
  received = 0;
  late = 0;
  duplicated = 0;
  job = 0;
  of = 0; // how many the job makes: one before its files, one behind them
  next = 0; // the index that is due
  /** @type {number[]} */
  arrived = []; // how each of the present job came, by its index: 1 as it happened, 2 from the log
  #seen = new Set();
  /** @type {Map<number, number>} */
  #missingOf = new Map(); // by job
  #gap = 0; // a gap that was told, until what follows it says how much is missing

  /** @param {Told} told @param {boolean} isLate @returns {boolean} whether it is new */
  take(told, isLate) {
    const name = `${told.job}:${told.index}`;
    if (this.#seen.has(name)) {
      this.duplicated += 1;
      return false;
    }
    this.#seen.add(name);
    this.received += 1;
    this.late += Number(isLate);
    const before = this.missing;
    if (told.job > this.job) this.#begin(told);
    if (told.job === this.job) this.#place(told.index, isLate ? LATE : LIVE);
    if (this.missing === before && this.#gap) this.#miss(this.job, this.#gap);
    this.#gap = 0;
    return true;
  }

  /** The store says that it no longer keeps all. */
  gap() {
    this.#gap = 1;
  }

  /** What a job could not publish is not missing. @param {number} job */
  forgive(job) {
    this.#missingOf.set(job, -Infinity);
  }

  get missing() {
    return [...this.#missingOf.values()].reduce((sum, count) => sum + Math.max(0, count), this.#gap);
  }

  get count() {
    return this.arrived.filter(Boolean).length;
  }

  /** @param {Told} told */
  #begin(told) {
    this.#miss(this.job, this.of - this.next);
    this.next = this.job ? 0 : told.index; // what a store let go of before this pane came is not missing in it
    this.job = told.job;
    this.of = told.files + 2;
    this.arrived = [];
  }

  /** @param {number} index @param {number} how */
  #place(index, how) {
    this.arrived[index] = how;
    if (index < this.next) this.#miss(this.job, -1); // it was given up, and came out of order
    else {
      this.#miss(this.job, index - this.next);
      this.next = index + 1;
    }
  }

  /** @param {number} job @param {number} count */
  #miss(job, count) {
    this.#missingOf.set(job, (this.#missingOf.get(job) ?? 0) + count);
  }
}
