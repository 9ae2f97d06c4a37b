// The candles of one series as the chart shows them: closed ones, their readings, and what is still forming. Pure.

const MINUTE = 60_000;
export const STEPS = { "5m": 5 * MINUTE, "15m": 15 * MINUTE, "1h": 60 * MINUTE, "4h": 240 * MINUTE, "1d": 1440 * MINUTE };
export const BASE = "5m";
export const KEPT = 1000;

/**
 * @typedef {object} Bar
 * @property {number} t open time, milliseconds UTC
 * @property {number} open @property {number} high @property {number} low @property {number} close @property {number} volume
 * @property {boolean} [synthetic] nothing traded in it
 * @property {boolean} [forming] not closed: seen prices, not evaluated
 */

/** @typedef {{ t: number, macdv: number | null, signal: number | null, histogram: number | null, stage: string }} Reading */

/** @param {number[]} row as in Redis and API @returns {Bar} */
export function barOf([t, open, high, low, close, volume, synthetic]) {
  return { t, open, high, low, close, volume, synthetic: synthetic === 1 };
}

/** How many 5m candles the forming candle of a timeframe can have. @param {string} timeframe */
export function partsOf(timeframe) {
  return STEPS[timeframe] / STEPS[BASE];
}

export class Bars {
  /** @param {string} timeframe */
  constructor(timeframe) {
    this.timeframe = timeframe;
    this.step = STEPS[timeframe];
    /** @type {Bar[]} */
    this.closed = [];
    /** @type {Map<number, Reading>} */
    this.readings = new Map();
    /** Closed 5m candles that are parts of a longer one that is not. @type {Map<number, Bar>} */
    this.parts = new Map();
    /** What prices have done since the last closed candle, by interval of this timeframe. @type {Map<number, Bar>} */
    this.seen = new Map();
  }

  /**
   * Take what the API says in place of everything closed; prices seen since stay.
   * @param {{ candles: number[][], readings?: any[][] }} answer @param {number[][]} [parts] 5m candles, where this timeframe is longer
   */
  load({ candles, readings = [] }, parts = []) {
    this.closed = candles.map(barOf);
    this.readings = new Map(readings.map(([t, macdv, signal, histogram, stage]) => [t, { t, macdv, signal, histogram, stage }]));
    this.parts.clear();
    for (const row of parts) this.part(row);
    this.forget();
  }

  get last() {
    return this.closed.at(-1) ?? null;
  }

  /**
   * Take a candle that closed. "gap" means that candles before it are missing: they have to be fetched.
   * @param {{ candle: number[], indicator: Reading }} message @returns {"next" | "changed" | "gap"}
   */
  take({ candle, indicator }) {
    const bar = barOf(candle);
    const { last } = this;
    if (!last || bar.t > last.t + this.step) return "gap";
    const { t, macdv, signal, histogram, stage } = indicator;
    if (t === bar.t) this.readings.set(t, { t, macdv, signal, histogram, stage });
    if (bar.t > last.t) {
      this.closed.push(bar);
      this.trim();
      this.forget();
      return "next";
    }
    const at = this.closed.findIndex((known) => known.t === bar.t);
    if (at >= 0) this.closed[at] = bar;
    return "changed";
  }

  trim() {
    while (this.closed.length > KEPT) this.readings.delete(this.closed.shift().t);
  }

  /** A closed 5m candle, towards the longer one that is forming. @param {number[]} row */
  part(row) {
    const bar = barOf(row);
    if (this.timeframe === BASE || (this.last && bar.t < this.last.t + this.step)) return;
    this.parts.set(bar.t, bar);
  }

  /** A price. @param {number} at the exchange's time @param {number} price @returns {boolean} whether it belongs to a candle that is open */
  tick(at, price) {
    const t = Math.floor(at / this.step) * this.step;
    if (!this.last || t <= this.last.t) return false;
    const bar = this.seen.get(t);
    if (!bar) this.seen.set(t, { t, open: price, high: price, low: price, close: price, volume: 0 });
    else this.seen.set(t, { ...bar, high: Math.max(bar.high, price), low: Math.min(bar.low, price), close: price });
    return true;
  }

