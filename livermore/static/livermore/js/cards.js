// The exchange cards: what each exchange is doing, and its Start, Stop and Restart.
import { CommandButtons } from "./command-buttons.js";
import { arrange, h, icon, pageIsLive, set, setIcon, setText } from "./dom.js";
import { ago, duration, exactTime, plural } from "./format.js";
import { STATES, stateName } from "./stages.js";

/** Heartbeats come every 15 s: past twice that, one is missing. */
const BEAT_IS_LATE = 30_000;

export class Cards {
  /**
   * @param {object} options
   * @param {import("./state.js").State} options.state
   * @param {() => number} options.now
   * @param {boolean} options.mayControl
   * @param {(exchangeId: string) => string} options.urlOf where commands go
   * @param {HTMLElement} options.root
   */
  constructor({ state, now, mayControl, urlOf, root }) {
    Object.assign(this, { state, now, mayControl, urlOf, root });
    /** @type {Map<string, ReturnType<typeof createCard>>} */
    this.entries = new Map();
  }

  render() {
    const wanted = [];
    for (const [id, card] of this.state.exchanges) {
      const entry = this.entries.get(id) ?? this.create(id);
      paintCard(entry, card);
      wanted.push(entry.element);
    }
    for (const id of this.entries.keys()) if (!this.state.exchanges.has(id)) this.entries.delete(id);
    arrange(this.root, wanted);
    this.tick();
  }

  create(id) {
    const entry = createCard(id, this.mayControl ? new CommandButtons(this.urlOf(id)) : null);
    this.entries.set(id, entry);
    return entry;
  }

  tick() {
    const now = this.now();
    for (const [id, entry] of this.entries) {
      const card = this.state.exchanges.get(id);
      if (card) paintAges(entry, card, now); // one that has just left is drawn no more: the next frame takes it away
    }
  }

  /** @param {string} id */
  reveal(id) {
    const element = this.entries.get(id)?.element;
    element?.scrollIntoView({ block: "nearest", inline: "nearest" });
    element?.focus();
  }

  /** Start from elsewhere on the page, with its answer on the card. @param {string} id */
  start(id) {
    const entry = this.entries.get(id);
    if (!entry) return;
    this.reveal(id);
    entry.controls?.send("start");
  }
}

/** @param {string} id @param {CommandButtons | null} controls */
function createCard(id, controls) {
  const parts = {
    name: h("h3"),
    badge: h("span", { class: "badge" }, "SIMULATED"),
    stateIcon: icon("state-unknown"),
    stateWord: h("span", { class: "state-word" }),
    symbols: h("span"),
    beat: h("span"),
    since: h("span"),
    progress: h("progress", { max: 100, "aria-label": "Warm-up" }),
    percent: h("span"),
    error: h("p", { class: "error" }),
  };
  parts.warmup = h("p", { class: "warmup" }, parts.progress, parts.percent);
  const title = h("div", { class: "card-title" }, parts.name, h("span", { class: "card-state" }, parts.stateIcon, parts.stateWord));
  const facts = h("p", { class: "facts" }, parts.symbols, parts.beat, parts.since);
  const element = h("article", { class: "card", tabindex: -1 }, title, parts.badge, facts, parts.warmup, parts.error, controls?.element);
  return { id, element, ...parts, controls };
}

function paintCard(entry, card) {
  const state = stateName(card.state);
  entry.element.dataset.state = state;
  setText(entry.name, card.name);
  set(entry.name, "title", card.name);
  entry.badge.hidden = !card.simulated;
  setIcon(entry.stateIcon, `state-${state}`);
  setText(entry.stateWord, state);
  set(entry.element, "title", pageIsLive() ? STATES[state] : null);
  setText(entry.symbols, plural(card.symbols, "symbol"));
  const share = card.state === "warming" && card.warmup !== null ? Math.floor(card.warmup * 100) : null;
  entry.warmup.hidden = share === null;
  set(entry.progress, "value", share);
  setText(entry.percent, `warming up ${share}\u202f%`);
  entry.controls?.paint(card);
}

function paintAges(entry, card, now) {
  const since = card.since === null ? "" : `for ${duration(now - card.since)}`;
  setText(entry.since, since);
  set(entry.since, "title", card.since === null ? null : exactTime(card.since));
  const beat = card.last_heartbeat === null ? null : now - card.last_heartbeat;
  const running = card.state !== "idle" && beat !== null;
  setText(entry.beat, running ? `beat ${ago(beat)}` : "");
  set(entry.beat, "data-late", running && beat > BEAT_IS_LATE);
  set(entry.beat, "title", running ? exactTime(card.last_heartbeat) : null);
  const trouble = troubleOf(card, now);
  entry.error.hidden = !trouble;
  setText(entry.error, trouble);
  set(entry.error, "title", card.error_at === null ? null : exactTime(card.error_at));
}

/** What keeps an exchange from being live, in a sentence. @param {object} card @param {number} now */
export function troubleOf(card, now) {
  if (card.state === "live") return "";
  const unhosted = card.state === "offline" && card.pid === null && (!card.error || card.error.startsWith("no process"));
  const parts = [unhosted ? `No process hosts it. Run: manage.py runexchange ${card.exchange_id}` : card.error];
  if (card.retry_at !== null) parts.push(card.retry_at > now ? `retry in ${duration(card.retry_at - now + 999)}` : "retrying…");
  return parts.filter(Boolean).join(" · ");
}
