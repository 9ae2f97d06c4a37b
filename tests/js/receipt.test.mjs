import assert from "node:assert/strict";
import { test } from "node:test";
import { difference, synchronize } from "../../livermore/static/livermore/js/clock.js";
import { preciseTime, setZone } from "../../livermore/static/livermore/js/format.js";
import { alertPageUrl, receiptUrl, symbolUrl, whyUrl } from "../../livermore/static/livermore/js/links.js";
import { factsOf, lapse, wayOf, wholeOf, widthOf } from "../../livermore/static/livermore/js/receipt-words.js";
import { expectShown, noteShown, shownAt } from "../../livermore/static/livermore/js/shown.js";

const plain = (text) => text.replaceAll("\u202f", " ").replaceAll("\u2212", "-");

const STEPS = [
  { name: "exchange", at: 1_000, after: null },
  { name: "received", at: 1_040, after: 40 },
  { name: "evaluated", at: 1_041, after: 1 },
  { name: "committed", at: null, after: null },
  { name: "published", at: null, after: null },
];

test("a lapse is told in the unit it is felt in", () => {
  const rows = [
    [0, "0 ms"],
    [999, "999 ms"],
    [1_240, "1.24 s"],
    [-12, "-12 ms"],
    [125_000, "2 min 5 s"],
    [7_260_000, "2 h 1 min"],
    [200_000_000, "2 d 7 h"],
  ];
  for (const [given, wanted] of rows) assert.equal(plain(lapse(given)), wanted);
});

test("this page's own step follows the last one that has a time", () => {
  assert.deepEqual(wayOf(STEPS, 1_100).at(-1), { name: "shown", at: 1_100, after: 59 });
  assert.deepEqual(wayOf(STEPS, null).at(-1), { name: "shown", at: null, after: null });
  assert.deepEqual(wayOf(STEPS, 1_030).at(-1), { name: "shown", at: 1_041, after: 0 });
  assert.equal(wholeOf(wayOf(STEPS, 1_100)), 100);
  assert.equal(wholeOf(wayOf(STEPS, null)), 41);
  assert.equal(wholeOf([{ name: "exchange", at: 5 }]), null);
});

test("an exchange with another clock is told as such, and counts for nothing", () => {
  const way = wayOf([{ name: "exchange", at: 60_000, after: null }, { name: "received", at: 1_040, after: -58_960 }, ...STEPS.slice(2)], 1_100);
  assert.deepEqual(way[0], { name: "exchange", at: 60_000, after: null, ahead: 58_960 });
  assert.equal(way[1].after, null);
  assert.equal(wholeOf(way), 60);
  assert.equal(wayOf([{ name: "exchange", at: 1_050, after: null }, { name: "received", at: 1_040, after: -10 }], null)[0].ahead, undefined);
});

test("a longer step is wider, and one without a time has no width", () => {
  assert.equal(widthOf(null), 0);
  assert.equal(widthOf(-50), 1);
  assert.ok(widthOf(1) < widthOf(100) && widthOf(100) < 4);
});

test("an alert counts as shown when it is first drawn, and only if it came while the page was open", () => {
  noteShown("old", 5);
  expectShown("new");
  assert.equal(shownAt("new"), null);
  noteShown("new", 7);
  noteShown("new", 9);
  expectShown("new");
  assert.deepEqual([shownAt("old"), shownAt("new")], [null, 7]);
});

test("the facts name the rule as it was", () => {
  const facts = new Map(
    factsOf({
      exchange_id: "coinbase",
      symbol: "BTC-USD",
      timeframe: "5m",
      rule: {
        id: 1, version: 3, name: "", levels: [150, 175.5], timeframes: ["1d", "15m", "5m", "4h"], reversal_level: 150,
        oversold_buffer: 0.07, overbought_buffer: 0.03, cooldown: 300_000,
      }, // prettier-ignore
      candle: { open_time: 1_700_000_000_000, open: 1, high: 2, low: 1, close: 2, synthetic: true, closed_by: "quiet" },
      warm_up: { bars: 61, observed: 60, needed: 60, whole_life: true },
      feed_age: null,
      connector: { host: "desk", pid: 7, fence: 4 },
    }).map(([name, text]) => [name, plain(text)]),
  );
  assert.equal(facts.get("Rule"), "#1, version 3");
  assert.equal(
    facts.get("Its settings then"),
    "levels ±150, 175.5\nreversal beyond ±150, histogram over 7 % from oversold, 3 % from overbought\n5m 15m 4h 1d; cooldown 300 s",
  );
  assert.equal(facts.get("Warm-up"), "61 candles of 60 needed; 60 of them traded; its whole life");
  assert.equal(facts.get("Feed"), "no frame since the connection");
  assert.equal(facts.get("Connector"), "desk, process 7, fence 4");
});

test("addresses keep the slashes of a symbol and spell everything else", () => {
  const uid = "kraken|BTC/USD|5m|1.1|level_150|1772402400000";
  assert.equal(alertPageUrl(uid), "/alerts/kraken%7CBTC/USD%7C5m%7C1.1%7Clevel_150%7C1772402400000/");
  assert.ok(receiptUrl(uid).startsWith("/api/alerts/kraken%7CBTC/") && receiptUrl(uid).endsWith("/receipt/"));
  assert.equal(whyUrl("kraken", "BTC/USD", "1h"), "/api/exchanges/kraken/symbols/BTC/USD/why/?timeframe=1h");
  assert.equal(symbolUrl("kraken", "BTC/USD", "1h", 5), "/symbols/kraken/BTC/USD/?timeframe=1h&candle=5");
  assert.equal(symbolUrl("kraken", "BTC/USD"), "/symbols/kraken/BTC/USD/");
});

test("a time to the millisecond", () => {
  setZone("UTC");
  assert.equal(preciseTime(1_700_000_000_007), "22:13:20.007");
});

test("of the server's last times the one that was on its way the shortest counts, until a clock is set", () => {
  for (const late of [30, 2, 80]) synchronize(1_000_500 - late, 1_000_000);
  assert.equal(difference(), 498);
  for (let again = 0; again < 6; again += 1) synchronize(1_000_480, 1_000_000);
  assert.equal(difference(), 480);
  synchronize(1_090_000, 1_000_000);
  assert.equal(difference(), 90_000);
  synchronize(0, 1_000_000);
  assert.equal(difference(), 90_000);
});
