// The dashboard: ties the socket, the state and the parts of the page together.
import { Cards } from "./cards.js";
import { now } from "./clock.js";
import { KIND_OPTIONS, TIMEFRAME_OPTIONS, choice, paintLegend, toggles } from "./controls.js";
import { byId, set, setText } from "./dom.js";
import { paintEmptyFeed, paintEmptyMatrix } from "./empty.js";
import { AlertFeed } from "./feed.js";
import { plural } from "./format.js";
import { listen } from "./keyboard.js";
import { symbolUrl } from "./links.js";
import { Live } from "./live.js";
import { Matrix } from "./matrix.js";
import { Moves } from "./moves.js";
import { NotifySwitch } from "./notify-switch.js";
import { readFilters, writeFilters } from "./query.js";
import { acknowledge, snooze } from "./silence.js";
import { initialState } from "./state.js";
import { recall, remember } from "./storage.js";
import { TopBar, paintNotice } from "./topbar.js";

const LONG_WAIT = 3_000;

const page = document.body.dataset;
const mayControl = page.mayControl === "yes";
const state = initialState();
const filters = readFilters(location.search);
const view = { query: filters.query, exchanges: filters.exchanges, mine: filters.mine, sort: filters.sort, pins: recallPins() };
/** What has changed since the last frame was drawn. */
let changed = nothing();

function nothing() {
  return { rows: new Set(), structure: false, exchanges: false, alerts: false, whole: false };
}

function recallPins() {
  try {
    const pins = JSON.parse(recall("pins", "[]"));
    return new Set(Array.isArray(pins) ? pins : []);
  } catch {
    return new Set();
  }
}

// The parts of the page.

const topBar = new TopBar({ onChip: (id) => (show("exchanges"), cards.reveal(id)) });

const cards = new Cards({
  state,
  now,
  mayControl,
  urlOf: (id) => page.commands.replace("{id}", encodeURIComponent(id)),
  root: byId("cards"),
});

const matrix = new Matrix({
  state,
  view,
  now,
  onView: () => {
    remember("pins", JSON.stringify([...view.pins]));
    keepFilters();
  },
  elements: { scroller: byId("matrix-scroller"), table: byId("matrix-table"), head: byId("matrix-head"), rows: byId("matrix-rows") },
});

const moves = new Moves({ root: byId("moves"), state, now });

const alerts = new AlertFeed({
  state,
  filter: filters.alerts,
  now,
  onShown: seen,
  elements: { scroller: byId("alerts-scroller"), list: byId("feed"), bar: byId("alerts-new"), more: byId("feed-more") },
});

const live = new Live({
  path: page.feed,
  state,
  onTake: take,
  onDraw: draw,
  onUnseen: (count) => topBar.paintUnseen(count),
  onLink: (link) => {
    if (topBar.paintLink(link) && state.loaded) {
      drawExchanges();
      matrix.refreshDetail();
    }
    paintNotice(link, page.login);
    paintWaiting();
  },
});
const { feed, unseen } = live;

// From the socket to the screen.

/** @param {{ type: string }} message @param {import("./state.js").Changes} changes */
function take(message, changes) {
  if (changes.settings) matrix.setTimeframes(changes.settings.timeframes);
  if (changes.moves) moves.paint();
  if (changes.restarted?.length) tellOfRestart(changes.restarted);
  for (const key of changes.rows?.keys() ?? []) changed.rows.add(key);
  changed.structure ||= message.type === "symbols" || message.type === "account";
  changed.exchanges ||= Boolean(changes.exchanges);
  changed.alerts ||= Boolean(changes.alerts);
  changed.whole ||= Boolean(changes.whole);
}

/** The list could not be continued: never pass a part of it off as the whole. @param {string[]} ids */
function tellOfRestart(ids) {
  const names = ids.map((id) => state.exchanges.get(id)?.name ?? id).join(", ");
  tellInFeed(`${names}: too much happened while this page was away. These are the newest alerts; /api/alerts/ has all.`);
}

/** @param {string} text */
function tellInFeed(text) {
  const note = byId("feed-note");
  note.hidden = false;
  setText(note.firstElementChild, text);
}

function draw() {
  const { rows, structure, exchanges, alerts: news, whole } = changed;
  changed = nothing();
  if (exchanges) drawExchanges();
  if (whole || structure) {
    matrix.reorder();
    alerts.refresh();
  } else if (news) {
    alerts.refresh();
  }
  matrix.update(exchanges ? matrix.keys : rows);
  if (whole || structure || exchanges || news) drawSurroundings();
}

