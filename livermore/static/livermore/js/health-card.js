// One exchange on the page of exchanges: its state, its figures, its slowest streams and what happened to it.
import { troubleOf } from "./cards.js";
import { CommandButtons } from "./command-buttons.js";
import { arrange, h, icon, pageIsLive, set, setIcon, setText } from "./dom.js";
import { ago, clockTime, compact, duration, exact, exactTime, plural } from "./format.js";
import { WEEK, fee, offset, rate, regions, share, span, stretches } from "./health-words.js";
import { symbolUrl } from "./links.js";
import { STATES, stateName } from "./stages.js";

const SVG = "http://www.w3.org/2000/svg";
const FEW_EVENTS = 6;
/** Of the strip: live is calm, what is not wanted stands out in height as well as in colour. */
const HEIGHTS = { live: 7, idle: 2, "": 1 };
const LATE_BEAT = 5_000; // a running one beats every second
const SILENT = 120_000; // below that it may be the market's own quiet
const FAR_OFF = 2_000;

const count = (name) => ({ text: (health) => compact(health[name] ?? 0), hint: (health) => exact(health[name] ?? 0) });
const trouble = (name) => ({ ...count(name), bad: (health) => health[name] > 0 });

const oldest = {
  text: ({ oldest: [worst] }) => span(worst?.age_ms),
  hint: ({ oldest: [worst] }) => worst && `${worst.symbol} ${worst.channel}`,
  bad: ({ oldest: [worst] }) => worst?.age_ms > SILENT,
};
const clock = {
  text: (health) => offset(health.clock_offset_ms),
  hint: (health) => `${exact(health.clock_offset_ms)} ms`,
  bad: (health) => !health.simulated && Math.abs(health.clock_offset_ms) > FAR_OFF, // a simulated market has a time of its own
};

/** What is shown while a connector runs: label, meaning, text, the exact value, and when it deserves a second look. */
const FIGURES = [
  ["Messages", "Frames from the exchange a second, over 10 s.", { text: (health) => rate(health.messages_per_s), hint: (health) => `${exact(health.frames)} in all` }],
  ["Oldest stream", "How long ago the stream that is worst off last brought data.", oldest],
  ["Ping", "Between ping and pong on the websocket, of the slowest connection.", { text: (health) => span(health.websocket_ms) }],
  ["REST answer", "How long the last answer over REST took.", { text: (health) => span(health.rest_ms) }],
  ["Clock", "The exchange's clock minus ours.", clock],
  ["Reconnects", "Connections that stand again after they had ended unplanned.", count("reconnects")],
  ["Gaps repaired", "Times that candles the stream had not brought were fetched.", count("gaps_repaired")],
  ["Revised", "Candles that the exchange changed after their close.", count("revised")],
  ["Rejected", "Frames that could not be read.", trouble("rejected")],
  ["Lost", "Frames that are missing in the exchange's numbering.", trouble("lost")],
  ["Refused", "Requests on the socket that the exchange refused.", trouble("refused")],
  ["Symbols", "Symbols that are watched.", count("symbols")],
];

export class HealthCard {
  /** @param {string} id @param {string | null} commands where commands go, for those who may */
  constructor(id, commands) {
    this.id = id;
    this.controls = commands ? new CommandButtons(commands) : null;
    this.events = [];
    this.all = false;
    this.name = h("h2");
    this.badge = h("span", { class: "badge" }, "SIMULATED");
    this.stateIcon = icon("state-unknown");
    this.stateWord = h("span", { class: "state-word" });
    this.since = h("span", { class: "since" });
    this.day = h("b");
    this.week = h("b");
    this.known = h("span", { class: "muted" });
    this.error = h("p", { class: "error" });
    this.progress = h("progress", { max: 100, "aria-label": "Warm-up" });
    this.percent = h("span");
    this.warmup = h("p", { class: "warmup" }, this.progress, this.percent);
    this.values = FIGURES.map(() => h("dd"));
    this.figures = h("dl", { class: "figures" }, ...FIGURES.map(([label, meaning], at) => h("div", { title: meaning }, h("dt", {}, label), this.values[at])));
    this.budget = createBudget();
    this.strip = createStrip();
    this.streams = h("ol", { class: "streams" });
    this.streamsPart = h("details", { open: matchMedia("(min-width: 60rem)").matches }, h("summary", {}, "Streams without data for longest"), this.streams);
    this.list = h("ol", { class: "events" });
    this.more = h("button", { class: "button", type: "button", "data-kind": "plain", hidden: true });
    this.more.addEventListener("click", () => {
      this.all = !this.all;
      this.paintEvents();
    });
    this.facts = h("dl", { class: "about" });
    this.element = this.assemble();
  }

