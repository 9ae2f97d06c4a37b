import assert from "node:assert/strict";
import { test } from "node:test";
import { ALL_ROWS, follows, order, stateOf, windowOf } from "../../livermore/static/livermore/js/rows.js";
import { rowKey } from "../../livermore/static/livermore/js/state.js";

const CARDS = [
  { exchange_id: "coinbase", name: "Coinbase", state: "live", error: "" },
  { exchange_id: "kraken", name: "Kraken", state: "stale", error: "no data for 37 s" },
];

const ROWS = [
  ["coinbase", "BTC-USD", 1, 64_000, { "5m": { macdv: 12, stage: "ranging" } }],
  ["coinbase", "ETH-USD", 2, 3_000, { "5m": { macdv: -160, stage: "oversold" } }],
  ["kraken", "BTC/USD", 1, null, { "5m": { macdv: 155, stage: "overbought" } }],
  ["coinbase", "NEW-USD", null, 5, {}],
].map(([exchange_id, symbol, rank, price, readings]) => ({ exchange_id, symbol, rank, price, readings, state: "live", reason: "" }));

const STATE = {
  exchanges: new Map(CARDS.map((card) => [card.exchange_id, card])),
  rows: new Map(ROWS.map((row) => [rowKey(row.exchange_id, row.symbol), row])),
  own: new Map(["coinbase|ETH-USD", "kraken|BTC/USD", "kraken|GONE/USD"].map((key) => [key, { added: true, quantity: null }])),
};

function shown(view) {
  const standard = { query: "", exchanges: new Set(), mine: false, pins: new Set(), sort: { by: "rank", descending: false } };
  return order(STATE, { ...standard, ...view }).map((key) => key.split("|")[1]);
}

test("an order by name or rank stands still by itself; one by what moves, or of a stage or state, does not", () => {
  const view = (by, query = "") => ({ query, sort: { by, descending: false } });
  for (const by of ["rank", "symbol", "exchange"]) assert.equal(follows(view(by)), false);
  for (const by of ["price", "change", "volume", "state", "5m", "1d"]) assert.equal(follows(view(by)), true);
  assert.equal(follows(view("rank", "btc coinbase")), false);
  assert.equal(follows(view("rank", "btc Oversold")), true);
  assert.equal(follows(view("rank", "stale")), true);
});

test("rows come by rank, and those without one last", () => {
  assert.deepEqual(shown({}), ["BTC-USD", "BTC/USD", "ETH-USD", "NEW-USD"]);
});

test("rows without a value are last in both directions", () => {
  assert.deepEqual(shown({ sort: { by: "5m", descending: true } }), ["BTC/USD", "BTC-USD", "ETH-USD", "NEW-USD"]);
  assert.deepEqual(shown({ sort: { by: "5m", descending: false } }), ["ETH-USD", "BTC-USD", "BTC/USD", "NEW-USD"]);
  assert.deepEqual(shown({ sort: { by: "price", descending: false } }), ["NEW-USD", "ETH-USD", "BTC-USD", "BTC/USD"]);
});

test("pinned rows come first whatever the order", () => {
  const pins = new Set(["coinbase|ETH-USD"]);
  assert.deepEqual(shown({ pins, sort: { by: "price", descending: true } }), ["ETH-USD", "BTC-USD", "NEW-USD", "BTC/USD"]);
});

test("words of the filter narrow it down: names in part, stages and states whole", () => {
  assert.deepEqual(shown({ query: "btc" }), ["BTC-USD", "BTC/USD"]);
  assert.deepEqual(shown({ query: " BTC  krak " }), ["BTC/USD"]);
  assert.deepEqual(shown({ query: "oversold" }), ["ETH-USD"]);
  assert.deepEqual(shown({ query: "stale" }), ["BTC/USD"]);
  assert.deepEqual(shown({ query: "constructor" }), []);
});

test("a filter by exchange shows that exchange alone", () => {
  assert.deepEqual(shown({ exchanges: new Set(["kraken"]) }), ["BTC/USD"]);
});

test("mine is what the reader holds or added, and narrows down with the other filters", () => {
  assert.deepEqual(shown({ mine: true }), ["BTC/USD", "ETH-USD"]);
  assert.deepEqual(shown({ mine: true, exchanges: new Set(["coinbase"]) }), ["ETH-USD"]);
  assert.deepEqual(shown({ mine: true, query: "btc" }), ["BTC/USD"]);
  assert.deepEqual(shown({ mine: true, pins: new Set(["coinbase|BTC-USD", "coinbase|ETH-USD"]) }), ["ETH-USD", "BTC/USD"]);
});

test("no row is better off than its exchange", () => {
  assert.deepEqual(stateOf(ROWS[2], CARDS[1]), { state: "stale", reason: "Kraken is stale: no data for 37 s" });
  assert.deepEqual(stateOf({ ...ROWS[0], state: "gap", reason: "2 candles" }, CARDS[0]), { state: "gap", reason: "2 candles" });
  assert.deepEqual(stateOf(ROWS[0], { ...CARDS[0], state: "idle" }), { state: "offline", reason: "Coinbase is idle" });
});

test("few rows are all in the page", () => {
  const all = { from: 0, to: ALL_ROWS, before: 0, after: 0 };
  assert.deepEqual(windowOf({ count: ALL_ROWS, rowHeight: 30, top: 900, height: 600 }), all);
});

test("of many rows those in sight are in the page, and the heights add up", () => {
  const measures = { count: 1000, rowHeight: 30, height: 600, openHeight: 200 };
  for (let top = 0; top <= 29_600; top += 137) {
    for (const openAt of [-1, 0, 13, 500, 999]) {
      const { from, to, before, after } = windowOf({ ...measures, top, openAt });
      const openInside = openAt >= from && openAt < to;
      const total = before + (to - from) * 30 + (openInside ? 200 : 0) + after;
      assert.equal(total, 30_000 + (openAt >= 0 ? 200 : 0), `top ${top}, open ${openAt}`);
      assert.ok(before <= top, `nothing is missing above: top ${top}, open ${openAt}`);
      assert.ok(total - after >= Math.min(top + 600, total), `nothing is missing below: top ${top}, open ${openAt}`);
      assert.ok(to - from <= 60, "no more than needed");
    }
  }
});
