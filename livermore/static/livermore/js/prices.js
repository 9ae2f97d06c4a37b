// The price board: one row a coin, one column an exchange, moving live.
import { get } from "./api.js";
import { arrangeCoins, cellOf, coins, different } from "./board.js";
import { now } from "./clock.js";
import { toggles } from "./controls.js";
import { arrange, byId, h, icon, set, setText } from "./dom.js";
import { ago, exact, percent, plural, price } from "./format.js";
import { listen } from "./keyboard.js";
import { symbolUrl } from "./links.js";
import { Live } from "./live.js";
import { flash } from "./matrix-row.js";
import { windowOf } from "./rows.js";
import { stateName } from "./stages.js";
import { initialState, rowKey } from "./state.js";
import { recall, remember } from "./storage.js";
import { TopBar, paintNotice } from "./topbar.js";

const ASK_EVERY = 30_000;
/** A price of more signs than this is written small. */
const LONG = 15;
const page = document.body.dataset;
const state = initialState();
const given = new URLSearchParams(location.search);
const view = {
  query: given.get("q") ?? "",
  both: given.get("both") !== "0",
  reference: given.get("against") ?? recall("reference", ""),
  sort: readSort(given.get("sort") ?? "rank"),
};
let all = new Map();
let keys = [];
let others = new Set();
let terms = new Map();
let rowHeight = 0;
/** @type {Map<string, { element: HTMLElement, cells: Map<string, object> }>} */
const entries = new Map();
/** Rows that went out of sight are used again for those that come in. */
const spare = [];
const SPARE_ROWS = 80;
/** What of the scroller is in sight, as it was told: asking for it while a frame is drawn has the page laid out twice. */
let sight = { top: 0, height: 0 };
/** The part of ``keys`` that is in the page. */
let span = { from: 0, to: 0 };
let structure = true;
let cards = false;
/** @type {object[]} the cards of the exchanges that list a coin; looked for once, not with every price */
let shownCards = [];
/** @type {Map<string, string>} row key -> key of the coin in whose row it stands */
let coinOf = new Map();
const touched = new Set();

function readSort(text) {
  return { by: text.replace(/^-/, ""), descending: text.startsWith("-") };
}

const topBar = new TopBar({ onChip: () => {} });
const live = new Live({
  path: page.feed,
  state,
  onTake: take,
  onDraw: draw,
  onUnseen: () => {},
  onLink: (link) => {
    topBar.paintLink(link);
    paintNotice(link, page.login);
    byId("waiting").hidden = state.loaded;
  },
});

function take(message, changes) {
  if (changes.settings) {
    terms = new Map(changes.settings.terms.map((each) => [each.exchange_id, each]));
    view.reference ||= changes.settings.own_exchange_id;
  }
  structure ||= Boolean(changes.whole || changes.settings || message.type === "symbols");
  cards ||= Boolean(changes.exchanges);
  for (const key of changes.rows?.keys() ?? []) touched.add(key);
}

function draw() {
  if (!state.loaded) return;
  byId("waiting").hidden = true;
  if (cards || structure) topBar.paintChips(state.exchanges);
  if (structure) {
    structure = cards = false;
    touched.clear();
    rebuild();
    return;
  }
  if (cards) paintCards();
  const moved = new Set();
  for (const key of touched) {
    const coin = all.get(coinOf.get(key));
    if (!coin) continue;
    const row = state.rows.get(key);
    coin.cells.set(row.exchange_id, row);
    moved.add(coin.key);
  }
  touched.clear();
  for (const key of moved) if (entries.has(key)) paint(key, true);
}

/** An exchange is in another state: its head and its cells say so. */
function paintCards() {
  cards = false;
  shownCards = columns();
  paintHeads(shownCards);
  for (const key of entries.keys()) paint(key, false);
}

/** Exchanges that list a coin, real ones first. */
function columns() {
  const listed = new Set([...all.values()].flatMap((coin) => [...coin.cells.keys()]));
  return [...state.exchanges.values()].filter((card) => listed.has(card.exchange_id));
}

function reference() {
  return shownCards.some((card) => card.exchange_id === view.reference) ? view.reference : (shownCards[0]?.exchange_id ?? "");
}

function context() {
  return { exchanges: state.exchanges, terms, different: others, now: now() };
}

function rebuild() {
  all = coins(state.rows, state.exchanges);
  coinOf = new Map();
  for (const coin of all.values()) for (const row of coin.cells.values()) coinOf.set(rowKey(row.exchange_id, row.symbol), coin.key);
  const shown = (shownCards = columns());
  byId("board").style.setProperty("--exchanges", String(Math.max(shown.length, 1)));
  paintHeads(shown);
  const select = byId("reference");
  const options = JSON.stringify(shown.map((card) => [card.exchange_id, card.name]));
  if (select.dataset.options !== options) {
    select.dataset.options = options;
    select.replaceChildren(...shown.map((card) => h("option", { value: card.exchange_id }, card.name)));
  }
  select.value = reference();
  entries.clear();
  spare.length = 0;
  reorder();
}

