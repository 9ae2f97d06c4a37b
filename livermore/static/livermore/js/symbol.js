// The symbol page: ties the feed, the candles of the API and the parts of the page together.
import { ApiError, read } from "./api.js";
import { BASE, Bars, FAR_APART, KEPT, apart, marksOf, partsOf } from "./bars.js";
import { Chart } from "./chart.js";
import { now } from "./clock.js";
import { addSymbol } from "./commands.js";
import { byId, h, set, setText } from "./dom.js";
import { exactTime, macdv, percent, price } from "./format.js";
import { paintFigures } from "./figures.js";
import { History } from "./history.js";
import { listen } from "./keyboard.js";
import { candlesUrl } from "./links.js";
import { Live } from "./live.js";
import { stateOf } from "./rows.js";
import { initialState, rowKey } from "./state.js";
import { Head } from "./symbol-head.js";
import { TopBar, paintNotice } from "./topbar.js";
import { Venues } from "./venues.js";
import { Why } from "./why.js";

const ASK_AGAIN = 3_000;

const page = document.body.dataset;
const timeframes = page.timeframes.split(",");
const own = rowKey(page.exchange, page.symbol);
const state = initialState();
const asked = new URLSearchParams(location.search);
const view = {
  timeframe: timeframes.includes(asked.get("timeframe")) ? asked.get("timeframe") : timeframes[0],
  compare: asked.get("with") ?? "",
};
/** What is on the chart, and what is laid over it. */
let shown = series(view.timeframe);
let other = null;
/** The open time of the candle that was asked for, until it is on the chart. */
let wanted = Number(asked.get("candle")) || null;
/** The open time of the candle under the pointer. */
let point = null;
/** Whether anything has changed that this page shows. */
let changed = false;
/** The state of the symbol when it was last looked at. */
let wasLive = false;

/** ``early``: candles that closed while the API was asked; ``turn``: which question is the newest. */
function series(timeframe) {
  return { bars: new Bars(timeframe), loaded: false, drawn: false, early: [], turn: 0, askedAt: 0, problem: "", marks: [] };
}

// The parts of the page.

const number = (text) => (text === "" ? null : Number(text));
const listed = {
  price: number(page.price),
  change_24h: number(page.change),
  quote_volume_24h: number(page.volume),
  decimals: null,
  quote: page.quote,
};

const head = new Head({ timeframes, listed, onChoose: (timeframe) => choose(timeframe) });
const topBar = new TopBar({ onChip: () => location.assign(`${page.dashboard}?show=exchanges`) });
const chart = new Chart({
  root: byId("chart"),
  onPoint: (t) => {
    point = t;
    drawFigures();
  },
});
const alerts = new History({
  exchangeId: page.exchange,
  symbol: page.symbol,
  context: () => ({
    cardOf: (id) => state.exchanges.get(id),
    settings: () => state.settings,
    decimalsOf: (id, symbol) => state.rows.get(rowKey(id, symbol))?.decimals ?? null,
    now: now(),
  }),
  elements: { list: byId("history"), more: byId("history-more"), empty: byId("history-empty"), tally: byId("history-tally") },
});
const why = new Why({
  exchangeId: page.exchange,
  symbol: page.symbol,
  timeframe: view.timeframe,
  elements: { panel: byId("why"), body: byId("why-body"), tally: byId("why-tally") },
});
const venues =
  page.coin &&
  new Venues({
    coin: page.coin,
    simulated: page.simulated === "yes",
    elements: { panel: byId("venues"), body: byId("venues-body") },
  });
const live = new Live({
  path: page.feed,
  state,
  onTake: take,
  onDraw: () => changed && draw(),
  onUnseen: (count) => topBar.paintUnseen(count),
  onLink: (link) => {
    if (topBar.paintLink(link) && state.loaded) draw();
    paintNotice(link, page.login);
  },
});
const { feed } = live;

const rowOf = () => state.rows.get(own);
const cardOf = () => state.exchanges.get(page.exchange);

