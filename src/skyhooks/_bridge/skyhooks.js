// @ts-check
/**
 * Brings notifications from a skyhooks bridge to a page: each once, in order, across lost connections and processes.
 *
 *     import {subscribe} from "/skyhooks.js";
 *
 *     const subscription = subscribe("/events", {
 *       onNotification: ({data}) => show(data),
 *       onGap: () => reload(),                  // part of what was sent is no longer kept: fetch the whole state anew
 *     });
 *
 * @module skyhooks
 */

/** @typedef {"events" | "socket" | "poll"} Transport EventSource, WebSocket or long poll. */
/** @typedef {"connecting" | "open" | "waiting" | "closed"} State `waiting`: for the moment of the next try. */

/**
 * @typedef {string | URL | {events?: string | URL, socket?: string | URL, poll?: string | URL}} Address
 * One URL is an EventSource's, or that of all `transports` that are given. Of several, the page takes the first that works
 * here: a proxy may hold back an EventSource, and over HTTP/1.1 a browser has room for six of them, for all its tabs. Those
 * before the one that worked are tried again after five minutes, then after ten, an hour at most: a server may just have failed.
 * A query is kept; `since` and `timeout` are added to it.
 */

/**
 * @typedef {object} Notification
 * @property {any} data What the job sent.
 * @property {string} cursor The position behind it.
 * @property {string} [id] This one and all below: not over EventSource, whose events hold the data and the cursor alone.
 * @property {string} [key] What it is about: `account=42`.
 * @property {number} [sentAt] In milliseconds since 1970, by the job's clock; as `Date.now()`.
 * @property {boolean} [replayed] Whether it comes from the log, as it was sent when this page was not connected.
 * @property {string} [event] The event's name; over EventSource alone.
 */

/**
 * @typedef {object} Gap Something is missing: more was sent than is kept.
 * @property {string} key
 * @property {"trimmed" | "restarted"} reason
 * @property {string} cursor The position behind it.
 */

/**
 * @typedef {object} Options
 * @property {(notification: Notification) => void} onNotification Called for each, in order. What it throws is reported
 *   as an uncaught error, and stops nothing.
 * @property {(gap: Gap) => void} onGap
 * @property {(state: State, details: {transport: Transport, status?: number}) => void} [onState] Hears each change.
 *   `status` is what the server refused with, where the transport knows: a long poll does. A refused page goes on trying.
 * @property {string | null} [since] Where to begin: a cursor, as the one that was taken before the job was started, or
 *   `"start"` for all that is still kept. Without one: from now on.
 * @property {Transport[]} [transports] Which to try, in this order. Default: all that have a URL, as in `Transport`.
 * @property {string[]} [eventNames] Which events are notifications, where an EventSource bridge names them by `event=`.
 *   Default: `["message"]`, which is what those without a name are called.
 * @property {boolean} [withCredentials] Whether cookies go along to another origin, which has to allow it by `origins=`.
 * @property {number} [helloSeconds] How long a connection may take until something is heard. Default: 10.
 */

/**
 * @typedef {object} Subscription
 * @property {string | null} cursor Where the page is; null until the server said it.
 * @property {() => void} retry Where it waits for the moment of the next try, that is now: for a button, or when the page
 *   has reason to believe that it would succeed.
 * @property {() => void} close Ends it; twice is fine.
 */

/** @typedef {{type: string, cursor: string, [field: string]: any}} Message As a WebSocket bridge sends them. */
/** @typedef {{woken?: boolean, better?: boolean, unreachable?: boolean, status?: number}} End Why a connection has ended. */
/** @typedef {(url: URL, hear: (message: Message) => void, end: (why?: End) => void, options: Options) => () => void} Open */

const AGAIN_MS = 1_000; // at most until the try after a good connection; twice as much with each that fails
const MOST_AGAIN_MS = 30_000;
const STEADY_MS = 5_000; // a connection that has lived so long was a good one
const BETTER_MS = 300_000; // how long a transport is kept that was not the first choice; twice as much each time
const MOST_BETTER_MS = 3_600_000;
const HIDDEN_MS = 30_000; // a page that was away for longer may have a dead connection and not know it
const HELLO_SECONDS = 10;
const POLL_SECONDS = 25;
const POLL_GRACE_MS = 10_000;
const EARLY_MS = 1_000;

/**
 * Begins to listen, and goes on until it is closed.
 *
 * A connection that is lost, or that the server asks to be made anew, is followed by another one after a random moment,
 * longer each time, 30 seconds at most; at once when the browser is online again or the page is seen again. It begins at
 * the cursor of what was shown last, so that nothing is missed or shown twice.
 *
 * @param {Address} address
 * @param {Options} options
 * @returns {Readonly<Subscription>}
 * @throws {TypeError} if a transport has no URL, or none that can be read, or a callback is missing
 */
