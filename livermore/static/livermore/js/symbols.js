// The symbols page: find a symbol, judge it, add or remove it.
import { get, patch, post, remove } from "./api.js";
import { toggles } from "./controls.js";
import { arrange, byId, h, set, setText } from "./dom.js";
import { ago, exactTime, plural } from "./format.js";
import { listen } from "./keyboard.js";
import { symbolUrl } from "./links.js";
import { Positions } from "./positions.js";
import { bulk } from "./symbol-bulk.js";
import { emptyText } from "./symbol-empty.js";
import { COLUMNS, SORTS, listUrl, nextSort, offered, readView, writeView } from "./symbol-list.js";
import { lineOf } from "./symbol-row.js";
import { Toast } from "./toast.js";

const REFRESH = 10_000;
const TYPING = 200;
const PAGE = 100;
const MOST = 500; // rows of one answer
const LONG = 400;

const page = document.body.dataset;
const rights = { mayAdd: page.mayAdd === "yes", mayDecide: page.mayDecide === "yes" };
const mayControl = page.mayControl === "yes";
const view = readView(location.search);
const exchanges = new Map(
  [...byId("exchange").options]
    .filter((option) => option.value)
    .map(({ value, dataset }) => [value, { name: dataset.name, simulated: dataset.simulated === "yes" }]),
);
const toast = new Toast(byId("said"));
const body = byId("rows");
/** Rows as shown. */
let rows = [];
/** id -> what it shows, and its element. @type {Map<number, { shown: string, element: HTMLTableRowElement }>} */
const lines = new Map();
/** When each exchange last told its symbols. @type {Map<string, number>} */
let listings = new Map();
let selected = 0;
let next = "";
let asking = null;
let typing = 0;

const nameOf = (id) => exchanges.get(id)?.name ?? id;

// Asking

/** Ask anew; an answer to an older question is nobody's. */
async function load() {
  asking?.abort();
  const mine = (asking = new AbortController());
  const slow = setTimeout(() => set(byId("list"), "aria-busy", "true"), LONG);
  history.replaceState(null, "", location.pathname + writeView(view));
  try {
    const [answer] = await Promise.all([get(listUrl(view, PAGE), { signal: mine.signal }), loadListings()]);
    if (mine.signal.aborted) return;
    if (answer.ok) take(answer.data);
    else failed(answer.message);
  } catch {
    // A newer question has been asked.
  } finally {
    clearTimeout(slow);
    if (asking === mine) set(byId("list"), "aria-busy", null);
  }
}

function take(data) {
  rows = data.results;
  next = data.next ?? "";
  setText(byId("tally"), plural(data.count, "symbol"));
  paint();
}

function failed(message) {
  toast.say("refused", message);
  if (rows.length) return;
  const again = h("button", { class: "button", type: "button" }, "Try again");
  again.addEventListener("click", load);
  byId("table").hidden = true;
  byId("empty").hidden = false;
  byId("empty").replaceChildren(h("p", {}, message), again);
}

async function loadListings() {
  const { ok, data } = await get("/api/symbols/listings/");
  if (ok) listings = new Map(data.map((row) => [row.exchange_id, Date.parse(row.listed_at)]));
  paintListing();
}

async function more() {
  const { pathname, search } = new URL(next, location.href);
  const { ok, data, message } = await toast.during(byId("more"), "Getting more…", get(pathname + search));
  if (!ok) {
    toast.say("refused", message);
    return;
  }
  const have = new Set(rows.map((row) => row.id));
  rows = [...rows, ...data.results.filter((row) => !have.has(row.id))];
  next = data.next ?? "";
  paint();
}

/** The figures of what is shown, while somebody looks. Nothing moves where a row is pointed at or used. */
async function refresh() {
  paintListing();
  if (document.hidden || typing || !rows.length || rows.length > MOST) return;
  const asked = writeView(view);
  const { ok, data } = await get(listUrl(view, Math.max(PAGE, rows.length)));
  if (!ok || typing || asked !== writeView(view)) return;
  const fresh = new Map(data.results.map((row) => [row.id, row]));
  const held = body.matches(":hover, :focus-within") || selected || rows.length > PAGE;
  if (held) rows = rows.map((row) => fresh.get(row.id) ?? row);
  else if (data.results.length) rows = data.results;
  paint();
}

/** One row anew, after something was done with it. @param {number} id */
async function reload(id) {
  const { ok, data } = await get(`/api/symbols/${id}/`);
  if (!ok) return;
  const gone = view.show === "mine" && !data.added && !data.held;
  rows = gone ? rows.filter((row) => row.id !== id) : rows.map((row) => (row.id === id ? data : row));
  paint();
}

// Showing