function drawExchanges() {
  topBar.paintChips(state.exchanges);
  cards.render();
}

/** Counts, filter controls and what empty parts say. */
function drawSurroundings() {
  drawControls();
  const live = [...state.exchanges.values()].filter((card) => card.state === "live").length;
  setText(byId("exchanges-tally"), state.exchanges.size ? `${live} of ${state.exchanges.size} live` : "");
  setText(
    byId("matrix-tally"),
    matrix.keys.length === state.rows.size
      ? plural(state.rows.size, "symbol")
      : `${matrix.keys.length} of ${plural(state.rows.size, "symbol")}`,
  );
  setText(byId("alerts-tally"), alerts.tally);
  drawEmpty();
  paintWaiting();
}

function drawEmpty() {
  const steps = { adminUrl: page.admin, mayControl, start: (id) => (show("exchanges"), cards.start(id)), clear: clearFilters };
  const noRows = state.loaded && matrix.keys.length === 0;
  const noAlerts = state.loaded && alerts.shown.length === 0;
  byId("matrix-empty").hidden = !noRows;
  byId("matrix-table").hidden = noRows;
  byId("feed-empty").hidden = !noAlerts;
  if (noRows) paintEmptyMatrix(byId("matrix-empty"), state, steps, Boolean(view.query || view.exchanges.size || view.mine));
  if (noAlerts) paintEmptyFeed(byId("feed-empty"), state, steps, isFiltered(filters.alerts));
}

function paintWaiting() {
  const waiting = byId("waiting");
  waiting.hidden = state.loaded;
  const { state: link } = feed.link;
  const long = Date.now() - feed.openedAt > LONG_WAIT;
  setText(
    waiting,
    link === "connecting"
      ? long
        ? "Waiting for the server’s first answer…"
        : "Connecting to the feed…"
      : "The feed cannot be reached yet. Trying again…",
  );
}

/** @param {object[]} shown */
function seen(shown) {
  if (document.hidden || !byId("alerts").offsetParent) return;
  for (const { uid } of shown) unseen.delete(uid);
  topBar.paintUnseen(unseen.size);
}

// What the reader does.

const paintExchangeToggles = toggles(byId("matrix-exchanges"), view.exchanges, filterMatrix);
const paintTimeframeToggles = toggles(byId("alert-timeframes"), filters.alerts.timeframes, filterAlerts);
const paintAlertExchange = choice(byId("alert-exchange"), (value) => {
  filters.alerts.exchange = value;
  filterAlerts();
});
const paintAlertKind = choice(byId("alert-kind"), (value) => {
  filters.alerts.kind = value;
  filterAlerts();
});

const paintMine = toggles(byId("matrix-mine"), chosenIf(view.mine), () => {
  view.mine = !view.mine;
  filterMatrix();
});
const paintAlertMine = toggles(byId("alert-mine"), chosenIf(filters.alerts.mine), () => {
  filters.alerts.mine = !filters.alerts.mine;
  filterAlerts();
});

function chosenIf(mine) {
  return new Set(mine ? ["mine"] : []);
}

function drawControls() {
  const mine = state.own.size || view.mine || filters.alerts.mine ? [["mine", "Mine"]] : [];
  paintMine(mine);
  paintAlertMine(mine);
  const names = [...state.exchanges.values()].map((card) => [card.exchange_id, card.name]);
  const listed = new Set([...state.rows.values()].map((row) => row.exchange_id));
  const chosen = ([id]) => view.exchanges.has(id) || (listed.size > 1 && listed.has(id));
  paintExchangeToggles(names.filter(chosen));
  paintTimeframeToggles(TIMEFRAME_OPTIONS);
  paintAlertExchange([["", "All exchanges"], ...names], filters.alerts.exchange);
  paintAlertKind(KIND_OPTIONS, filters.alerts.kind);
}

function isFiltered({ exchange, timeframes, kind, mine }) {
  return Boolean(exchange || timeframes.size || kind || mine);
}

function filterMatrix() {
  matrix.reorder(true);
  keepFilters();
  drawSurroundings();
}

function filterAlerts() {
  alerts.showNew();
  keepFilters();
  drawSurroundings();
}

function clearFilters() {
  byId("search").value = view.query = "";
  view.exchanges.clear();
  if (view.mine) byId("matrix-mine").querySelector("button")?.click();
  if (filters.alerts.mine) byId("alert-mine").querySelector("button")?.click();
  Object.assign(filters.alerts, { exchange: "", kind: "" });
  filters.alerts.timeframes.clear();
  filterMatrix();
  filterAlerts();
}

