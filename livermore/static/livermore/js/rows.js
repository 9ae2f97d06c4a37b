// Which rows of the matrix are shown, in which order and state. Pure.
import { rowKey } from "./state.js";
import { STAGES, STATES, TIMEFRAMES } from "./stages.js";

/** Where an exchange is in one of these, none of its rows is better off. */
const OVERRULING = { offline: 1, idle: 1, halted: 1, stale: 1 };

/**
 * The state of a row as a reader must take it, and why.
 * @param {object} row a SymbolRow @param {object | undefined} card its ExchangeCard
 * @returns {{ state: string, reason: string }}
 */
export function stateOf(row, card) {
  if (!card || !Object.hasOwn(OVERRULING, card.state)) return { state: row.state, reason: row.reason };
  const reason = [`${card.name} is ${card.state}`, card.error].filter(Boolean).join(": ");
  return { state: card.state === "idle" ? "offline" : card.state, reason };
}

const direct = (name) => (row) => row[name];

/** Column -> what it sorts by; null sorts last in both directions. */
const VALUES = {
  rank: direct("rank"),
  symbol: direct("symbol"),
  exchange: (row, card) => card?.name ?? row.exchange_id,
  state: (row, card) => Object.keys(STATES).indexOf(stateOf(row, card).state),
  price: direct("price"),
  change: direct("change_24h"),
  volume: direct("quote_volume_24h"),
  ...Object.fromEntries(TIMEFRAMES.map((timeframe) => [timeframe, (row) => row.readings[timeframe]?.macdv])),
};

export const SORTABLE = Object.keys(VALUES);

/**
 * @typedef {object} View
 * @property {string} query words, all of which must match
 * @property {Set<string>} exchanges shown ones; empty means all
 * @property {boolean} mine only what the reader holds or added
 * @property {Set<string>} pins row keys
 * @property {{ by: string, descending: boolean }} sort
 */

/**
 * Keys of the rows to show, pinned ones first.
 * @param {import("./state.js").State} state @param {View} view @returns {string[]}
 */
export function order(state, { query, exchanges, mine, pins, sort }) {
  const words = wordsOf(query);
  const value = VALUES[sort.by] ?? VALUES.rank;
  const found = [];
  for (const row of state.rows.values()) {
    if (exchanges.size && !exchanges.has(row.exchange_id)) continue;
    if (mine && !state.own.has(rowKey(row.exchange_id, row.symbol))) continue;
    const card = state.exchanges.get(row.exchange_id);
    if (!words.every((word) => matches(row, card, word))) continue;
    const key = rowKey(row.exchange_id, row.symbol);
    found.push({ key, pinned: pins.has(key), value: value(row, card), rank: row.rank ?? Infinity });
  }
  const turn = sort.descending ? -1 : 1;
  found.sort((a, b) => b.pinned - a.pinned || compare(a.value, b.value, turn) || a.rank - b.rank || (a.key < b.key ? -1 : 1));
  return found.map((entry) => entry.key);
}

/** Whether the order, or what is in it, follows values that move by themselves. @param {View} view @returns {boolean} */
export function follows({ query, sort }) {
  if (!["rank", "symbol", "exchange"].includes(sort.by)) return true;
  return wordsOf(query).some((word) => Object.hasOwn(STAGES, word) || Object.hasOwn(STATES, word));
}

function wordsOf(query) {
  return query.toLowerCase().split(/\s+/).filter(Boolean);
}

function compare(a, b, turn) {
  const noA = a === null || a === undefined;
  const noB = b === null || b === undefined;
  if (noA || noB) return noA - noB;
  if (a === b) return 0;
  return (typeof a === "string" ? a.localeCompare(b) : a - b) * turn;
}

/** Part of a name, or a whole word for a stage or state: "btc", "coinbase", "oversold", "stale". */
function matches(row, card, word) {
  if (Object.hasOwn(STAGES, word)) return TIMEFRAMES.some((timeframe) => row.readings[timeframe]?.stage === word);
  if (Object.hasOwn(STATES, word)) return stateOf(row, card).state === word;
  const names = [row.symbol, row.exchange_id, card?.name ?? ""];
  return names.some((name) => name.toLowerCase().includes(word));
}

/** Up to here all rows are in the page, so that the browser's own search finds them; beyond, only those in sight. */
export const ALL_ROWS = 60;
const SPARE = 12;

/**
 * Which rows of ``count`` to have in the page: ``[from, to)``, and the heights left out above and below.
 * One row may be open, with details of ``openHeight`` under it.
 * @param {{ count: number, rowHeight: number, top: number, height: number, openAt?: number, openHeight?: number }} measures
 */
export function windowOf({ count, rowHeight, top, height, openAt = -1, openHeight = 0 }) {
  if (count <= ALL_ROWS || !rowHeight) return { from: 0, to: count, before: 0, after: 0 };
  const offset = (index) => index * rowHeight + (openAt >= 0 && index > openAt ? openHeight : 0);
  const indexAt = (y) => {
    const shifted = openAt >= 0 && y > offset(openAt) + rowHeight ? Math.max(y - openHeight, offset(openAt)) : y;
    return Math.floor(shifted / rowHeight);
  };
  const from = Math.min(Math.max(indexAt(top) - SPARE, 0), count);
  const to = Math.min(Math.max(indexAt(top + height) + 1 + SPARE, from), count);
  return { from, to, before: offset(from), after: offset(count) - offset(to) };
}