// From the socket to the screen.

/** @param {{ type: string }} message @param {import("./state.js").Changes} changes */
function take(message, changes) {
  changed ||= Boolean(changes.whole || changes.exchanges) || [own, other?.key].some((key) => changes.rows?.has(key));
  changed ||= Boolean(changes.removed?.includes(own));
  if (message.type === "candle") candle(message);
  else if (message.type === "ticker") ticker(message);
  else if (message.type === "alert" && isOwn(message.source_exchange_id, message.symbol)) alert(message);
  else if (message.type === "snapshot") everything();
  const isLive = rowOf()?.state === "live";
  // A warm-up brings candles without saying so.
  if (isLive && !wasLive && message.type !== "snapshot") load();
  if (isLive !== wasLive) why.refresh();
  wasLive = isLive;
}

const isOwn = (exchangeId, symbol) => rowKey(exchangeId, symbol) === own;

/** What happened while nobody listened is in the API. */
function everything() {
  load();
  alerts.refresh();
}

function candle(message) {
  const key = rowKey(message.exchange_id, message.symbol);
  if (key === own && message.timeframe === view.timeframe) why.refresh();
  for (const [one, theirs] of [
    [shown, own],
    [other, other?.key],
  ]) {
    if (!one || key !== theirs) continue;
    if (message.timeframe === BASE) one.bars.part(message.candle);
    if (message.timeframe !== one.bars.timeframe) continue;
    if (!one.loaded) {
      one.early.push(message);
      continue;
    }
    const change = one.bars.take(message);
    changed = true;
    if (change === "gap") (one === shown ? load : loadOther)();
    else if (one === other) chart.drawOther();
    else if (change === "next") chart.append();
    else chart.draw();
  }
}

function ticker(message) {
  const key = rowKey(message.exchange_id, message.symbol);
  const at = message.t || message.received;
  if (key === own && shown.bars.tick(at, message.price) && shown.loaded) chart.move();
  if (other && key === other.key && other.bars.tick(at, message.price) && other.loaded) chart.moveOther();
}

/** @param {object} message */
function alert(message) {
  alerts.add(message);
  drawMarks();
}

// The candles.

/** Ask for the candles of the chosen timeframe; ``afresh``: another timeframe than before. */
async function load(afresh = false) {
  if (afresh) shown = series(view.timeframe);
  const mine = shown;
  mine.askedAt = Date.now();
  mine.loaded = false;
  await fill(mine, page.exchange, page.symbol);
  if (mine !== shown || !mine.loaded) return;
  const first = !mine.drawn && mine.bars.last !== null;
  if (first) chart.show(mine.bars, now());
  else if (mine.bars.last) chart.draw();
  mine.drawn ||= first;
  if (first) toTheWanted();
  draw();
  if (first) tell();
  await Promise.all([loadMarks(mine), afresh && loadOther()]);
}

/** Show the candle that the address names, once. */
function toTheWanted() {
  if (wanted === null) return;
  const { closed } = shown.bars;
  const there = closed.some(({ t }) => t === wanted);
  byId("chart-note").hidden = there;
  if (there) {
    chart.toCandle(wanted);
    point = wanted;
  } else {
    const when = wanted > closed.at(-1).t ? "has not closed yet" : "is older than what is kept";
    setText(byId("chart-note"), `The candle of ${exactTime(wanted).split("\n")[0]} ${when}.`);
  }
  wanted = null;
}

/** @param {ReturnType<typeof series>} one */
async function fill(one, exchangeId, symbol) {
  const { timeframe } = one.bars;
  one.turn += 1;
  const { turn } = one;
  const parts = timeframe === BASE ? null : read(candlesUrl(exchangeId, symbol, BASE, partsOf(timeframe)));
  try {
    const [answer, base] = await Promise.all([read(candlesUrl(exchangeId, symbol, timeframe, KEPT)), parts]);
    // An answer that was overtaken by a newer one knows less.
    if (turn !== one.turn) return;
    one.bars.load(answer, base?.candles);
    one.problem = "";
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (turn !== one.turn) return;
    one.problem = error.message;
  }
  one.loaded = true;
  for (const message of one.early.splice(0)) one.bars.take(message);
}

