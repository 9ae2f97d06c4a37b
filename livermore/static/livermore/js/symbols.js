// The symbols page: find a symbol, judge it, add or remove it.
import { get, post, remove } from "./api.js";
import { toggles } from "./controls.js";
import { byId, h, set, setText } from "./dom.js";
import { ago, compact, exact, exactTime, percent, plural, price } from "./format.js";
import { listen } from "./keyboard.js";
import { symbolUrl } from "./links.js";
import { COLUMNS, readView, tierText, writeView } from "./symbol-list.js";
import { Positions } from "./positions.js";

const REFRESH = 10_000;
const TYPING = 200;

const page = document.body.dataset;
const mayAdd = page.mayAdd === "yes";
const view = readView(location.search);
const names = new Map([...byId("exchange").options].filter((option) => option.value).map((option) => [option.value, option]));
/** Rows as shown, by id. */
let rows = [];
let next = "";
let asking = null;
let typing = 0;

// Asking

function url() {
  const query = new URLSearchParams({ ordering: view.sort, page_size: "100", tradable: "true" });
  if (view.query) query.set("search", view.query);
  if (view.exchange) query.set("exchange", view.exchange);
  if (view.volume) query.set("min_volume", view.volume);
  if (view.show === "mine") {
    query.set("mine", "true");
    query.delete("tradable"); // what is held and halted is still held
  }
  if (view.show === "tier1") query.set("tier", "1");
  return `/api/symbols/?${query}`;
}

/** Ask anew; an answer to an older question is nobody's. */
async function load() {
  asking?.abort();
  const mine = (asking = new AbortController());
  history.replaceState(null, "", location.pathname + writeView(view));
  try {
    const { ok, data, message } = await get(url(), { signal: mine.signal });
    if (!ok) {
      say("refused", message);
      return;
    }
    rows = data.results;
    next = data.next ?? "";
    setText(byId("tally"), plural(data.count, "symbol"));
    paint();
  } catch {
    // A newer question has been asked.
  }
}

async function more() {
  const { ok, data, message } = await get(new URL(next).pathname + new URL(next).search);
  if (!ok) {
    say("refused", message);
    return;
  }
  rows = [...rows, ...data.results];
  next = data.next ?? "";
  paint();
}

/** The prices of what is shown, while somebody looks and nothing else is under way. */
async function refresh() {
  if (document.hidden || rows.length > 100 || byId("rows").matches(":hover")) return;
  const { ok, data } = await get(url());
  if (ok && !typing && data.results.length) {
    rows = data.results;
    paint();
  }
}

// Showing

function paintHeads() {
  byId("heads").replaceChildren(
    ...COLUMNS.map(([name, label, kind]) => {
      const sorted = name && view.sort.replace("-", "") === name;
      const order = sorted ? (view.sort.startsWith("-") ? "descending" : "ascending") : null;
      const head = h("th", { scope: "col", class: kind, "aria-sort": order });
      if (!name) {
        head.append(label);
        return head;
      }
      const button = h("button", { class: "sorter", type: "button" }, label);
      button.addEventListener("click", () => sortBy(name, kind));
      head.append(button);
      return head;
    }),
  );
}

function sortBy(name, kind) {
  const first = kind === "right" && name !== "coin_rank" && name !== "spread_bps" ? `-${name}` : name;
  view.sort = view.sort === first ? (first.startsWith("-") ? name : `-${name}`) : first;
  paintHeads();
  load();
}

function paint() {
  byId("rows").replaceChildren(...rows.map(line));
  byId("more").hidden = !next;
  const none = rows.length === 0;
  byId("table").hidden = none;
  byId("empty").hidden = !none;
  if (none) byId("empty").replaceChildren(...emptyText());
}

function emptyText() {
  if (view.show === "mine" && !view.query) return [h("p", {}, "You have added nothing yet. Find a symbol and press Add; what you hold comes by itself once a key is stored in the settings.")];
  if (view.query) {
    const add = mayAdd && view.exchange ? [askExchange()] : [h("p", { class: "muted" }, "Choose an exchange to have it asked.")];
    return [h("p", {}, `Nothing known matches “${view.query}”.`), ...add];
  }
  return [h("p", {}, "No symbols are known yet: an exchange tells its symbols when it is started for the first time.")];
}

/** The exchange may list what we do not know yet. */
function askExchange() {
  const button = h("button", { class: "button", type: "button" }, `Ask ${names.get(view.exchange)?.text ?? view.exchange}`);
  button.addEventListener("click", () => add(view.exchange, view.query, button));
  return button;
}

function line(row) {
  const option = names.get(row.exchange_id);
  const simulated = option?.dataset.simulated;
  const name = option?.text.replace(" (SIMULATED)", "") ?? row.exchange_id;
  const cells = [
    h("th", { scope: "row" }, h("a", { href: symbolUrl(row.exchange_id, row.symbol) }, row.symbol)),
    h("td", {}, name, simulated && h("span", { class: "badge" }, "SIMULATED")),
    h("td", { class: "right", title: priceHint(row) }, price(row.price, decimalsOf(row))),
    h("td", { class: "right", "data-direction": row.change_24h > 0 ? "up" : row.change_24h < 0 ? "down" : null }, percent(row.change_24h)),
    h("td", { class: "right", title: row.dollar_volume_24h === null ? null : `$ ${exact(Math.round(row.dollar_volume_24h))}` }, compact(row.dollar_volume_24h)),
    h("td", { class: "right" }, row.spread_bps === null ? "–" : `${row.spread_bps.toFixed(1)} bps`),
    h("td", { class: "middle" }, row.liquidity === null ? "–" : h("span", { class: "grade", "data-grade": row.liquidity }, row.liquidity)),
    h("td", { class: "right", title: row.market_cap === null ? "not known" : `$ ${exact(Math.round(row.market_cap))}` }, compact(row.market_cap)),
    h("td", { class: "right", title: row.coin_volume_24h === null ? null : `$ ${exact(Math.round(row.coin_volume_24h))} in 24 h over all exchanges` }, row.coin_rank === null ? "–" : `#${row.coin_rank}`),
    h("td", {}, tierText(row)),
    h("td", { class: "right" }, mayAdd && action(row)),
  ];
  return h("tr", { "data-id": row.id }, ...cells);
}