  assemble() {
    const state = h("span", { class: "health-state" }, this.stateIcon, this.stateWord, this.since);
    const uptimes = h("p", { class: "uptimes" }, h("span", {}, "24 h ", this.day), h("span", {}, "7 d ", this.week), this.known);
    const head = h("header", { class: "health-head" }, h("div", { class: "health-name" }, this.name, this.badge), state, uptimes, this.controls?.element);
    const events = h("section", { class: "happened", "aria-label": "What happened" }, h("h3", {}, "Last 7 days"), this.strip.element, this.list, this.more);
    const running = h("div", { class: "running" }, this.figures, this.budget.element, this.streamsPart);
    this.running = running;
    return h("article", { class: "health", id: this.id }, head, this.warmup, this.error, running, events, this.facts);
  }

  /** @param {object} health of the API @param {number} now */
  paint(health, now) {
    this.health = health;
    const state = stateName(health.state);
    this.element.dataset.state = state;
    setText(this.name, health.name);
    this.badge.hidden = !health.simulated;
    setIcon(this.stateIcon, `state-${state}`);
    setText(this.stateWord, state);
    set(this.stateWord, "title", pageIsLive() ? STATES[state] : null);
    setText(this.day, share(health.uptime_24h));
    setText(this.week, share(health.uptime_7d));
    const young = health.known_since !== null && health.known_since > health.at - WEEK;
    setText(this.known, young ? `known for ${duration(health.at - health.known_since)}` : "");
    const warm = health.state === "warming" && health.warmup !== null ? Math.floor(health.warmup * 100) : null;
    this.warmup.hidden = warm === null;
    set(this.progress, "value", warm);
    setText(this.percent, `warming up ${warm}\u202f%`);
    this.running.hidden = health.messages_per_s === null && !health.frames;
    if (!this.running.hidden) this.paintFigures(health);
    this.paintFacts(health);
    this.controls?.paint(health);
    this.tick(now);
    this.paintStrip();
  }

  paintFigures(health) {
    FIGURES.forEach(([, , { text, hint, bad }], at) => {
      setText(this.values[at], text(health));
      set(this.values[at], "title", hint?.(health));
      set(this.values[at], "data-bad", Boolean(bad?.(health)));
    });
    paintBudget(this.budget, health);
    if (!this.streams.matches(":hover, :focus-within")) this.paintStreams(health); // a link must not become another under the pointer
  }

  paintStreams(health) {
    const lines = health.oldest.map(({ symbol, channel, age_ms: age }, at) => {
      const line = this.streams.children[at] ?? h("li", {}, h("a"), h("span", { class: "muted" }), h("span", { class: "age" }));
      const [link, word, told] = line.children;
      set(link, "href", symbolUrl(this.id, symbol));
      setText(link, symbol);
      setText(word, channel);
      setText(told, span(age));
      return line;
    });
    arrange(this.streams, lines);
  }

  paintFacts(health) {
    const { process } = health;
    const facts = [
      ["Fees", `maker ${fee(health.maker_fee)}, taker ${fee(health.taker_fee)}`],
      ["Regions", regions(health.geo_restrictions)],
      ["Timeframes", health.timeframes.join(" ")],
      ["Process", process ? holder(process) : "none", process ? `It holds the lease since ${exactTime(process.since)}` : "Nobody holds the lease."],
    ];
    const rows = facts.map(([label, text, hint], at) => {
      const row = this.facts.children[at] ?? h("div", {}, h("dt", {}, label), h("dd"));
      setText(row.lastChild, text);
      set(row.lastChild, "title", hint);
      return row;
    });
    arrange(this.facts, rows);
    if (process) setText(rows[3].lastChild, `${holder(process)}, for ${duration(health.at - process.since)}`);
  }

  /** What grows older by itself. @param {number} now */
  tick(now) {
    const { health } = this;
    if (!health) return;
    const beat = health.last_heartbeat === null || health.state === "idle" ? null : now - health.last_heartbeat;
    const held = health.since === null ? "" : `for ${duration(now - health.since)}`;
    const late = beat !== null && beat > LATE_BEAT;
    setText(this.since, [held, late && `beat ${ago(beat)}`].filter(Boolean).join(" · "));
    set(this.since, "data-late", late);
    set(this.since, "title", health.since === null ? null : `since ${exactTime(health.since)}`);
    const trouble = troubleOf({ ...health, exchange_id: health.id }, now);
    this.error.hidden = !trouble;
    setText(this.error, trouble);
    set(this.error, "title", health.error_at === null ? null : exactTime(health.error_at));
    for (const time of this.list.querySelectorAll("time")) setText(time, ago(now - Number(time.dataset.at)));
  }

