// The price board: coins by exchange, and what is told of each cell. Pure.
import { residual } from "./across.js";
import { stateOf } from "./rows.js";

const DOLLARS = new Set(["USD", "USDT", "USDC"]);
/** A price older than this is stale: nothing is derived from it. As alerts/crossexchange.py has it. */
export const MAX_AGE = 60_000;

/**
 * One row a coin: the best market of each exchange in dollars. Simulated exchanges have coins of their own.
 * @param {Map<string, object>} rows SymbolRows by key @param {Map<string, object>} exchanges
 * @returns {Map<string, { key: string, coin: string, simulated: boolean, rank: number, cells: Map<string, object> }>}
 */
export function coins(rows, exchanges) {
  const found = new Map();
  for (const row of rows.values()) {
    if (!DOLLARS.has(row.quote)) continue;
    const simulated = Boolean(exchanges.get(row.exchange_id)?.simulated);
    const key = `${row.base}|${simulated ? "simulated" : "real"}`;
    let coin = found.get(key);
    if (!coin) found.set(key, (coin = { key, coin: row.base, simulated, rank: Infinity, cells: new Map() }));
    coin.rank = Math.min(coin.rank, row.rank ?? Infinity);
    const known = coin.cells.get(row.exchange_id);
    if (!known || (row.rank ?? Infinity) < (known.rank ?? Infinity)) coin.cells.set(row.exchange_id, row);
  }
  return found;
}

/** The pairs that are not one coin, as "coin|world|exchange|exchange". @param {object[]} pairs of /api/across/ */
export function different(pairs) {
  const found = new Set();
  for (const pair of pairs) {
    if (pair.identity !== "different") continue;
    const key = `${pair.coin}|${pair.simulated ? "simulated" : "real"}`;
    found.add(`${key}|${pair.first_id}|${pair.second_id}`);
    found.add(`${key}|${pair.second_id}|${pair.first_id}`);
  }
  return found;
}

const APART = 1.1;

/**
 * What a cell says against the reference.
 * @param {object} coin of ``coins`` @param {string} exchangeId @param {string} reference
 * @param {{ exchanges: Map<string, object>, terms: Map<string, { taker_fee: number }>, different: Set<string>, now: number }} context
 * @returns {{ price: number | null, age: number | null, live: boolean, spread: number | null, left: number | null, other: boolean }} bps
 */
export function cellOf(coin, exchangeId, reference, { exchanges, terms, different: others, now }) {
  const row = coin.cells.get(exchangeId);
  if (!row) return { price: null, age: null, live: false, spread: null, left: null, other: false };
  const age = row.received === null || row.received === undefined ? null : Math.max(now - row.received, 0);
  const live = stateOf(row, exchanges.get(exchangeId)).state === "live" && age !== null && age <= MAX_AGE;
  const cell = { price: row.price, age, live, spread: null, left: null, other: false };
  const base = coin.cells.get(reference);
  if (!base || reference === exchangeId) return cell;
  if (others.has(`${coin.key}|${reference}|${exchangeId}`)) return { ...cell, other: true };
  const baseAge = base.received ? now - base.received : Infinity;
  const baseLive = stateOf(base, exchanges.get(reference)).state === "live" && baseAge <= MAX_AGE;
  if (!live || !baseLive || !(base.price > 0) || !(row.price > 0)) return cell;
  // Before the server's verdict: so far apart two prices of one ticker are not taken for one coin (docs/cross-exchange.md).
  if (Math.max(row.price, base.price) > APART * Math.min(row.price, base.price)) return { ...cell, other: true };
  const [cheap, dear] = row.price <= base.price ? [exchangeId, reference] : [reference, exchangeId];
  const fee = (id) => terms.get(id)?.taker_fee ?? 0;
  const left = residual({
    here: Math.max(row.price, base.price),
    there: Math.min(row.price, base.price),
    feeHere: fee(dear),
    feeThere: fee(cheap),
    direction: "up",
  });
  return { ...cell, spread: (row.price / base.price - 1) * 10_000, left };
}

/**
 * The keys of the coins to show. ``sort.by``: coin, rank, or an exchange id for the distance there.
 * @param {Map<string, object>} all @param {{ query: string, both: boolean, sort: { by: string, descending: boolean } }} view
 * @param {(coin: object, exchangeId: string) => number | null} distance
 */
export function arrangeCoins(all, { query, both, sort }, distance) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = [...all.values()].filter(
    (coin) => (!both || coin.cells.size > 1) && words.every((word) => coin.coin.toLowerCase().includes(word)),
  );
  const value = (coin) => {
    if (sort.by === "coin") return coin.coin;
    if (sort.by === "rank") return coin.rank;
    return distance(coin, sort.by);
  };
  const turn = sort.descending ? -1 : 1;
  const valued = shown.map((coin) => [coin, value(coin)]);
  valued.sort(([one, a], [other, b]) => compare(a, b, turn) || one.rank - other.rank || (one.key < other.key ? -1 : 1));
  return valued.map(([coin]) => coin.key);
}

function compare(a, b, turn) {
  const noA = a === null || a === undefined;
  const noB = b === null || b === undefined;
  if (noA || noB) return noA - noB;
  if (a === b) return 0;
  return (typeof a === "string" ? a.localeCompare(b) : a - b) * turn;
}