  forget() {
    const { last } = this;
    if (!last) return;
    for (const t of this.seen.keys()) if (t <= last.t) this.seen.delete(t);
    for (const t of this.parts.keys()) if (t < last.t + this.step) this.parts.delete(t);
  }

  /**
   * The candles that are not final yet, oldest first: the one that is forming, and before it any whose close is still being confirmed. What
   * was traded before the page looked is known as far as 5m candles tell it; else a candle begins at the close before it.
   * @returns {Bar[]}
   */
  forming() {
    const { last } = this;
    if (!last) return [];
    const starts = new Set(this.seen.keys());
    for (const t of this.parts.keys()) starts.add(Math.floor(t / this.step) * this.step);
    const bars = [];
    let before = last.close;
    for (const t of [...starts].sort((a, b) => a - b)) {
      const bar = joined(t, before, this.partsIn(t), this.seen.get(t));
      bars.push(bar);
      before = bar.close;
    }
    return bars;
  }

  partsIn(start) {
    return [...this.parts.values()].filter((part) => part.t >= start && part.t < start + this.step).sort((a, b) => a.t - b.t);
  }

  /** Closed and forming. @returns {Bar[]} */
  all() {
    return [...this.closed, ...this.forming()];
  }
}

/** @param {number} t @param {number} before @param {Bar[]} parts @param {Bar | undefined} seen @returns {Bar} */
function joined(t, before, parts, seen) {
  const known = seen ? [...parts, seen] : parts;
  const open = parts.length ? parts[0].open : before;
  return {
    t,
    open,
    high: Math.max(open, ...known.map((bar) => bar.high)),
    low: Math.min(open, ...known.map((bar) => bar.low)),
    close: known.at(-1).close,
    volume: parts.reduce((sum, part) => sum + part.volume, 0),
    forming: true,
  };
}

/**
 * How a bar of the histogram is drawn: by its sign, and strong where it moves away from zero.
 * @param {number} value @param {number | null | undefined} before
 * @returns {"up" | "up-weak" | "down" | "down-weak"}
 */
export function histogramKind(value, before) {
  const grows = typeof before !== "number" || Math.abs(value) >= Math.abs(before) || Math.sign(value) !== Math.sign(before);
  return `${value < 0 ? "down" : "up"}${grows ? "" : "-weak"}`;
}

/** What stands at an alert's mark: "+150", "−200", "reversal". @param {{ trigger_label: string }} alert */
export function markText({ trigger_label: label }) {
  const level = /^level_(-?)(\d+(?:\.\d+)?)$/.exec(label);
  if (level) return `${level[1] ? "−" : "+"}${level[2]}`;
  return label.startsWith("reversal_") ? "reversal" : label.replaceAll("_", " ");
}

/**
 * Alerts of these candles, oldest first, each once.
 * @param {Iterable<object>} alerts @param {Bars} bars
 */
export function marksOf(alerts, bars) {
  const times = new Set(bars.closed.map((bar) => bar.t));
  const found = new Map();
  for (const alert of alerts) {
    if (alert.timeframe === bars.timeframe && times.has(alert.candle_time)) found.set(alert.uid, alert);
  }
  return [...found.values()].sort((a, b) => a.candle_time - b.candle_time || a.id - b.id);
}

/** Beyond this, two listings of one ticker are taken for different coins. */
export const FAR_APART = 10;

/** How far ``price`` is from ``own``, in per cent; null where either is missing. @param {number | null} price @param {number | null} own */
export function apart(price, own) {
  return price && own ? (price / own - 1) * 100 : null;
}

/**
 * Seconds to add to a time so that a chart that counts in UTC divides days and hours where the reader's clock does; 0 for days, which
 * are UTC's. One value for the whole chart: a change to summer time must not make two candles fall on one place.
 * @param {string} timeframe @param {number} now
 */
export function shiftOf(timeframe, now) {
  return timeframe === "1d" ? 0 : -new Date(now).getTimezoneOffset() * 60;
}