function paintHeads() {
  const heads = COLUMNS.map(([name, label, kind]) => {
    const sorted = name && view.sort.replace("-", "") === name;
    const order = sorted ? (view.sort.startsWith("-") ? "descending" : "ascending") : null;
    if (!name) return h("th", { scope: "col", class: kind }, label);
    const button = h("button", { class: "sorter", type: "button" }, label);
    button.addEventListener("click", () => sortBy(nextSort(view.sort, name), name));
    return h("th", { scope: "col", class: kind, "aria-sort": order, "data-by": name }, button);
  });
  if (rights.mayDecide) heads.push(h("th", { scope: "col", class: "policy", title: "By volume: watched for everybody while it is among the top of its exchange" }, "Policy"));
  if (rights.mayAdd) heads.push(h("th", { scope: "col", class: "action" }, h("span", { class: "aside" }, "Add or remove")));
  byId("heads").replaceChildren(...heads);
  byId("sort").value = view.sort;
}

/** @param {string} sort @param {string} name whose head keeps the focus */
function sortBy(sort, name) {
  view.sort = sort;
  paintHeads();
  byId("heads").querySelector(`[data-by="${name}"] .sorter`)?.focus();
  load();
}

function paint() {
  const focus = document.activeElement?.closest?.("#rows [data-do], #rows a");
  const focused = focus && { id: Number(focus.closest("tr").dataset.id), what: focus.dataset.do };
  const wanted = rows.map(paintLine);
  const ids = new Set(rows.map((row) => row.id));
  for (const id of lines.keys()) if (!ids.has(id)) lines.delete(id);
  if (!ids.has(selected)) selected = 0;
  arrange(body, wanted);
  if (focused && !document.activeElement?.closest("#rows")) refocus(focused);
  byId("more").hidden = !next;
  const none = rows.length === 0;
  byId("table").hidden = none;
  byId("empty").hidden = !none;
  if (none) byId("empty").replaceChildren(...emptyText({ view, exchanges, listings, mayControl, mayAdd: rights.mayAdd, adminUrl: page.admin }, steps));
}

/** Only what differs is made anew; a menu that is open stays open. */
function paintLine(row) {
  const line = lines.get(row.id);
  const shown = JSON.stringify(row);
  if (line && (line.shown === shown || line.element.querySelector("select:focus"))) return line.element;
  const exchange = exchanges.get(row.exchange_id) ?? { name: row.exchange_id, simulated: false };
  const element = lineOf(row, exchange, rights);
  set(element, "aria-current", row.id === selected || null);
  lines.set(row.id, { shown, element });
  return element;
}

/** The control that takes the place of the one that had the focus. */
function refocus({ id, what }) {
  const line = lines.get(id)?.element;
  const control = what === "policy" ? line?.querySelector("select") : line?.querySelector(what ? "button[data-do]" : "a");
  (control ?? line?.querySelector("a"))?.focus();
}

function paintListing() {
  const at = listings.get(view.exchange);
  setText(byId("listed"), at ? `listed ${ago(Date.now() - at)}` : view.exchange ? "never listed" : "");
  set(byId("listed"), "title", at ? exactTime(at) : null);
  const relist = document.getElementById("relist");
  if (relist) relist.hidden = !view.exchange;
}

// Doing

async function add(exchange, text, control) {
  const asked = post("/api/my/symbols/", { exchange, lines: [text] });
  const { ok, data, message } = await toast.during(control, `Asking ${nameOf(exchange)} for ${text}…`, asked);
  const verdict = ok ? data.verdicts[0] : { ok: false, message };
  toast.say(verdict.ok ? "done" : "refused", verdict.message);
  return verdict;
}

async function addRow(row, control) {
  await add(row.exchange_id, row.symbol, control);
  await (rows.some(({ id }) => id === row.id) ? reload(row.id) : load());
}

async function drop(row, control) {
  const { ok, data, message } = await toast.during(control, `Removing ${row.symbol}…`, remove(`/api/my/symbols/${row.id}/`));
  toast.say(ok ? "done" : "refused", ok ? data.message : message, ok ? () => addRow(row, control) : undefined);
  await reload(row.id);
}

async function decide(row, policy, control) {
  const { ok, data, message } = await toast.during(control, `Telling ${nameOf(row.exchange_id)}…`, patch(`/api/symbols/${row.id}/`, { policy }));
  control.blur(); // what it shows is the answer's
  const label = [...control.options].find((option) => option.value === policy)?.text;
  const said = ok ? [`${row.symbol}: watched ${label}.`, data.message].filter(Boolean).join(" ") : message;
  toast.say(ok ? "done" : "refused", said, ok ? () => decide(data, row.policy, control) : undefined);
  lines.delete(row.id);
  await reload(row.id);
}

/** Have the exchange tell its symbols again. @param {HTMLButtonElement} control */
async function relist(control) {
  const { exchange } = view;
  const asked = post(`/api/exchanges/${encodeURIComponent(exchange)}/commands/`, { action: "resync" });
  const { ok, data, message } = await toast.during(control, `Asking ${nameOf(exchange)} for its list…`, asked);
  const done = ok && data.ok;
  toast.say(done ? "done" : "refused", `${nameOf(exchange)}: ${data?.message ?? message}`);
  if (done) await load();
}

