import assert from "node:assert/strict";
import { test } from "node:test";
import { cardOf, comparable, leadText, moveText, residual } from "../../livermore/static/livermore/js/across.js";

const NAMES = { binance: "Binance", coinbase: "Coinbase" };
const nameOf = (id) => NAMES[id] ?? id;
const OFFER = { exchange_id: "binance", symbol: "BTCUSDT", quote: "USDT", identity: "same", price: 99, received: 1, spread_bps: -100, book_spread_bps: 2, trade_url: "", lead: null };

function alert(...elsewhere) {
  return { source_exchange_id: "coinbase", symbol: "BTC-USD", base: "BTC", quote: "USD", price: 100, direction: "up", elsewhere };
}

function settings(own, terms = {}) {
  const of = (exchange_id, taker_fee) => ({ exchange_id, name: NAMES[exchange_id], taker_fee, allowed: true, reason: "no restriction known for DE", ...terms[exchange_id] });
  return { own_exchange_id: own, terms: [of("coinbase", 0.012), of("binance", 0.001)] };
}

const near = (found, wanted) => assert.ok(Math.abs(found - wanted) < 1e-9, `${found} is not ${wanted}`);

test("who buys nowhere, or where the alert comes from, has no card", () => {
  assert.equal(cardOf(alert(OFFER), null), null);
  assert.equal(cardOf(alert(OFFER), settings("")), null);
  assert.equal(cardOf(alert(OFFER), settings("coinbase")), null);
});

test("the card has the offer of the reader's exchange, and what is left after the reader's fees and half the spread there", () => {
  const { residual: left, ...card } = cardOf(alert({ ...OFFER, exchange_id: "kraken" }, OFFER), settings("binance"));
  assert.deepEqual(card, {
    exchangeId: "binance",
    name: "Binance",
    listed: true,
    offer: OFFER,
    allowed: true,
    region: "no restriction known for DE",
    otherDollars: true,
  });
  near(left, ((100 * 0.988) / (99 * 1.0001 * 1.001) - 1) * 10_000);
});

test("a signal down is sold there, and valued by what buying back here costs", () => {
  const card = cardOf({ ...alert({ ...OFFER, price: 102 }), direction: "down" }, settings("binance"));
  near(card.residual, ((102 * 0.9999 * 0.999) / (100 * 1.012) - 1) * 10_000);
});

test("a coin that the reader's exchange does not list is said not to be listed", () => {
  const card = cardOf(alert({ ...OFFER, exchange_id: "kraken" }), settings("binance"));
  assert.deepEqual([card.listed, card.offer, card.residual, card.otherDollars], [false, null, null, false]);
});

test("prices stand side by side in one quote, or both in dollars", () => {
  const pairs = [["USD", "USDT"], ["EUR", "EUR"], ["BTC", "USDT"], ["EUR", "USD"]];
  assert.deepEqual(pairs.map(([here, there]) => comparable(here, there)), [true, true, false, false]);
});

test("nothing is derived from another coin, from one that is not proved the same, or without a price", () => {
  for (const change of [{ identity: "different", price: null }, { identity: "unknown" }, { price: null }]) {
    const card = cardOf(alert({ ...OFFER, ...change }), settings("binance"));
    assert.deepEqual([card.listed, card.residual], [true, null], JSON.stringify(change));
  }
});

test("a region that is not set is not known; one that is not served is said with the reason", () => {
  const allowed = (terms) => cardOf(alert(OFFER), settings("binance", { binance: terms }));
  assert.equal(allowed({ allowed: null, reason: "no region set" }).allowed, null);
  const refused = allowed({ allowed: false, reason: "not available in US" });
  assert.deepEqual([refused.allowed, refused.region], [false, "not available in US"]);
});

test("an exchange that is switched off has no terms: the card says what the alert knows", () => {
  const card = cardOf(alert(OFFER), { own_exchange_id: "binance", terms: [] });
  assert.deepEqual([card.name, card.allowed, card.region, card.residual], ["binance", null, "", null]);
});

test("dollars of one kind are not other dollars, and euros are none", () => {
  const other = (here, there) => cardOf({ ...alert({ ...OFFER, quote: there }), quote: here }, settings("binance")).otherDollars;
  assert.deepEqual([other("USD", "USDT"), other("USDT", "USDT"), other("USD", "EUR"), other("EUR", "USDC")], [true, false, false, false]);
});

test("nothing is left of a price that is none", () => {
  const given = { here: 100, there: 100, feeHere: 0, feeThere: 0, direction: "up" };
  assert.equal(residual(given), 0);
  for (const change of [{ here: 0 }, { there: null }, { there: -1 }, { here: NaN }]) assert.equal(residual({ ...given, ...change }), null);
});

const LEAD = { leader: "binance", median_ms: -1_240, low_ms: -1_900, high_ms: -700, events: 214 };

test("who leads is said with the interval and the number of price changes", () => {
  assert.equal(leadText(LEAD, nameOf), "Binance leads by 1.2 s (0.7 to 1.9 s, 214 price changes)");
  assert.equal(
    leadText({ ...LEAD, leader: "coinbase", median_ms: 400, low_ms: 100, high_ms: 700 }, nameOf),
    "Coinbase leads by 0.4 s (0.1 to 0.7 s, 214 price changes)",
  );
});

test("no leader is said with the interval, and too little to tell is not said", () => {
  assert.equal(leadText({ ...LEAD, leader: "", low_ms: -300, high_ms: 200 }, nameOf), "no leader: −0.3 to 0.2 s over 214 price changes");
  assert.equal(
    leadText({ ...LEAD, leader: "", low_ms: -900, high_ms: -200 }, nameOf),
    "no leader: −0.9 to −0.2 s by their own clocks, not by ours, over 214 price changes",
  );
  assert.equal(leadText({ ...LEAD, leader: "", median_ms: null, low_ms: null, high_ms: null }, nameOf), "");
  assert.equal(leadText(null, nameOf), "");
});

test("a move names its coin, or counts those of a whole market", () => {
  assert.equal(moveText({ grouped: false, coins: ["BTC"], exchange_id: "coinbase" }, nameOf), "BTC is moving on Coinbase");
  assert.equal(moveText({ grouped: true, coins: ["BTC", "ETH", "ADA"], exchange_id: "kraken" }, nameOf), "3 coins are moving on kraken");
});
