import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_AGE, arrangeCoins, cellOf, coins, different } from "../../livermore/static/livermore/js/board.js";

const NOW = 1_772_402_400_000;
const EXCHANGES = new Map(
  [
    { exchange_id: "coinbase", name: "Coinbase", state: "live", simulated: false },
    { exchange_id: "binance", name: "Binance", state: "live", simulated: false },
    { exchange_id: "kraken", name: "Kraken", state: "offline", simulated: false, error: "no process hosts it" },
    { exchange_id: "sandbox", name: "Sandbox", state: "live", simulated: true },
  ].map((card) => [card.exchange_id, card]),
);
const FEES = new Map([
  ["coinbase", { taker_fee: 0.012 }],
  ["binance", { taker_fee: 0.001 }],
]);

function row(exchange_id, symbol, base, quote, more = {}) {
  return { exchange_id, symbol, base, quote, rank: 1, price: 100, received: NOW - 500, state: "live", reason: "", ...more };
}

function board(...rows) {
  return coins(new Map(rows.map((one) => [`${one.exchange_id}|${one.symbol}`, one])), EXCHANGES);
}

function context(more = {}) {
  return { exchanges: EXCHANGES, terms: FEES, different: new Set(), now: NOW, ...more };
}

/** Of BTC at 100 dollars on Coinbase, what the cell of Binance says. */
function told({ here = {}, there = {}, around = {} } = {}) {
  const all = board(row("coinbase", "BTC-USD", "BTC", "USD", here), row("binance", "BTCUSDT", "BTC", "USDT", { price: 101, ...there }));
  return cellOf(all.get("BTC|real"), "binance", "coinbase", context(around));
}

test("a coin has one row, with the best market in dollars of each exchange", () => {
  const all = board(
    row("binance", "BTCUSDC", "BTC", "USDC", { rank: 9 }),
    row("binance", "BTCUSDT", "BTC", "USDT", { rank: 2 }),
    row("binance", "BTCEUR", "BTC", "EUR", { rank: 1 }),
    row("coinbase", "BTC-USD", "BTC", "USD", { rank: 4 }),
  );
  assert.deepEqual([...all.keys()], ["BTC|real"]);
  const coin = all.get("BTC|real");
  assert.deepEqual([...coin.cells].map(([id, { symbol }]) => [id, symbol]), [["binance", "BTCUSDT"], ["coinbase", "BTC-USD"]]);
  assert.equal(coin.rank, 2);
});

test("a market without a rank gives way to one that has one, and counts where it is the only one", () => {
  const all = board(
    row("binance", "BTCUSDC", "BTC", "USDC", { rank: null }),
    row("binance", "BTCUSDT", "BTC", "USDT", { rank: 700 }),
    row("binance", "ODDUSDT", "ODD", "USDT", { rank: null }),
  );
  assert.equal(all.get("BTC|real").cells.get("binance").symbol, "BTCUSDT");
  assert.equal(all.get("ODD|real").rank, Infinity);
});

test("a simulated coin is another coin than the real one", () => {
  const all = board(row("coinbase", "BTC-USD", "BTC", "USD"), row("sandbox", "BTC-USD", "BTC", "USD"));
  assert.deepEqual([...all.keys()], ["BTC|real", "BTC|simulated"]);
  assert.deepEqual([...all.values()].map(({ simulated }) => simulated), [false, true]);
});

test("pairs that are not one coin are known from both sides; those that are, or may be, are left out", () => {
  const pair = (coin, identity, simulated = false) => ({ coin, identity, simulated, first_id: "binance", second_id: "coinbase" });
  assert.deepEqual(
    different([pair("ABC", "different"), pair("BTC", "same"), pair("NEW", "unknown"), pair("ABC", "different", true)]),
    new Set(["ABC|real|binance|coinbase", "ABC|real|coinbase|binance", "ABC|simulated|binance|coinbase", "ABC|simulated|coinbase|binance"]),
  );
});

test("a cell says how far it is from the reference, and what both taker fees leave of that", () => {
  const cell = told();
  assert.deepEqual({ ...cell, spread: 0, left: 0 }, { price: 101, age: 500, live: true, spread: 0, left: 0, other: false });
  assert.ok(Math.abs(cell.spread - 100) < 1e-9);
  // Bought at Coinbase for 100 and 1.2 %, sold at Binance for 101 less 0.1 %.
  assert.ok(Math.abs(cell.left - ((101 * 0.999) / (100 * 1.012) - 1) * 10_000) < 1e-9);
});

test("where it is cheaper than the reference, it is bought there", () => {
  const cell = told({ there: { price: 99 } });
  assert.ok(Math.abs(cell.spread + 100) < 1e-9);
  assert.ok(Math.abs(cell.left - ((100 * 0.988) / (99 * 1.001) - 1) * 10_000) < 1e-9);
});

test("an exchange whose fee is not known is reckoned without one", () => {
  const cell = told({ around: { terms: new Map() } });
  assert.ok(Math.abs(cell.left - 100) < 1e-9);
});

