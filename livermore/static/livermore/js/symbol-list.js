// The symbols page: its columns, its view in the address, and its words. Pure.
import { plural } from "./format.js";

/** [what it sorts by, label, class of its cells] */
export const COLUMNS = [
  ["symbol", "Symbol", "symbol"],
  ["exchange", "Exchange", "exchange"],
  ["price", "Price", "right price"],
  ["change_24h", "24 h", "right change"],
  ["dollar_volume_24h", "Volume, $", "right volume"],
  ["spread_bps", "Spread, bps", "right spread"],
  ["", "Liquidity", "middle liquidity"],
  ["market_cap", "Market cap, $", "right cap"],
  ["coin_rank", "Coin rank", "right rank"],
  ["", "Watched", "watched"],
];

export const SORTS = COLUMNS.filter(([name]) => name);
const SORTABLE = new Set(SORTS.map(([name]) => name));
const STANDARD = "-dollar_volume_24h";
const SHOWN = ["", "mine", "tier1"];
/** Figures that are read from the largest down. */
const LARGEST_FIRST = new Set(["price", "change_24h", "dollar_volume_24h", "market_cap"]);

/** @typedef {{ query: string, exchange: string, volume: string, show: string, sort: string }} View */

/** What cannot be read is left at its standard. @param {string} search @returns {View} */
export function readView(search) {
  const given = new URLSearchParams(search);
  const sort = given.get("sort") ?? STANDARD;
  const show = given.get("show") ?? "";
  const volume = given.get("volume") ?? "";
  return {
    query: given.get("q") ?? "",
    exchange: given.get("exchange") ?? "",
    volume: /^\d+$/.test(volume) ? volume : "",
    show: SHOWN.includes(show) ? show : "",
    sort: SORTABLE.has(sort.replace(/^-/, "")) ? sort : STANDARD,
  };
}

/** The query string of a view; "" where all is standard. @param {View} view */
export function writeView({ query, exchange, volume, show, sort }) {
  const values = { q: query, exchange, volume, show, sort: sort === STANDARD ? "" : sort };
  const written = new URLSearchParams(Object.entries(values).filter(([, value]) => value)).toString();
  return written && `?${written}`;
}

/** The API's address of what a view shows. @param {View} view @param {number} size rows of a page */
export function listUrl({ query, exchange, volume, show, sort }, size) {
  const asked = new URLSearchParams({ ordering: sort, page_size: String(size) });
  // What is held and halted is still held.
  if (show === "mine") asked.set("mine", "true");
  else asked.set("tradable", "true");
  if (show === "tier1") asked.set("tier", "1");
  if (query) asked.set("search", query);
  if (exchange) asked.set("exchange", exchange);
  if (volume) asked.set("min_volume", volume);
  return `/api/symbols/?${asked}`;
}

/** The order after a click on a column: its natural one first, then the other. @param {string} sort @param {string} name */
export function nextSort(sort, name) {
  const [first, second] = LARGEST_FIRST.has(name) ? [`-${name}`, name] : [name, `-${name}`];
  return sort === first ? second : first;
}

/** Why a symbol is watched for the reader, in a word or two. @param {object} row */
export function tierText({ tier, added, held, policy, tradable }) {
  const why = [held && "held", added && "added"].filter(Boolean).join(", ");
  if (tradable === false) return why ? `${why}, not traded now` : "not traded now";
  if (policy === "excluded") return why ? `${why}, excluded` : "excluded";
  if (tier === 1) return why ? `everybody; ${why}` : "everybody";
  if (tier === 2) return why;
  return why ? `${why}, not watched` : "no";
}

/** Only what sets a symbol apart. @param {object} row */
export function shortTierText(row) {
  const text = tierText(row).replace(/^everybody(; )?/, "");
  return text === "no" ? "not watched" : text;
}

/** What the reader may do with a row: "add", "remove", or nothing. @param {object} row */
export function offered({ added, tradable, alias_of: alias }) {
  if (added) return "remove";
  return tradable && !alias ? "add" : "";
}

/** Lines of a paste. @param {string} text */
export function linesOf(text) {
  return text
    .split(/[\n,;]+/)
    .map((line) => line.trim())
    .filter(Boolean);
}

/** What became of a paste, in a sentence. @param {{ ok: boolean, code: string }[]} verdicts */
export function verdictsText(verdicts) {
  const fine = verdicts.filter((verdict) => verdict.ok).length;
  const rest = verdicts.length - fine;
  const added = `${plural(fine, "line")} understood`;
  return rest ? `${added}, ${rest} to correct: ${rest === 1 ? "it stays" : "they stay"} above.` : `${added}.`;
}