  /** @param {object[]} events of the API, newest first */
  happened(events, now) {
    this.events = events;
    this.paintEvents();
    this.paintStrip();
    this.tick(now);
  }

  paintEvents() {
    const few = this.health.state === "idle" ? 1 : FEW_EVENTS;
    const shown = this.all ? this.events : this.events.slice(0, few);
    this.list.replaceChildren(...shown.map(eventLine));
    this.more.hidden = this.events.length <= few;
    setText(this.more, this.all ? "Show fewer" : `Show all ${plural(this.events.length, "event")}`);
  }

  paintStrip() {
    const { at: end, state, last_heartbeat: seen } = this.health;
    const found = stretches(this.events, end - WEEK, end, { state, seen: seen ?? null });
    paintStrip(this.strip, found, end);
    this.strip.element.hidden = found.length === 0;
  }
}

function eventLine({ at, event, reason }) {
  const time = h("time", { "data-at": at, datetime: new Date(at).toISOString(), title: exactTime(at) }, clockTime(at));
  const connection = { connecting: "unknown", connected: "live", disconnected: "offline" }[event];
  const state = connection ?? stateName(event);
  const word = h("span", { class: "event-word", "data-state": state }, icon(connection ? "icon-exchanges" : `state-${state}`), event);
  return h("li", {}, time, word, h("span", { class: "reason" }, reason));
}

function createBudget() {
  const meter = h("meter", { min: 0, "aria-label": "REST budget" });
  const text = h("span", { class: "budget-text" });
  const held = h("span", { class: "held" });
  const element = h("p", { class: "budget", title: "Weight spent on its REST host in the last minute, of what we allow ourselves." }, h("span", { class: "label" }, "REST budget"), meter, text, held);
  return { element, meter, text, held };
}

function paintBudget({ element, meter, text, held }, health) {
  element.hidden = health.rest_limit === null;
  if (element.hidden) return;
  const { rest_used: used, rest_limit: limit, rest_left: left, rest_held_s: seconds, rest_waiting: waiting } = health;
  set(meter, "max", limit);
  set(meter, "high", limit * 0.8);
  set(meter, "value", Math.min(used, limit));
  setText(text, `${exact(used)} used, ${exact(left)} left of ${exact(limit)} a minute${waiting ? `, ${exact(waiting)} waiting` : ""}`);
  setText(held, seconds > 0 ? `held for ${duration(seconds * 1_000 + 999)}: the exchange asked for a pause` : "");
}

function createStrip() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 1000 10");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "strip");
  svg.setAttribute("role", "img");
  const ends = h("p", { class: "strip-ends" }, h("span", {}, "7 d ago"), h("span", {}, "now"));
  return { element: h("div", { class: "strip-part" }, svg, ends), svg };
}

function paintStrip({ svg }, found, end) {
  const told = found.map(({ state, from, to }) => `${state || "no word"} from ${exactTime(from)} for ${duration(to - from)}`);
  const key = found.map(({ state, from, to }) => `${state}${from}${Math.round((to - from) / 60_000)}`).join() + Math.round(end / 60_000);
  if (svg.dataset.key === key) return;
  svg.dataset.key = key;
  const x = (at) => ((at - (end - WEEK)) / WEEK) * 1000;
  const parts = found.map(({ state, from, to }, at) => {
    const rect = document.createElementNS(SVG, "rect");
    const height = HEIGHTS[state] ?? 10;
    const box = { x: x(from).toFixed(2), width: Math.max(0.8, x(to) - x(from)).toFixed(2), y: 10 - height, height };
    for (const [name, value] of Object.entries(box)) rect.setAttribute(name, value);
    rect.dataset.state = state || "unknown";
    const title = document.createElementNS(SVG, "title");
    title.textContent = told[at];
    rect.append(title);
    return rect;
  });
  svg.replaceChildren(...parts);
  svg.setAttribute("aria-label", `States of the last 7 days, newest last: ${told.slice(-5).join("; ")}`);
}

/** Who holds the lease, in words; of an exchange in shards the server has put it so. */
function holder(process) {
  return process.pid === null ? process.host : `${process.pid} on ${process.host}`;
}
