// A row of the symbols page.
import { h } from "./dom.js";
import { ago, compact, exact, exactTime, percent, price } from "./format.js";
import { symbolUrl } from "./links.js";
import { offered, shortTierText, tierText } from "./symbol-list.js";

const POLICIES = [
  ["auto", "by volume"],
  ["pinned", "always"],
  ["excluded", "never"],
];

/**
 * @param {object} row of /api/symbols/
 * @param {{ name: string, simulated: boolean }} exchange
 * @param {{ mayAdd: boolean, mayDecide: boolean }} rights
 * @returns {HTMLTableRowElement} its controls carry ``data-do``: add, remove or policy
 */
export function lineOf(row, exchange, { mayAdd, mayDecide }) {
  const badge = () => exchange.simulated && h("span", { class: "badge" }, "SIMULATED");
  const cells = [
    h(
      "th",
      { scope: "row", class: "symbol" },
      h("a", { href: symbolUrl(row.exchange_id, row.symbol) }, row.symbol),
      h("span", { class: "under" }, h("span", {}, exchange.name), badge(), underText(row)),
    ),
    h("td", { class: "exchange" }, exchange.name, badge()),
    h("td", { class: "right price", "data-listed": !row.live, title: priceHint(row) }, price(row.price, decimalsOf(row))),
    h("td", { class: "right change", "data-direction": directionOf(row.change_24h) }, percent(row.change_24h)),
    h("td", { class: "right volume", title: dollars(row.dollar_volume_24h) }, compact(row.dollar_volume_24h)),
    h("td", { class: "right spread" }, row.spread_bps === null ? "–" : row.spread_bps.toFixed(2)),
    h("td", { class: "middle liquidity" }, gradeOf(row)),
    h("td", { class: "right cap", title: dollars(row.market_cap) }, compact(row.market_cap)),
    h("td", { class: "right rank", title: rankHint(row) }, row.coin_rank === null ? "–" : `#${row.coin_rank}`),
    h("td", { class: "watched" }, tierText(row)),
  ];
  if (mayDecide) cells.push(h("td", { class: "policy" }, policyOf(row)));
  if (mayAdd) cells.push(h("td", { class: "right action" }, actionOf(row)));
  return h("tr", { "data-id": row.id, "data-tradable": String(row.tradable) }, ...cells);
}

/** As it is shown: what rounds to nothing is neither. */
function directionOf(change) {
  const shown = Math.round((change ?? 0) * 100);
  return shown > 0 ? "up" : shown < 0 ? "down" : null;
}

/** On a phone, in place of the columns that have no room. */
function underText(row) {
  const volume = row.dollar_volume_24h === null ? "" : `$ ${compact(row.dollar_volume_24h)}`;
  return h("span", {}, [shortTierText(row), volume].filter(Boolean).join(" · "));
}

const dollars = (value) => (value === null ? "not known" : `$ ${exact(Math.round(value))}`);

function rankHint({ coin_volume_24h: volume, base }) {
  return volume === null ? "not known" : `${base}: $ ${exact(Math.round(volume))} in 24 h over all exchanges`;
}

function priceHint(row) {
  if (row.price === null) return "not known";
  const at = Date.parse(row.updated_at);
  return `${exact(row.price)} ${row.quote}\n${row.live ? "live" : `as listed ${ago(Date.now() - at)}\n${exactTime(at)}`}`;
}

function decimalsOf(row) {
  const [, fraction] = /^0\.(\d*?)0*$/.exec(row.price_increment) ?? [];
  return fraction === undefined ? null : fraction.length;
}

function gradeOf({ liquidity }) {
  if (liquidity === null) return "–";
  return h("span", { class: "grade", "data-grade": liquidity, title: "A (deep) to E (thin), by 24 h volume and spread" }, liquidity);
}

function policyOf(row) {
  const options = POLICIES.map(([value, label]) => h("option", { value, selected: value === row.policy }, label));
  return h("select", { class: "field", "data-do": "policy", "data-policy": row.policy, "aria-label": `Watch ${row.symbol}` }, ...options);
}

function actionOf(row) {
  const what = offered(row);
  if (!what) return h("span", { class: "muted" }, row.alias_of ? `= ${row.alias_of}` : row.status || "halted");
  const label = what === "add" ? "Add" : "Remove";
  return h("button", { class: "button", type: "button", "data-do": what, "aria-label": `${label} ${row.symbol}` }, label);
}

