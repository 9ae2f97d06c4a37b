import assert from "node:assert/strict";
import { test } from "node:test";
import { describe, passes, safeLink } from "../../livermore/static/livermore/js/alerts.js";
import * as format from "../../livermore/static/livermore/js/format.js";
import { readFilters, writeFilters } from "../../livermore/static/livermore/js/query.js";
import { backoff } from "../../livermore/static/livermore/js/socket.js";
import { linkText } from "../../livermore/static/livermore/js/topbar.js";

/** Thin spaces and minus signs as they are typed. */
const plain = (text) => text.replaceAll("\u202f", " ").replaceAll("\u2212", "-");

function table(name, write, rows) {
  test(name, () => {
    for (const [given, wanted] of rows) assert.equal(plain(write(...[given].flat())), wanted);
  });
}

table("prices have the decimals of their instrument", format.price, [
  [[64210.1, 2], "64,210.10"],
  [[0.00001234, 8], "0.00001234"],
  [[-1, 0], "-1"],
  [[0.00001234, null], "0.00001234"],
  [[3120.55, undefined], "3,120.55"],
  [[null, 2], "–"],
  [[NaN, 2], "–"],
]);

table("large numbers are short", format.compact, [
  [999, "999"],
  [1234, "1.2 k"],
  [999_949, "999.9 k"],
  [999_950, "1.0 M"],
  [1_234_567, "1.2 M"],
  [-2.5e9, "-2.5 B"],
  [3e12, "3.0 T"],
  [null, "–"],
]);

table("percentages have a sign, but for nothing", format.percent, [
  [1.239, "+1.24 %"],
  [-1, "-1.00 %"],
  [0.001, "0.00 %"],
  [null, "–"],
]);

table("times are told as ages", format.ago, [
  [-5_000, "now"],
  [999, "now"],
  [12_000, "12 s ago"],
  [61_000, "1 min ago"],
  [7_200_000, "2 h ago"],
  [200_000_000, "2 d ago"],
]);

test("an exact time is in UTC, and in the reader's zone where that differs", () => {
  const [utc, ...local] = format.exactTime(1_700_000_000_000).split("\n");
  assert.equal(utc, "2023-11-14 22:13:20 UTC");
  assert.equal(local.length, new Date(1_700_000_000_000).getTimezoneOffset() === 0 ? 0 : 1);
});

test("times are in the zone that the reader set, whatever the browser's is", (t) => {
  t.after(() => format.setZone(""));
  const at = Date.UTC(2026, 6, 1, 20, 0, 5);
  format.setZone("Asia/Kolkata");
  assert.equal(format.clockTime(at), "01:30:05");
  assert.equal(format.exactTime(at), "2026-07-01 20:00:05 UTC\n2026-07-02 01:30:05 GMT+5:30");
  format.setZone("UTC");
  assert.equal(format.exactTime(at), "2026-07-01 20:00:05 UTC");
  assert.equal(format.zoneName(at), "UTC");
});

test("without a zone, and with one the browser does not know, it is the browser's", (t) => {
  t.after(() => format.setZone(""));
  const at = Date.UTC(2026, 6, 1, 20, 0, 5);
  format.setZone("");
  const own = format.clockTime(at);
  format.setZone("Mars/Olympus_Mons");
  assert.equal(format.readerZone(), undefined);
  assert.equal(format.clockTime(at), own);
});

test("a zone has its own summer time", (t) => {
  t.after(() => format.setZone(""));
  format.setZone("America/New_York");
  assert.deepEqual([format.clockTime(Date.UTC(2026, 0, 1, 12)), format.clockTime(Date.UTC(2026, 6, 1, 12))], ["07:00:00", "08:00:00"]);
});

table("an alert says what happened", (label) => describe({ trigger_label: label }), [
  ["level_150", "crossed above +150"],
  ["level_-200", "crossed below -200"],
  ["level_62.5", "crossed above +62.5"],
  ["reversal_oversold", "reversal from oversold"],
  ["reversal_overbought", "reversal from overbought"],
  ["something_new", "something new"],
]);

test("a filter of alerts lets through what it names, and everything where it names nothing", () => {
  const alert = { source_exchange_id: "coinbase", timeframe: "1h", direction: "up", trigger_label: "reversal_oversold" };
  const all = { exchange: "", timeframes: new Set(), kind: "", mine: false };
  const reader = { own: new Map(), settings: null };
  assert.equal(passes(alert, all, reader), true);
  const filters = [{ exchange: "binance" }, { timeframes: new Set(["5m"]) }, { kind: "down" }, { kind: "level" }];
  assert.deepEqual(
    filters.map((filter) => passes(alert, { ...all, ...filter }, reader)),
    [false, false, false, false],
  );
  assert.equal(passes(alert, { ...all, exchange: "coinbase", timeframes: new Set(["1h", "5m"]), kind: "reversal" }, reader), true);
});

test("without a choice the timeframes of the settings are let through, and mine is what is held or added", () => {
  const alert = { source_exchange_id: "coinbase", symbol: "BTC-USD", timeframe: "1h", direction: "up", trigger_label: "level_150" };
  const all = { exchange: "", timeframes: new Set(), kind: "", mine: false };
  const reader = { own: new Map([["coinbase|BTC-USD", {}]]), settings: { timeframes: ["5m"] } };
  assert.equal(passes(alert, all, reader), false);
  assert.equal(passes(alert, { ...all, timeframes: new Set(["1h"]) }, reader), true);
  assert.equal(passes({ ...alert, timeframe: "5m" }, { ...all, mine: true }, reader), true);
  assert.equal(passes({ ...alert, timeframe: "5m", symbol: "ETH-USD" }, { ...all, mine: true }, reader), false);
});

test("a trade link is https or no link", () => {
  assert.equal(safeLink("https://www.binance.com/en/trade/BTC_USDT"), "https://www.binance.com/en/trade/BTC_USDT");
  for (const url of ["javascript:alert(1)", "http://x.example", "/trade", "", null, 7]) assert.equal(safeLink(url), null);
});

test("filters survive the address of the page", () => {
  const search = "?q=btc+usd&exchange=coinbase,kraken&sort=-1h&alert_exchange=binance&alert_timeframe=5m,1h&alert_kind=level&show=matrix";
  assert.equal(writeFilters(readFilters(search)), search);
  assert.equal(writeFilters(readFilters("")), "");
});

test("what cannot be read in the address is left at its standard", () => {
  assert.equal(writeFilters(readFilters("?sort=-constructor&alert_kind=x&show=y&alert_timeframe=2m,5m&other=1")), "?alert_timeframe=5m");
});

test("back-off grows from half a second to 15 s, jittered", () => {
  for (const attempt of [0, 1, 2, 3, 4, 10, 2000]) {
    assert.equal(backoff(attempt, 0), 500);
    assert.equal(backoff(attempt, 1), Math.min(15_000, 1_000 * 2 ** attempt));
  }
});

test("the link of the page says since when, and when it tries again", () => {
  const since = new Date(2026, 0, 2, 14, 3, 12).getTime();
  const words = (state, retryAt) => plain(linkText({ state, since, retryAt }, since));
  assert.equal(words("live", null), "live");
  assert.equal(words("reconnecting", since + 2_500), "reconnecting in 3 s");
  assert.equal(words("offline", since + 3_000), "offline since 14:03:12 · reconnecting in 3 s");
  assert.equal(words("offline", null), "offline since 14:03:12 · connecting…");
  assert.equal(words("logged-out", null), "logged out");
});