const steps = {
  clear: () => setView({ query: "", exchange: "", volume: "", show: "" }),
  showAll: () => setView({ show: "" }),
  ask: async (exchange, control) => {
    const verdict = await add(exchange, view.query, control);
    if (verdict.ok) setView({ query: verdict.symbol, exchange, volume: "", show: "" });
  },
  refresh: relist,
};

// What the reader does

const SHOWN = [
  ["mine", "Mine"],
  ["tier1", "Tier 1"],
];
const chosen = new Set([view.show].filter(Boolean));
const paintShow = toggles(byId("show"), chosen, () => setView({ show: [...chosen].find((value) => value !== view.show) ?? "" }));
const positions = new Positions({ exchanges, toast, exchange: () => view.exchange || page.own, onChange: load });

/** @param {Partial<import("./symbol-list.js").View>} changes */
function setView(changes) {
  const before = view.show;
  Object.assign(view, changes);
  paintControls();
  if (view.show !== before || "show" in changes) positions.show(view.show === "mine");
  load();
}

function paintControls() {
  const search = byId("search");
  if (search.value.trim() !== view.query) search.value = view.query;
  byId("exchange").value = view.exchange;
  byId("liquidity").value = view.volume;
  chosen.clear();
  if (view.show) chosen.add(view.show);
  paintShow(SHOWN);
  paintListing();
}

/** @param {number} id */
function select(id) {
  for (const each of [selected, id]) set(lines.get(each)?.element ?? body, "aria-current", each === id && each !== 0 ? "true" : null);
  set(body, "aria-current", null);
  selected = id;
  lines.get(id)?.element.scrollIntoView({ block: "nearest" });
}

/** @param {number} step */
function move(step) {
  if (!rows.length) return;
  const at = rows.findIndex((row) => row.id === selected);
  select(rows[at < 0 ? 0 : Math.min(Math.max(at + step, 0), rows.length - 1)].id);
}

const current = () => rows.find((row) => row.id === selected);

function open() {
  const row = current();
  if (row) location.assign(symbolUrl(row.exchange_id, row.symbol));
}

/** By its key what the button of the row does. @param {"add" | "remove"} what */
function act(what) {
  const row = current();
  if (!rights.mayAdd) toast.say("refused", "Adding symbols needs the role trader. An administrator gives it.");
  else if (!row) toast.say("refused", "Choose a row first, with j and k.");
  else if (offered(row) !== what) toast.say("refused", `${row.symbol}: ${what === "remove" ? "not among those you added" : row.added ? "in your list already" : "cannot be added"}.`);
  else lines.get(row.id).element.querySelector(`[data-do=${what}]`)?.click();
}

function listenToRows() {
  body.addEventListener("click", ({ target }) => {
    const id = Number(target.closest("tr")?.dataset.id);
    const row = rows.find((each) => each.id === id);
    const control = target.closest("button[data-do]");
    if (row && control) (control.dataset.do === "add" ? addRow : drop)(row, control);
    else if (row && !target.closest("a, select")) select(id);
  });
  body.addEventListener("change", ({ target }) => {
    const row = rows.find((each) => each.id === Number(target.closest("tr").dataset.id));
    if (row) decide(row, target.value, target);
  });
}

function listenToSearch(search) {
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      typing = 0;
      setView({ query: search.value.trim() });
    }, TYPING);
  });
  search.addEventListener("keydown", (event) => {
    if (!["Enter", "ArrowDown"].includes(event.key)) return;
    event.preventDefault();
    search.blur();
    move(0);
  });
}

function escape() {
  const search = byId("search");
  if (search.value) setView({ query: (search.value = "") });
  else if (document.activeElement === search) search.blur();
  else if (selected) select(0);
  else toast.hide();
}

function start() {
  const search = byId("search");
  listenToSearch(search);
  listenToRows();
  byId("exchange").addEventListener("change", (event) => setView({ exchange: event.target.value }));
  byId("liquidity").addEventListener("change", (event) => setView({ volume: event.target.value }));
  byId("sort").replaceChildren(...SORTS.flatMap(([name, label]) => [h("option", { value: `-${name}` }, `${label} ↓`), h("option", { value: name }, `${label} ↑`)]));
  byId("sort").addEventListener("change", (event) => sortBy(event.target.value, ""));
  byId("more").addEventListener("click", more);
  document.getElementById("relist")?.addEventListener("click", (event) => relist(event.target));
  if (rights.mayAdd) bulk({ exchange: () => view.exchange || page.own, onClose: load });
  listen({
    "/": () => (search.focus(), search.select()),
    j: () => move(1),
    k: () => move(-1),
    Enter: open,
    a: () => act("add"),
    x: () => act("remove"),
    "?": () => byId("keys").showModal(),
    Escape: escape,
  });
  paintHeads();
  setView({ show: view.show });
  setInterval(refresh, REFRESH);
}

start();
