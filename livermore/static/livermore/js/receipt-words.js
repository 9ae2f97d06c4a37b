// What a receipt says, in words and widths. Pure.
import { exact, exactTime, macdv, plural } from "./format.js";

/** An exchange that is this far ahead of us (ms) has another clock than we: what lies between the two is no time that passed. */
const APART = 1_000;

export const STEP_NAMES = {
  exchange: "Exchange",
  received: "Received",
  evaluated: "Evaluated",
  committed: "Committed",
  published: "Published",
  shown: "Shown here",
};

const CLOSED_BY = {
  flag: "closed by the exchange’s own flag",
  "read-back": "confirmed by a read-back",
  quiet: "no trade in it, so nothing to read back",
  history: "fetched after an outage",
};

/**
 * The steps of the API with that of this page. "after" counts from the last step that has a time; ``ahead`` is how far the exchange's clock
 * is, where it is another.
 * @param {{ name: string, at: number | null, after: number | null }[]} steps @param {number | null} shown
 */
export function wayOf(steps, shown) {
  const last = steps.findLast(({ at }) => at !== null)?.at ?? null;
  // It came to be shown after it was sent, whatever this page takes for the server's time.
  const at = shown === null ? null : Math.max(shown, last ?? shown);
  const way = [...steps, { name: "shown", at, after: at === null || last === null ? null : at - last }];
  const ours = way.findIndex(({ name, after }) => name !== "exchange" && after !== null);
  if (way[0].at === null || ours < 0 || way[ours].after >= -APART || way.slice(1, ours).some(({ at }) => at !== null)) return way;
  return way.map((step, at) => (at === 0 ? { ...step, ahead: -way[ours].after } : at === ours ? { ...step, after: null } : step));
}

/** From the first step with a time of one clock to the last one. @returns {number | null} milliseconds */
export function wholeOf(way) {
  const known = way.filter(({ at, ahead }) => at !== null && ahead === undefined);
  return known.length > 1 ? known.at(-1).at - known[0].at : null;
}

/** How wide the part of a step is against the others: a hundred times as long is about three times as wide. @param {number | null} after */
export function widthOf(after) {
  return after === null ? 0 : 1 + Math.log10(1 + Math.max(after, 0));
}

/** @returns {[string, string][]} */
export function factsOf({ exchange_id: exchange, symbol, timeframe, rule, candle, warm_up: warmUp, feed_age: feedAge, connector }) {
  const synthetic = candle.synthetic ? "synthetic: nothing traded" : "traded";
  const observed = `${warmUp.observed} of them traded`;
  return [
    ["Rule", `${rule.name || `#${rule.id}`}, version ${rule.version}`],
    ["Its settings then", settingsOf(rule)],
    ["Candle", `${exchange} ${symbol} ${timeframe}\n${exactTime(candle.open_time)}`],
    ["", [CLOSED_BY[candle.closed_by], synthetic].filter(Boolean).join("; ")],
    ["Open to close", [candle.open, candle.high, candle.low, candle.close].map((value) => exact(value)).join(" · ")],
    ["Warm-up", `${plural(warmUp.bars, "candle")} of ${warmUp.needed} needed; ${observed}${warmUp.whole_life ? "; its whole life" : ""}`],
    ["Feed", feedAge === null ? "no frame since the connection" : `last frame ${lapse(feedAge)} before`],
    ["Connector", `${connector.host}, process ${connector.pid}, fence ${connector.fence}`],
  ];
}

function settingsOf(rule) {
  const levels = rule.levels.map((level) => macdv(level, Number.isInteger(level) ? 0 : 1)).join(", ");
  const share = (value) => `${Math.round(value * 1e6) / 1e4} %`;
  const buffers = `histogram over ${share(rule.oversold_buffer)} from oversold, ${share(rule.overbought_buffer)} from overbought`;
  return [
    `levels ±${levels}`,
    `reversal beyond ±${rule.reversal_level}, ${buffers}`,
    `${rule.timeframes.toSorted(byLength).join(" ")}; cooldown ${rule.cooldown / 1000} s`,
  ].join("\n");
}

const UNITS = { m: 1, h: 60, d: 1440 };
const minutes = (timeframe) => parseInt(timeframe, 10) * UNITS[timeframe.at(-1)];
const byLength = (a, b) => minutes(a) - minutes(b);

/** A short time: "12 ms", "1.24 s", "2 min 5 s". @param {number} milliseconds */
export function lapse(milliseconds) {
  const size = Math.abs(milliseconds);
  const sign = milliseconds < 0 ? "\u2212" : "";
  if (size < 1000) return `${sign}${Math.round(size)}\u202fms`;
  if (size < 60_000) return `${sign}${(size / 1000).toFixed(2)}\u202fs`;
  const seconds = Math.round(size / 1000);
  const [days, hours, rest] = [Math.floor(seconds / 86_400), Math.floor((seconds % 86_400) / 3600), Math.floor((seconds % 3600) / 60)];
  if (days) return `${sign}${days}\u202fd ${hours}\u202fh`;
  if (hours) return `${sign}${hours}\u202fh ${rest}\u202fmin`;
  return `${sign}${rest}\u202fmin ${seconds % 60}\u202fs`;
}
