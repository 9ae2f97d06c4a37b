// The page's end of /ws/feed/: keeps one socket alive, and never calls a silent one live.

export const SILENCE = 15_000; // the server speaks every 5 s
const ACKNOWLEDGE_EVERY = 2_000;
// The server holds back once 256 frames or 768 kB are out: say so before.
const MANY_FRAMES = 64;
const MUCH = 192 * 1024;
const HELLO_EVERY = 5_000;
const SETTLED = 10_000; // a link that lasted this long starts the next back-off from the beginning
const FINAL = { 4401: "logged-out", 4403: "forbidden" };
const TOO_SLOW = 4008;

/** Milliseconds before connection attempt ``attempt`` (0, 1, …): 0.5 s to 15 s, jittered so that pages do not return in step. */
export function backoff(attempt, random = Math.random()) {
  const most = Math.min(15_000, 1_000 * 2 ** attempt);
  return Math.round(500 + random * (most - 500));
}

/**
 * @typedef {object} Link
 * @property {"connecting" | "live" | "reconnecting" | "offline" | "logged-out" | "forbidden"} state
 * @property {number} since when it began; for "reconnecting" and "offline", when the server was last heard (browser's clock)
 * @property {number | null} retryAt browser's clock
 */

export class Feed {
  /**
   * @param {object} options
   * @param {string} options.url
   * @param {(messages: object[]) => void} options.onMessages
   * @param {(link: Link) => void} options.onLink
   * @param {() => Record<string, {epoch: string, id: number}>} options.resume the positions to resume from
   */
  constructor({ url, onMessages, onLink, resume }) {
    this.url = url;
    this.onMessages = onMessages;
    this.onLink = onLink;
    this.resume = resume;
    /** @type {WebSocket | null} */
    this.socket = null;
    /** @type {Link} */
    this.link = { state: "connecting", since: Date.now(), retryAt: null };
    this.attempt = 0;
    this.openedAt = 0;
    this.heardAt = 0;
    this.liveAt = 0;
    this.frame = 0;
    this.acknowledged = 0;
    this.unacknowledged = 0;
    this.acknowledgedAt = 0;
    this.helloAt = 0;
    this.helloDue = false;
    this.retryTimer = 0;
  }

  start() {
    setInterval(() => this.watch(), 1_000);
    this.connect();
  }

  get live() {
    return this.link.state === "live";
  }

  /** Ask for what we lack: at once, or, where that has just been asked, a little later. */
  hello() {
    const now = Date.now();
    this.helloDue = now - this.helloAt < HELLO_EVERY;
    if (this.socket?.readyState !== WebSocket.OPEN || this.helloDue) return;
    this.helloAt = now;
    this.socket.send(JSON.stringify({ type: "hello", v: 1, resume: this.resume() }));
  }

  /** The page is looked at again, or the network is back: do not sit out a timer. */
  wake() {
    if (this.live && Date.now() - this.heardAt < SILENCE / 2) return;
    if (this.live) this.lost("silent");
    this.retryNow();
  }

  retryNow() {
    if (this.link.retryAt === null) return;
    this.connect();
  }

  connect() {
    clearTimeout(this.retryTimer);
    this.frame = this.acknowledged = this.unacknowledged = this.helloAt = 0;
    this.openedAt = Date.now();
    this.tell({ ...this.link, retryAt: null });
    const socket = new WebSocket(this.url);
    this.socket = socket;
    // Events of a socket that has been given up are nobody's.
    const current = (handle) => (event) => this.socket === socket && handle(event);
    socket.addEventListener(
      "open",
      current(() => this.hello()),
    );
    socket.addEventListener(
      "message",
      current((event) => this.receive(event.data)),
    );
    socket.addEventListener(
      "close",
      current((event) => this.closed(event.code)),
    );
  }

  /** @param {string} data */
  receive(data) {
    const frame = parse(data);
    if (!frame) {
      this.lost("unreadable");
      return;
    }
    this.heardAt = Date.now();
    this.frame = frame.n;
    this.unacknowledged += data.length;
    this.onMessages(frame.m);
    if (!this.live && frame.m.some((message) => message.type === "snapshot")) {
      this.liveAt = this.heardAt;
      this.tell({ state: "live", since: this.heardAt, retryAt: null });
    }
    // Here as well as by the timer: timers of a hidden page may run once a minute only.
    this.acknowledge();
  }

  acknowledge() {
    const now = Date.now();
    const many = this.frame - this.acknowledged >= MANY_FRAMES || this.unacknowledged >= MUCH;
    if (this.frame <= this.acknowledged || (now - this.acknowledgedAt < ACKNOWLEDGE_EVERY && !many)) return;
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    this.acknowledged = this.frame;
    this.unacknowledged = 0;
    this.acknowledgedAt = now;
    this.socket.send(JSON.stringify({ type: "ack", n: this.frame }));
  }

  watch() {
    this.acknowledge();
    // A hello may go unanswered while the rest of the feed flows: without a snapshot nothing shown is current.
    if (!this.live || this.helloDue) this.hello();
    const waiting = this.socket !== null && Date.now() - Math.max(this.heardAt, this.openedAt) > SILENCE;
    if (waiting) this.lost("silent");
    else if (this.link.state === "reconnecting" && Date.now() - this.link.since > SILENCE) this.tell({ ...this.link, state: "offline" });
  }

  /** @param {number} code */
  closed(code) {
    this.socket = null;
    if (Object.hasOwn(FINAL, code)) this.tell({ state: FINAL[code], since: Date.now(), retryAt: null });
    else this.lost(code === TOO_SLOW ? "slow" : "closed");
  }

  /** @param {"silent" | "unreadable" | "slow" | "closed"} why */
  lost(why) {
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    const now = Date.now();
    const settled = this.live && now - this.liveAt > SETTLED;
    if (settled) this.attempt = 0;
    const delay = why === "slow" && settled ? 0 : backoff(this.attempt);
    this.attempt += 1;
    const since = this.heardAt || this.link.since;
    const state = now - since >= SILENCE || this.attempt > 2 ? "offline" : "reconnecting";
    this.tell({ state, since, retryAt: now + delay });
    this.retryTimer = setTimeout(() => this.connect(), delay);
  }

  /** @param {Link} link */
  tell(link) {
    this.link = link;
    this.onLink(link);
  }
}

/** @param {string} data @returns {{ n: number, m: object[] } | null} */
function parse(data) {
  try {
    const frame = JSON.parse(data);
    return Number.isInteger(frame?.n) && Array.isArray(frame.m) ? frame : null;
  } catch {
    return null;
  }
}