/** @param {ReturnType<typeof series>} one */
async function loadMarks(one) {
  if (!one.bars.last) return;
  try {
    one.marks = await alerts.marks(one.bars.timeframe, one.bars.closed[0].t);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
  if (one === shown) drawMarks();
}

function drawMarks() {
  if (shown.bars.last) chart.setAlerts(marksOf([...shown.marks, ...alerts.alerts.values()], shown.bars));
}

async function loadOther() {
  const option = byId("compare").selectedOptions[0];
  if (!option?.value) {
    other = null;
    chart.setOther(null);
    drawLegend();
    return;
  }
  const { exchange, symbol, name, simulated, quote } = option.dataset;
  const mine = { ...series(view.timeframe), key: rowKey(exchange, symbol), symbol, name, quote, simulated: simulated === "yes" };
  other = mine;
  drawLegend();
  await fill(mine, exchange, symbol);
  if (mine !== other || !mine.loaded) return;
  chart.setOther(mine.bars);
  drawLegend();
}

// Drawing.

function draw() {
  changed = false;
  const row = rowOf();
  head.paint(row, cardOf(), state.loaded);
  topBar.paintChips(state.exchanges);
  if (row) chart.setDecimals(row.decimals);
  drawFigures();
  drawLegend();
  drawEmpty(row);
}

function drawFigures() {
  const { bars } = shown;
  // Until its candles have come, those of the timeframe before stay.
  if (!shown.loaded && !bars.last) return;
  const all = bars.all();
  const found = all.find(({ t }) => t === point) ?? all.at(-1);
  paintFigures(byId("figures"), {
    bar: found,
    // A candle that forms has none: beside it stands the last closed one's, and is called so.
    reading: found && bars.readings.get(found.forming ? bars.last.t : found.t),
    alerts: found ? chart.alerts.filter((each) => each.candle_time === found.t) : [],
    decimals: rowOf()?.decimals ?? null,
    inDays: bars.timeframe === "1d",
  });
}

/** Name, price and distance of the other exchange. */
function drawLegend() {
  const legend = byId("compare-legend");
  legend.hidden = !other;
  if (!other) return;
  const theirs = state.rows.get(other.key);
  const last = theirs?.price ?? other.bars.last?.close ?? null;
  const distance = apart(last, rowOf()?.price ?? shown.bars.last?.close ?? null);
  const far = distance !== null && Math.abs(distance) > FAR_APART;
  legend.replaceChildren(
    h("span", { class: "swatch" }),
    h("span", { class: "name" }, `${other.name} ${other.symbol}`),
    ...(other.simulated ? [h("span", { class: "badge" }, "SIMULATED")] : []),
    h("span", { class: "figure" }, `${price(last, theirs?.decimals)} ${other.quote}`),
    far
      ? h("span", { class: "mark-word", title: "Prices this far apart are those of different coins." }, "another coin?")
      : h("span", { class: "figure", title: `Against ${page.symbol} here${other.quote === page.quote ? "" : `, ${other.quote} taken as ${page.quote}`}` }, percent(distance)),
    ...(other.loaded && !other.bars.last ? [h("span", { class: "muted" }, other.problem || "no candles yet")] : []),
  );
}

/** Why there is no chart, and the next step. @param {object | undefined} row */
function drawEmpty(row) {
  const unwatched = state.loaded && !row;
  const empty = !shown.bars.last && (shown.loaded || !chart.bars);
  byId("unwatched").hidden = !unwatched;
  set(byId("chart-empty"), "hidden", !empty || unwatched);
  set(byId("chart"), "data-empty", empty);
  if (!empty || unwatched) return;
  const card = cardOf();
  const progress = byId("chart-progress");
  const says = emptyText(row, card);
  setText(byId("chart-says"), says);
  const warming = row && stateOf(row, card).state === "warming" && shown.loaded;
  progress.hidden = !warming;
  if (warming && typeof card?.warmup === "number") progress.value = card.warmup;
  else progress.removeAttribute("value");
}

function emptyText(row, card) {
  if (shown.problem) return `The candles could not be read: ${shown.problem}`;
  if (!shown.loaded || !row) return "Loading the candles…";
  const { state: word, reason } = stateOf(row, card);
  if (word === "offline") {
    return card?.state === "idle"
      ? `${card.name} is idle, and no candle is stored. Start it on the dashboard.`
      : `No candle is stored: ${reason || "the exchange is offline"}. Its card on the dashboard says what to do.`;
  }
  const share = typeof card?.warmup === "number" ? ` (${Math.round(card.warmup * 100)} % of ${card.name})` : "";
  return `Warming up: ${reason || "the history is being fetched"}${share}. The chart appears with the first candles.`;
}

/** For who cannot see the chart. */
function tell() {
  const { bars } = shown;
  const { close } = bars.last;
  const reading = bars.readings.get(bars.last.t);
  const value = reading ? `MACD-V ${macdv(reading.macdv)}, ${reading.stage}` : "no MACD-V yet";
  setText(byId("chart-said"), `${page.symbol} ${bars.timeframe}: ${bars.closed.length} candles, last close ${price(close, rowOf()?.decimals)}, ${value}`);
}

// What the reader does.

/** @param {string} timeframe */
function choose(timeframe) {
  if (!timeframes.includes(timeframe) || timeframe === view.timeframe) return;
  view.timeframe = timeframe;
  head.choose(timeframe);
  why.choose(timeframe);
  byId("chart-note").hidden = true;
  point = null;
  other = chart.other = null;
  keep();
  load(true);
}

function keep() {
  const query = new URLSearchParams();
  if (view.timeframe !== timeframes[0]) query.set("timeframe", view.timeframe);
  if (view.compare) query.set("with", view.compare);
  const text = query.toString().replaceAll("%7C", "|");
  history.replaceState(null, "", location.pathname + (text && `?${text}`));
}

function back() {
  if (document.referrer.startsWith(`${location.origin}/`) && history.length > 1) history.back();
  else location.assign(page.dashboard);
}

/** @param {HTMLButtonElement} button */
async function watch(button) {
  set(button, "aria-busy", "true");
  button.disabled = true;
  const { ok, message } = await addSymbol(page.exchange, page.symbol);
  set(button, "aria-busy", null);
  button.disabled = ok;
  setText(byId("watch-says"), message);
}

function start() {
  head.choose(view.timeframe);
  const compare = byId("compare");
  if ([...compare.options].some((option) => option.value === view.compare && !option.disabled)) compare.value = view.compare;
  else view.compare = "";
  compare.addEventListener("change", () => {
    view.compare = compare.value;
    keep();
    loadOther();
  });
  byId("bell").addEventListener("click", () => location.assign(`${page.dashboard}?show=alerts`));
  byId("link").addEventListener("click", () => feed.retryNow());
  byId("back").addEventListener("click", (event) => {
    event.preventDefault();
    back();
  });
  document.getElementById("watch")?.addEventListener("click", (event) => watch(event.currentTarget));
  listen({
    ...Object.fromEntries(timeframes.map((timeframe, at) => [String(at + 1), () => choose(timeframe)])),
    c: () => compare.focus(),
    "?": () => byId("keys").showModal(),
    Escape: back,
  });
  setInterval(tick, 1_000);
  load();
  loadOther();
  live.start();
}

function tick() {
  topBar.paintLink(feed.link);
  alerts.tick();
  why.tick();
  if (venues) venues.tick();
  const waiting = shown.loaded && !shown.bars.last && feed.live;
  if (waiting && Date.now() - shown.askedAt > ASK_AGAIN) load();
}

start();
