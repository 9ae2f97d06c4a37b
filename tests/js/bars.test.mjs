import assert from "node:assert/strict";
import { test } from "node:test";
import { Bars, apart, histogramKind, markText, marksOf, partsOf, shiftOf } from "../../livermore/static/livermore/js/bars.js";
import { crosshairTime, tickTime } from "../../livermore/static/livermore/js/chart-times.js";
import { alertsUrl, candlesUrl, symbolUrl } from "../../livermore/static/livermore/js/links.js";

const HOUR = 3_600_000;
const STEP = HOUR / 12;
const T0 = Date.UTC(2026, 2, 2);

const row = (t, close, volume = 1) => [t, close - 1, close + 2, close - 2, close, volume, 0];
const reading = (t, value) => [t, value, value - 1, 1, "rebounding"];
const message = (t, close, value) => ({
  candle: row(t, close),
  indicator: { t, close, macdv: value, signal: value - 1, histogram: 1, stage: "rallying", atr: 1, seeded: true },
});

function loaded(timeframe = "5m", step = STEP) {
  const bars = new Bars(timeframe);
  const times = [0, 1, 2].map((at) => T0 + at * step);
  bars.load({ candles: times.map((t) => row(t, 100)), readings: times.map((t) => reading(t, 10)) });
  return bars;
}

test("a candle that closes is the next one, with its reading", () => {
  const bars = loaded();
  assert.equal(bars.take(message(T0 + 3 * STEP, 105, 60)), "next");
  assert.equal(bars.last.close, 105);
  assert.deepEqual(bars.readings.get(T0 + 3 * STEP), { t: T0 + 3 * STEP, macdv: 60, signal: 59, histogram: 1, stage: "rallying" });
});

test("a candle that comes again replaces the one that is there", () => {
  const bars = loaded();
  assert.equal(bars.take(message(T0 + STEP, 90, 5)), "changed");
  assert.deepEqual(
    bars.closed.map((bar) => bar.close),
    [100, 90, 100],
  );
});

test("candles that are missing have to be fetched, nothing is drawn across them", () => {
  const bars = loaded();
  assert.equal(bars.take(message(T0 + 4 * STEP, 105, 60)), "gap");
  assert.equal(bars.closed.length, 3);
  assert.equal(new Bars("5m").take(message(T0, 100, 1)), "gap");
});

test("prices make the candle that forms, from the close before it", () => {
  const bars = loaded();
  const t = T0 + 3 * STEP;
  for (const [at, price] of [[1, 101], [2, 99], [3, 100.5]]) assert.equal(bars.tick(t + at, price), true); // prettier-ignore
  assert.deepEqual(bars.forming(), [{ t, open: 100, high: 101, low: 99, close: 100.5, volume: 0, forming: true }]);
});

test("a price of a candle that has closed changes nothing", () => {
  const bars = loaded();
  assert.equal(bars.tick(T0 + 2 * STEP + 1, 500), false);
  assert.deepEqual(bars.forming(), []);
});

test("a close that is still being confirmed stays beside the candle that forms, and goes when it comes", () => {
  const bars = loaded();
  bars.tick(T0 + 3 * STEP, 101);
  bars.tick(T0 + 4 * STEP, 103);
  assert.deepEqual(
    bars.forming().map(({ t, open, close }) => [t, open, close]),
    [[T0 + 3 * STEP, 100, 101], [T0 + 4 * STEP, 101, 103]],
  ); // prettier-ignore
  bars.take(message(T0 + 3 * STEP, 102, 60));
  assert.deepEqual(
    bars.forming().map(({ t, open }) => [t, open]),
    [[T0 + 4 * STEP, 102]],
  );
});

test("a longer candle forms from its closed parts and the prices since", () => {
  const bars = loaded("1h", HOUR);
  const t = T0 + 3 * HOUR;
  bars.part(row(t - STEP, 400)); // of the hour before: closed already
  bars.part(row(t, 110, 5));
  bars.part(row(t + STEP, 120, 7));
  bars.tick(t + 2 * STEP + 1, 90);
  assert.deepEqual(bars.forming(), [{ t, open: 109, high: 122, low: 90, close: 90, volume: 12, forming: true }]);
  bars.take(message(t, 115, 1));
  assert.deepEqual([bars.forming(), bars.parts.size], [[], 0]);
});

test("a forming candle can have as many parts as fit into it", () => {
  assert.deepEqual(["5m", "15m", "1h", "4h", "1d"].map(partsOf), [1, 3, 12, 48, 288]);
});

test("no more than a thousand candles are kept", () => {
  const bars = loaded();
  for (let at = 3; at < 1_010; at += 1) bars.take(message(T0 + at * STEP, 100, at));
  assert.equal(bars.closed.length, 1_000);
  assert.equal(bars.readings.size, 1_000);
  assert.equal(bars.closed[0].t, T0 + 10 * STEP);
});

test("the histogram is strong where it moves away from zero", () => {
  assert.deepEqual(
    [[5, 4], [4, 5], [-5, -4], [-4, -5], [1, -9], [-1, 9], [3, null]].map(([value, before]) => histogramKind(value, before)),
    ["up", "up-weak", "down", "down-weak", "up", "down", "up"],
  ); // prettier-ignore
});

test("alerts are marked once, on candles of their timeframe that are shown", () => {
  const bars = loaded();
  const alert = (uid, timeframe, candle_time, id) => ({ uid, timeframe, candle_time, id });
  const alerts = [
    alert("c", "5m", T0 + STEP, 3),
    alert("a", "5m", T0, 1),
    alert("a", "5m", T0, 1),
    alert("b", "1h", T0, 2),
    alert("d", "5m", T0 - STEP, 4),
  ];
  assert.deepEqual(
    marksOf(alerts, bars).map(({ uid }) => uid),
    ["a", "c"],
  );
  assert.deepEqual(
    ["level_150", "level_-200", "reversal_oversold"].map((trigger_label) => markText({ trigger_label })),
    ["+150", "−200", "reversal"],
  );
});

test("two prices are apart by per cent, and not at all where one is missing", () => {
  assert.equal(apart(101, 100).toFixed(6), "1.000000");
  assert.equal(apart(null, 100), null);
  assert.equal(apart(100, 0), null);
});

test("days are UTC's, hours the reader's", () => {
  assert.equal(shiftOf("1d", T0), 0);
  assert.equal(shiftOf("5m", T0), -new Date(T0).getTimezoneOffset() * 60);
  assert.equal(tickTime(T0, 2, true), "2 Mar");
  assert.equal(crosshairTime(T0, true), "2 Mar 2026 UTC");
  assert.match(crosshairTime(T0 + HOUR, false), /01:00 UTC$/);
});

test("addresses keep the exchange's spelling", () => {
  assert.equal(symbolUrl("kraken", "BTC/USD", "1h"), "/symbols/kraken/BTC/USD/?timeframe=1h");
  assert.equal(symbolUrl("x", "tDOGE:USD #1"), "/symbols/x/tDOGE%3AUSD%20%231/");
  assert.equal(
    candlesUrl("kraken", "BTC/USD", "5m", 400),
    "/api/exchanges/kraken/symbols/BTC/USD/candles/?timeframe=5m&limit=400&indicator=series",
  );
  assert.equal(alertsUrl("kraken", "BTC/USD", { page: 2 }), "/api/alerts/?exchange=kraken&symbol=BTC%2FUSD&page=2");
});