function priceHint(row) {
  const at = Date.parse(row.updated_at);
  return `${exact(row.price)} ${row.quote}\n${row.live ? "live" : `as listed ${ago(Date.now() - at)}\n${exactTime(at)}`}`;
}

function decimalsOf(row) {
  const [, fraction] = /^0\.(\d*?)0*$/.exec(row.price_increment) ?? [];
  return fraction === undefined ? null : fraction.length;
}

/** Add or remove, whichever makes sense. */
function action(row) {
  if (row.added) {
    const button = h("button", { class: "button", type: "button" }, "Remove");
    button.addEventListener("click", () => drop(row, button));
    return button;
  }
  if (!row.tradable || row.alias_of) return h("span", { class: "muted" }, row.alias_of ? `= ${row.alias_of}` : row.status || "halted");
  const button = h("button", { class: "button", type: "button" }, "Add");
  button.addEventListener("click", () => add(row.exchange_id, row.symbol, button));
  return button;
}

/** @param {"done" | "refused"} kind @param {string} message @param {() => void} [undo] */
function say(kind, message, undo) {
  const said = byId("said");
  said.hidden = !message;
  set(said, "data-kind", kind);
  said.replaceChildren(message);
  if (!undo) return;
  const button = h("button", { class: "button", "data-kind": "plain", type: "button" }, "Undo");
  button.addEventListener("click", undo);
  said.append(" ", button);
}

function working(button, on) {
  button.disabled = on;
  set(button, "aria-busy", on ? "true" : null);
}

async function add(exchange, text, button) {
  working(button, true);
  const { ok, data, message } = await post("/api/my/symbols/", { exchange, lines: [text] });
  working(button, false);
  const verdict = ok ? data.verdicts[0] : { ok: false, message };
  say(verdict.ok ? "done" : "refused", verdict.message);
  await load();
}

async function drop(row, button) {
  working(button, true);
  const { ok, data, message } = await remove(`/api/my/symbols/${row.id}/`);
  working(button, false);
  say(ok ? "done" : "refused", ok ? data.message : message, ok ? () => add(row.exchange_id, row.symbol, button) : undefined);
  await load();
}

// Many at once

function bulk() {
  const dialog = byId("bulk");
  byId("paste").addEventListener("click", () => {
    if (view.exchange) byId("bulk-exchange").value = view.exchange;
    byId("verdicts").replaceChildren();
    dialog.showModal();
    byId("bulk-lines").focus();
  });
  dialog.addEventListener("close", () => load());
  byId("bulk-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = event.target.querySelector("[type=submit]");
    const lines = byId("bulk-lines").value.split(/[\n,;]+/).map((text) => text.trim()).filter(Boolean);
    if (!lines.length) return;
    working(button, true);
    const { ok, data, message } = await post("/api/my/symbols/", { exchange: byId("bulk-exchange").value, lines });
    working(button, false);
    const verdicts = ok ? data.verdicts : [{ ok: false, text: "", message }];
    byId("verdicts").replaceChildren(
      ...verdicts.map((verdict) => h("li", { "data-kind": verdict.ok ? "done" : "refused" }, h("strong", {}, verdict.text), " ", verdict.message)),
    );
    // What went well is done; the rest stays to be corrected.
    if (ok) byId("bulk-lines").value = verdicts.filter((verdict) => !verdict.ok).map((verdict) => verdict.text).join("\n");
  });
}

// What the reader does

const chosen = new Set([view.show].filter(Boolean));
const SHOWN = [
  ["mine", "Mine"],
  ["tier1", "Tier 1"],
];
const paintShow = toggles(byId("show"), chosen, () => {
  const [latest] = [...chosen].filter((value) => value !== view.show);
  chosen.clear();
  view.show = latest ?? "";
  if (view.show) chosen.add(view.show);
  paintShow(SHOWN);
  positions.show(view.show === "mine");
  load();
});

const positions = new Positions({ names, say });

function start() {
  const search = byId("search");
  search.value = view.query;
  byId("exchange").value = view.exchange;
  byId("liquidity").value = view.volume;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      typing = 0;
      view.query = search.value.trim();
      load();
    }, TYPING);
  });
  byId("exchange").addEventListener("change", (event) => ((view.exchange = event.target.value), load()));
  byId("liquidity").addEventListener("change", (event) => ((view.volume = event.target.value), load()));
  byId("more").addEventListener("click", more);
  if (mayAdd) bulk();
  listen({
    "/": () => (search.focus(), search.select()),
    Escape: () => (search.value ? ((search.value = view.query = ""), load()) : search.blur()),
  });
  paintHeads();
  paintShow(SHOWN);
  positions.show(view.show === "mine");
  load();
  setInterval(refresh, REFRESH);
}

start();