export function subscribe(address, options) {
  if (typeof options?.onNotification !== "function" || typeof options.onGap !== "function")
    throw new TypeError("subscribe takes {onNotification, onGap}: two functions, and what else there is to say");
  return new Listening(routesOf(address, options.transports), options);
}

class Listening {
  /** @type {string | null} */
  #cursor;
  #routes;
  #options;
  #route;
  /** @type {State | ""} */
  #state = "";
  #life = new AbortController();
  #interrupt = (/** @type {End} */ _) => {}; // ends the connection or the pause that is under way

  /** @param {{transport: Transport, url: URL}[]} routes @param {Options} options */
  constructor(routes, options) {
    this.#cursor = options.since ?? null;
    this.#routes = routes;
    this.#route = routes[0];
    this.#options = options;
    this.#watch();
    queueMicrotask(() => this.#run()); // not amid `subscribe`, whose caller does not have its subscription yet
  }

  get cursor() {
    return this.#cursor;
  }

  retry() {
    if (this.#state === "waiting") this.#interrupt({woken: true});
  }

  close() {
    if (this.#life.signal.aborted) return;
    this.#life.abort();
    this.#interrupt({});
    this.#tell("closed");
  }

  async #run() {
    let index = 0, best = 0, tried = 0, failures = 0, betterMs = BETTER_MS, betterAt = 0;
    while (!this.#life.signal.aborted) {
      const began = performance.now();
      if (index && began >= betterAt) {
        index = 0;
        betterMs = Math.min(2 * betterMs, MOST_BETTER_MS);
        betterAt = began + betterMs;
      }
      this.#route = this.#routes[index];
      const {heard, woken, better, unreachable, status} = await this.#connect(this.#route, index ? betterAt - began : 0);
      if (heard && !index) betterMs = BETTER_MS;
      if (heard) best = index;
      if (better) betterAt = 0; // whatever the timer's idea of time
      if (!woken) tried = heard ? 0 : tried + 1;
      if (woken || better) continue;
      if (!heard && !unreachable && tried < this.#routes.length) {
        if (!index) betterAt = performance.now() + betterMs;
        index = (index + 1) % this.#routes.length;
        continue;
      }
      tried = 0;
      index = best;
      failures = heard && performance.now() - began > STEADY_MS ? 0 : failures + 1;
      await this.#pause(Math.random() * Math.min(MOST_AGAIN_MS, AGAIN_MS * 2 ** failures), status);
    }
  }

  /**
   * @param {{transport: Transport, url: URL}} route
   * @param {number} mostMs How long to keep to it; 0: for as long as it lasts.
   * @returns {Promise<End & {heard: boolean}>}
   */
  #connect({transport, url}, mostMs) {
    this.#tell("connecting");
    return new Promise(resolve => {
      let heard = false, ended = false, close = () => {};
      const end = (/** @type {End} */ why = {}) => {
        if (ended) return;
        ended = true;
        clearTimeout(timer);
        close();
        resolve({...why, heard});
      };
      const hear = (/** @type {Message} */ message) => {
        if (ended) return;
        if (!heard) {
          clearTimeout(timer);
          if (mostMs) timer = setTimeout(() => end({better: true}), mostMs);
        }
        heard = true;
        this.#take(message);
        if (message.type === "reconnect") end();
      };
      let timer = setTimeout(end, 1_000 * (this.#options.helloSeconds ?? HELLO_SECONDS));
      this.#interrupt = end;
      try {
        close = OPEN[transport](withQuery(url, {since: this.#cursor}), hear, end, this.#options);
      } catch (error) {
        reportError(error);
        end();
      }
    });
  }

  /** @param {number} ms @param {number} [status] @returns {Promise<void>} */
  #pause(ms, status) {
    if (this.#life.signal.aborted) return Promise.resolve();
    this.#tell("waiting", status);
    return new Promise(resolve => {
      const timer = setTimeout(resolve, ms);
      this.#interrupt = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** @param {Message} message */
  #take({type, cursor, sent_at, ...rest}) {
    this.#cursor = cursor || this.#cursor; // first: what a callback throws at is not to come again
    this.#tell("open");
    const {onNotification, onGap} = this.#options;
    const told = {.../** @type {any} */ (rest), cursor};
    if (type === "gap") attempt(onGap, told);
    if (type === "notification") attempt(onNotification, {...told, sentAt: sent_at && 1_000 * sent_at});
  }

  /** @param {State} state @param {number} [status] */
  #tell(state, status) {
    if (this.#state === state && state !== "connecting") return;
    this.#state = state;
    attempt(this.#options.onState, state, {transport: this.#route.transport, status});
  }

  #watch() {
    const {signal} = this.#life;
    const wake = () => this.#interrupt({woken: true});
    let hiddenSince = document.hidden ? Date.now() : Infinity;
    addEventListener("online", wake, {signal});
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) hiddenSince = Date.now();
      else if (this.#state === "waiting" || Date.now() - hiddenSince > HIDDEN_MS) wake();
    }, {signal});
  }
}

/** @type {Record<Transport, Open>} */
const OPEN = {
  events(url, hear, end, {eventNames = ["message"], withCredentials = false}) {
    const source = new EventSource(url, {withCredentials});
    let answered = false;
    const on = (/** @type {string} */ name, /** @type {(event: MessageEvent) => Message} */ read) =>
      source.addEventListener(name, event => hear(read(event)));
    on("hello", ({lastEventId}) => ({type: "hello", cursor: lastEventId}));
    on("reconnect", ({lastEventId}) => ({type: "reconnect", cursor: lastEventId}));
    on("gap", ({data, lastEventId}) => ({...JSON.parse(data), type: "gap", cursor: lastEventId}));
    for (const name of eventNames)
      on(name, ({data, lastEventId}) => ({type: "notification", data: JSON.parse(data), cursor: lastEventId, event: name}));
    source.onopen = () => { answered = true; };
    // It would come back by itself, but not after an error status, nor by another transport: here all is done one way.
    source.onerror = () => end({unreachable: !answered && source.readyState === EventSource.CONNECTING});
    return () => source.close();
  },

  socket(url, hear, end) {
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    socket.onmessage = ({data}) => hear(JSON.parse(data));
    socket.onclose = () => end();
    return () => socket.close();
  },

  poll(url, hear, end, {withCredentials = false}) {
    const life = new AbortController();
    const ask = async (/** @type {number} */ timeout, /** @type {string | null} */ since) => {
      const timer = setTimeout(() => life.abort(), 1_000 * timeout + POLL_GRACE_MS);
      const credentials = withCredentials ? "include" : "same-origin";
      const answer = await fetch(withQuery(url, {since, timeout}), {signal: life.signal, credentials, cache: "no-store"});
      const told = answer.status === 200 ? await answer.json() : {notifications: []};
      clearTimeout(timer);
      return {...told, ok: answer.ok, status: answer.status, cursor: answer.headers.get("skyhooks-cursor")};
    };
    const go = async () => {
      let cursor = url.searchParams.get("since");
      let timeout = 0; // at first only to learn where we are: what comes before a lost first answer would be missed
      for (;;) {
        const asked = performance.now();
        const answer = await ask(timeout, cursor);
        if (!answer.ok) return end({status: answer.status});
        answer.notifications.forEach(hear);
        hear({type: "hello", cursor: answer.cursor});
        cursor = answer.cursor ?? cursor;
        if (timeout && answer.status === 204 && performance.now() - asked < EARLY_MS) return end(); // this process stops
        timeout = POLL_SECONDS;
      }
    };
    go().catch(error => end({unreachable: error instanceof TypeError}));
    return () => life.abort();
  },
};

/** @param {Address} address @param {Transport[]} [transports] @returns {{transport: Transport, url: URL}[]} */
function routesOf(address, transports) {
  const isOne = typeof address === "string" || address instanceof URL;
  const known = /** @type {Transport[]} */ (Object.keys(OPEN));
  const names = transports ?? known.filter(name => (isOne ? name === "events" : address[name]));
  const routes = names.map(transport => {
    const url = isOne ? address : address[transport];
    if (!known.includes(transport) || !url) throw new TypeError(`there is no URL for the transport "${transport}"`);
    return {transport, url: new URL(url, document.baseURI)};
  });
  if (!routes.length) throw new TypeError(`give a URL, or one for each of ${known.join(", ")}`);
  return routes;
}

/** @param {URL} url @param {Record<string, string | number | null>} query */
function withQuery(url, query) {
  const full = new URL(url);
  for (const [name, value] of Object.entries(query)) if (value !== null) full.searchParams.set(name, String(value));
  return full;
}

/** @template {any[]} A @param {((...given: A) => void) | undefined} callback @param {A} given */
function attempt(callback, ...given) {
  try {
    callback?.(...given);
  } catch (error) {
    reportError(error);
  }
}