test("nothing is derived from a price that is stale, missing, or not live", () => {
  const nothing = ({ spread, left }) => assert.deepEqual([spread, left], [null, null]);
  nothing(told({ there: { received: NOW - MAX_AGE - 1 } }));
  nothing(told({ here: { received: NOW - MAX_AGE - 1 } }));
  nothing(told({ there: { received: null } }));
  nothing(told({ there: { price: null } }));
  nothing(told({ here: { price: 0 } }));
  nothing(told({ there: { state: "gap", reason: "frames were lost" } }));
  nothing(told({ here: { state: "warming" } }));
});

test("a stale cell keeps its price and tells its age; a minute is not yet stale", () => {
  assert.deepEqual(told({ there: { received: NOW - 61_000 } }), { price: 101, age: 61_000, live: false, spread: null, left: null, other: false });
  assert.equal(told({ there: { received: NOW - MAX_AGE } }).live, true);
  assert.equal(told({ there: { received: NOW + 40 } }).age, 0);
});

test("no row of an exchange that is offline is live", () => {
  const all = board(row("coinbase", "BTC-USD", "BTC", "USD"), row("kraken", "BTC/USD", "BTC", "USD"));
  const cell = cellOf(all.get("BTC|real"), "kraken", "coinbase", context());
  assert.deepEqual([cell.live, cell.spread], [false, null]);
  assert.equal(cellOf(all.get("BTC|real"), "coinbase", "kraken", context()).spread, null);
});

test("another coin of the same ticker is said to be one, and not compared", () => {
  const cell = told({ around: { different: new Set(["BTC|real|coinbase|binance"]) } });
  assert.deepEqual([cell.other, cell.price, cell.spread, cell.left], [true, 101, null, null]);
});

test("the reference is not compared with itself, and a coin that is not listed there with nothing", () => {
  const all = board(row("binance", "BTCUSDT", "BTC", "USDT"), row("coinbase", "BTC-USD", "BTC", "USD"), row("binance", "ODDUSDT", "ODD", "USDT"));
  assert.deepEqual(cellOf(all.get("BTC|real"), "coinbase", "coinbase", context()), { price: 100, age: 500, live: true, spread: null, left: null, other: false });
  assert.equal(cellOf(all.get("ODD|real"), "binance", "coinbase", context()).spread, null);
  assert.deepEqual(cellOf(all.get("ODD|real"), "coinbase", "binance", context()), { price: null, age: null, live: false, spread: null, left: null, other: false });
});

// The order

const MANY = board(
  row("coinbase", "BTC-USD", "BTC", "USD", { rank: 1 }),
  row("binance", "BTCUSDT", "BTC", "USDT", { rank: 1 }),
  row("coinbase", "ETH-USD", "ETH", "USD", { rank: 2 }),
  row("binance", "ETHUSDT", "ETH", "USDT", { rank: 2 }),
  row("coinbase", "ADA-USD", "ADA", "USD", { rank: 3 }),
  row("binance", "ADAUSDT", "ADA", "USDT", { rank: 3 }),
  row("binance", "ETCUSDT", "ETC", "USDT", { rank: 4 }),
);
const DISTANCES = { BTC: -3, ETH: 8, ADA: null, ETC: null };

function arranged(view) {
  const keys = arrangeCoins(MANY, { query: "", both: false, sort: { by: "rank", descending: false }, ...view }, ({ coin }) => DISTANCES[coin]);
  return keys.map((key) => key.split("|")[0]).join(" ");
}

test("coins stand by rank, by name, or by their distance; those without one last in both directions", () => {
  assert.equal(arranged({}), "BTC ETH ADA ETC");
  assert.equal(arranged({ sort: { by: "rank", descending: true } }), "ETC ADA ETH BTC");
  assert.equal(arranged({ sort: { by: "coin", descending: false } }), "ADA BTC ETC ETH");
  assert.equal(arranged({ sort: { by: "binance", descending: true } }), "ETH BTC ADA ETC");
  assert.equal(arranged({ sort: { by: "binance", descending: false } }), "BTC ETH ADA ETC");
});

test("the words of the filter have to match all, in either case, and coins on one exchange can be left out", () => {
  assert.equal(arranged({ query: " et " }), "ETH ETC");
  assert.equal(arranged({ query: "e H" }), "ETH");
  assert.equal(arranged({ query: "dog" }), "");
  assert.equal(arranged({ both: true }), "BTC ETH ADA");
});

test("before any verdict, two prices more than a tenth apart are not taken for one coin", () => {
  const at = (price) => {
    const all = board(row("coinbase", "BTC-USD", "BTC", "USD"), row("binance", "BTCUSDT", "BTC", "USDT", { price }));
    const { other, spread, left } = cellOf(all.get("BTC|real"), "binance", "coinbase", context());
    return [other, spread === null, left === null];
  };
  assert.deepEqual(at(110), [false, false, false]);
  assert.deepEqual(at(110.1), [true, true, true]);
  assert.deepEqual(at(90), [true, true, true]);
  assert.deepEqual(at(0.00001), [true, true, true]);
});