let headsSay = "";

function paintHeads(shown) {
  const saying = JSON.stringify([view.sort, shown.map(({ exchange_id: id, name, state: word }) => [id, name, word])]);
  if (saying === headsSay) return;
  headsSay = saying;
  const cell = (by, label, card) => {
    const sorted = view.sort.by === by ? (view.sort.descending ? "descending" : "ascending") : null;
    const button = h("button", { class: "sorter", type: "button", title: label }, label);
    button.addEventListener("click", () => sortBy(by));
    const badge = card?.simulated && h("span", { class: "badge" }, "SIMULATED");
    const word = card && stateName(card.state);
    const state = card && h("span", { "data-state": word, title: `${card.name}: ${word}` }, icon(`state-${word}`), h("span", { class: "aside" }, word));
    return h("span", { class: by === "coin" ? "cell coin" : "cell", role: "columnheader", "aria-sort": sorted }, state, button, badge);
  };
  const heads = byId("heads");
  const focused = [...heads.children].findIndex((head) => head.contains(document.activeElement));
  heads.replaceChildren(cell("coin", "Coin"), ...shown.map((card) => cell(card.exchange_id, card.name, card)));
  heads.children[focused]?.querySelector("button").focus();
}

function sortBy(by) {
  const first = by !== "coin";
  if (view.sort.by !== by) view.sort = { by, descending: first };
  else if (view.sort.descending === first) view.sort = { by, descending: !first };
  else view.sort = { by: "rank", descending: false };
  paintHeads(shownCards);
  reorder();
  keep();
}

function reorder() {
  const base = reference();
  const around = context();
  const distance = (coin, id) => cellOf(coin, id, base, around).spread;
  keys = arrangeCoins(all, view, distance);
  setText(byId("tally"), plural(keys.length, "coin"));
  const empty = byId("empty");
  empty.hidden = keys.length > 0;
  byId("board").hidden = keys.length === 0;
  if (!keys.length) empty.replaceChildren(...emptyText());
  render();
}

function emptyText() {
  if (view.query) return [h("p", {}, `No coin matches “${view.query}”.`)];
  if (all.size) return [h("p", {}, "No coin is watched on two exchanges. Show all coins, or watch another exchange in the "), h("a", { href: page.settings }, "settings"), h("p", {}, ".")];
  return [h("p", {}, "No prices yet: no exchange that you watch is running. Start one on the dashboard.")];
}

function look() {
  const { scrollTop, clientHeight } = byId("scroller");
  sight = { top: scrollTop, height: clientHeight };
}

/** @param {boolean} [whole] false: rows that are in the page already stay as they are, only others come into sight */
function render(whole = true) {
  const { from, to, before, after } = windowOf({ count: keys.length, rowHeight, ...sight });
  if (!whole && from === span.from && to === span.to) return;
  span = { from, to };
  const shown = keys.slice(from, rowHeight ? to : 50);
  recycle(new Set(shown));
  arrange(
    byId("rows"),
    shown.map((key) => (!whole && entries.get(key)?.element) || paint(key, false)),
  );
  byId("rows").style.paddingTop = `${before}px`;
  byId("rows").style.paddingBottom = `${after}px`;
  if (!rowHeight && shown.length) {
    rowHeight = entries.get(shown[0]).element.getBoundingClientRect().height;
    render();
  }
}

/** @param {Set<string>} wanted */
function recycle(wanted) {
  for (const [key, entry] of entries) {
    if (wanted.has(key)) continue;
    entries.delete(key);
    if (spare.length < SPARE_ROWS) spare.push(entry);
  }
}

function paint(key, moved) {
  const coin = all.get(key);
  let entry = entries.get(key);
  if (!entry) {
    entry = spare.pop() ?? createRow();
    entries.set(key, entry);
    setText(entry.name, coin.coin);
    set(entry.name, "title", coin.coin);
    entry.badge.hidden = !coin.simulated;
    for (const cell of entry.cells.values()) cell.last = null;
  }
  const base = reference();
  const around = context();
  for (const [id, parts] of entry.cells) {
    const row = coin.cells.get(id);
    if (row) paintCell(parts, row, cellOf(coin, id, base, around), id === base, moved);
    else paintNone(parts, coin);
  }
  return entry.element;
}

/** An empty row with a cell for each exchange, to be painted. */
function createRow() {
  const cells = new Map(shownCards.map((card) => [card.exchange_id, createCell(card)]));
  const name = h("strong");
  const badge = h("span", { class: "badge" }, "SIM");
  const coin = h("span", { class: "cell coin", role: "rowheader" }, name, badge);
  const elements = [...cells.values()].map((parts) => parts.element);
  return { element: h("div", { class: "board-row", role: "row" }, coin, ...elements), name, badge, cells };
}

