import assert from "node:assert/strict";
import { test } from "node:test";
import * as words from "../../livermore/static/livermore/js/health-words.js";

/** Thin spaces and minus signs as they are typed. */
const plain = (text) => text.replaceAll("\u202f", " ").replaceAll("\u2212", "-");

function table(name, write, rows) {
  test(name, () => {
    for (const [given, wanted] of rows) assert.equal(plain(write(given)), wanted);
  });
}

table("an uptime is never rounded up to all of the time", words.share, [
  [1, "100 %"],
  [0.999999, "99.99 %"],
  [0.5, "50.00 %"],
  [0, "0.00 %"],
  [null, "–"],
]);

table("short times keep their milliseconds", words.span, [
  [0.4, "0 ms"],
  [38.2, "38 ms"],
  [1_240, "1.2 s"],
  [19_334, "19 s"],
  [400_000, "6 min"],
  [undefined, "–"],
]);

table("a clock is ahead or behind", words.offset, [
  [0, "0 ms"],
  [120, "+120 ms"],
  [-3_200, "-3.2 s"],
  [null, "–"],
]);

table("a rate has a unit", words.rate, [
  [17.1, "17.1 /s"],
  [4_200, "4.2 k /s"],
  [null, "–"],
]);

table("fees are percentages", words.fee, [
  ["0.006000", "0.6 %"],
  ["0.000000", "0 %"],
  ["0.000750", "0.075 %"],
]);

table("regions say whom an exchange serves", words.regions, [
  [{}, "everywhere"],
  [{ deny: ["US"], note: "Use binance-us." }, "not US: Use binance-us."],
  [{ allow: ["US"] }, "only US"],
]);

const MINUTE = 60_000;
const event = (minute, word, seen = minute) => ({ id: minute, at: minute * MINUTE, event: word, seen: seen * MINUTE });
const inMinutes = (found) => found.map(({ state, from, to }) => [state, from / MINUTE, to / MINUTE]);

test("states follow one another, what is about the connection is left out, and the window cuts", () => {
  const events = [event(100, "live", 120), event(0, "idle", 100), event(99, "connected")];
  const found = words.stretches(events, 50 * MINUTE, 120 * MINUTE, { state: "live", seen: null });
  assert.deepEqual(inMinutes(found), [["idle", 50, 100], ["live", 100, 120]]);
});

test("a process that died without a word leaves a stretch of which nothing is known", () => {
  const found = words.stretches([event(0, "live", 30), event(60, "offline", 61)], 0, 90 * MINUTE, { state: "idle", seen: 90 * MINUTE });
  assert.deepEqual(inMinutes(found), [["live", 0, 30], ["", 30, 60], ["offline", 60, 61], ["", 61, 90]]);
});

test("a running process is believed up to its heartbeat", () => {
  const found = words.stretches([event(0, "live", 1)], 0, 90 * MINUTE, { state: "live", seen: 90 * MINUTE });
  assert.deepEqual(inMinutes(found), [["live", 0, 90]]);
});

test("without events there is nothing to show", () => {
  assert.deepEqual(words.stretches([], 0, MINUTE, { state: "offline", seen: null }), []);
});