function keepFilters() {
  const written = writeFilters({ ...view, alerts: filters.alerts, pane: page.tab });
  history.replaceState(null, "", location.pathname + written);
}

/** @type {"matrix" | "alerts"} the part j, k and Enter go to */
let active = "matrix";

const narrow = matchMedia("(max-width: 759px)"); // as in narrow.css

/** On a phone one part is shown at a time. @param {string} pane */
function setPane(pane) {
  page.tab = pane;
  if (narrow.matches && pane !== "exchanges") active = pane;
  for (const tab of byId("tabs").children) set(tab, "aria-current", tab.dataset.to === pane || null);
}

/** @param {string} pane */
function show(pane) {
  if (!narrow.matches) return;
  setPane(pane);
  keepFilters();
  alerts.refresh();
}

function goTo(pane) {
  show(pane);
  active = pane;
  byId(`${pane}-scroller`).focus();
}

/** The chart of what is selected. */
function openChart() {
  const one = active === "matrix" ? state.rows.get(matrix.selected) : state.alerts.find((alert) => alert.uid === alerts.selected);
  if (one) location.assign(symbolUrl(one.exchange_id ?? one.source_exchange_id, one.symbol, one.timeframe));
}

/** Acknowledge or snooze what is selected. @param {(alert: object) => Promise<{ ok: boolean, message: string }>} ask */
async function silence(ask) {
  const one = page.maySilence === "yes" && state.alerts.find((alert) => alert.uid === alerts.selected);
  if (!one) return;
  const { ok, message } = await ask(one);
  if (!ok) tellInFeed(message);
}

const actor = () => (active === "matrix" ? matrix : alerts);

function escape() {
  const search = byId("search");
  if (document.activeElement === search && search.value) {
    search.value = view.query = "";
    filterMatrix();
  } else if (document.activeElement === search) search.blur();
  else if (matrix.close()) matrix.render();
  else if (!alerts.close() && view.query) {
    search.value = view.query = "";
    filterMatrix();
  }
}

function start() {
  paintLegend(byId("legend"));
  drawControls();
  const search = byId("search");
  search.value = view.query;
  search.addEventListener("input", () => {
    view.query = search.value;
    filterMatrix();
  });
  byId("bell").addEventListener("click", (event) => {
    if (unseen.size) event.preventDefault(); // they are what it is clicked for: no sheet before them
    show("alerts");
    unseen.clear();
    alerts.showNew();
    topBar.paintUnseen(0);
  });
  startBell();
  byId("link").addEventListener("click", () => feed.retryNow());
  byId("feed-note").addEventListener("click", () => (byId("feed-note").hidden = true));
  byId("tabs").addEventListener("click", (event) => {
    const tab = event.target.closest("[data-to]");
    if (tab) show(tab.dataset.to);
  });
  for (const pane of ["matrix", "alerts"]) {
    for (const event of ["pointerdown", "focusin"]) byId(pane).addEventListener(event, () => (active = pane));
  }
  listen({
    "/": () => (show("matrix"), search.focus(), search.select()),
    j: () => actor().move(1),
    k: () => actor().move(-1),
    Enter: () => actor().enter(),
    p: () => matrix.pin(),
    a: () => silence(({ uid }) => acknowledge(uid)),
    s: () => silence(({ uid }) => snooze(uid, 60)),
    c: openChart,
    m: () => goTo("matrix"),
    n: () => goTo("alerts"),
    "?": () => byId("keys").showModal(),
    Escape: escape,
  });
  document.addEventListener("visibilitychange", () => document.hidden || alerts.refresh());
  setInterval(tick, 1_000);
  setPane(filters.pane);
  live.start();
}

/** Under the bell, where the reader may set anything: whether this browser tells. */
function startBell() {
  const sheet = document.getElementById("bell-sheet");
  if (!sheet) return;
  const box = new NotifySwitch(byId("bell-switch"));
  sheet.addEventListener("toggle", (event) => event.newState === "open" && box.load());
  if (sheet.matches(":popover-open")) box.load(); // clicked before this ran
}

function tick() {
  topBar.paintLink(feed.link);
  if (!state.loaded) {
    paintWaiting();
    return;
  }
  cards.tick();
  matrix.tick();
  alerts.tick();
  moves.paint();
}

start();