function createCell(card) {
  const parts = { card, value: h("a", { class: "value" }), spread: h("span", { class: "spread" }), age: h("span", { class: "age" }), last: null };
  return { ...parts, element: h("span", { class: "cell", role: "cell" }, parts.value, parts.spread, parts.age) };
}

function paintNone({ element, value, spread, age, card }, coin) {
  set(element, "data-listed", "no");
  for (const name of ["data-live", "data-reference"]) set(element, name, null);
  set(value, "href", null);
  setText(value, "–");
  set(value, "data-long", null);
  setText(spread, "");
  setText(age, "");
  set(element, "title", `${card.name} does not list ${coin.coin} among what you watch`);
}

function paintCell(parts, row, cell, isReference, moved) {
  set(parts.element, "data-listed", null);
  set(parts.value, "href", symbolUrl(row.exchange_id, row.symbol));
  const said = price(cell.price, row.decimals);
  setText(parts.value, said);
  set(parts.value, "data-long", said.length > LONG || null);
  if (moved && parts.last !== null && parts.last !== cell.price) flash(parts.value, cell.price > parts.last ? "up" : "down");
  parts.last = cell.price;
  set(parts.element, "data-live", cell.live ? "yes" : "no");
  set(parts.element, "data-reference", isReference || null);
  setText(parts.age, cell.age === null ? "" : cell.age < 2_000 ? "now" : ago(cell.age).replace(" ago", ""));
  setText(parts.spread, spreadText(cell, isReference));
  set(parts.spread, "data-direction", cell.left === null ? null : cell.left > 0 ? "up" : "none");
  parts.row = row;
  parts.cell = cell;
}

/** Titles are made when asked for: a thousand rows of ten exchanges have ten thousand of them. @param {Element | null} element */
function explain(element) {
  for (const entry of element ? entries.values() : []) {
    for (const parts of entry.cells.values()) {
      if (parts.element === element && !element.dataset.listed) set(element, "title", hint(parts.row, parts.cell));
    }
  }
}

function spreadText(cell, isReference) {
  if (isReference) return "reference";
  if (cell.other) return "another coin";
  if (cell.spread === null) return "";
  return `${percent(cell.spread / 100)} · ${percent(cell.left / 100)}`;
}

function hint(row, cell) {
  const lines = [`${row.symbol}: ${exact(cell.price)} ${row.quote}`, cell.live ? "live" : `${row.state}: ${row.reason || "the price is old"}`];
  if (cell.other) lines.push("Its price is far from the reference: it looks like another coin of the same ticker. Nothing is derived.");
  if (cell.spread !== null) lines.push(`${cell.spread.toFixed(1)} bps from the reference; ${cell.left.toFixed(1)} bps left of it after both taker fees`);
  return lines.join("\n");
}

async function askAcross() {
  const { ok, data } = await get("/api/across/");
  if (!ok) return;
  others = different(data.pairs);
  setText(byId("basis"), data.basis.map(({ quote, exchange_id: id, basis_bps: basis }) => `${quote} ${percent(basis / 100)} against USD on ${state.exchanges.get(id)?.name ?? id}`).join(" · "));
}

function keep() {
  const values = { q: view.query, both: view.both ? "" : "0", against: view.reference, sort: view.sort.by === "rank" ? "" : `${view.sort.descending ? "-" : ""}${view.sort.by}` };
  const written = new URLSearchParams(Object.entries(values).filter(([, value]) => value)).toString();
  history.replaceState(null, "", location.pathname + (written && `?${written}`));
}

const chosen = new Set(view.both ? ["both"] : []);
const paintShow = toggles(byId("show"), chosen, () => {
  view.both = chosen.has("both");
  paintShow(SHOWN);
  reorder();
  keep();
});
const SHOWN = [["both", "On two exchanges"]];

function start() {
  const search = byId("search");
  search.value = view.query;
  search.addEventListener("input", () => ((view.query = search.value), reorder(), keep()));
  byId("reference").addEventListener("change", (event) => {
    view.reference = event.target.value;
    remember("reference", view.reference);
    reorder();
    keep();
  });
  byId("scroller").addEventListener("scroll", () => (look(), state.loaded && render(false)), { passive: true });
  new ResizeObserver(() => (look(), (rowHeight = 0), state.loaded && render())).observe(byId("scroller"));
  byId("rows").addEventListener("pointerover", (event) => explain(event.target.closest("[role=cell]")));
  byId("link").addEventListener("click", () => live.feed.retryNow());
  listen({ "/": () => (search.focus(), search.select()), Escape: () => search.blur() });
  paintShow(SHOWN);
  setInterval(() => {
    topBar.paintLink(live.feed.link);
    if (!state.loaded || document.hidden) return;
    for (const key of entries.keys()) paint(key, false);
    if (!byId("rows").matches(":hover") && !["rank", "coin"].includes(view.sort.by)) reorder();
  }, 1_000);
  askAcross();
  setInterval(() => document.hidden || askAcross(), ASK_EVERY);
  live.start();
}

start();
