// The server's time, as this browser's clock may be minutes off and every age on the page is measured against server times.

const SAMPLES = 6;
const STEP = 2_000; // clocks do not drift apart that fast: one of them was set

/** How far the server was ahead by each of its last times. The way here makes it less, never more: the largest is the nearest to the truth. */
let samples = [];
let ahead = 0;

/** Learn from a time the server has just sent. @param {number} at milliseconds UTC */
export function synchronize(at, local = Date.now()) {
  if (!Number.isFinite(at) || at <= 0) return;
  const sample = at - local;
  if (Math.abs(sample - ahead) > STEP) samples = [];
  samples = [...samples, sample].slice(-SAMPLES);
  ahead = Math.max(...samples);
}

/** Milliseconds UTC by the server's clock. */
export function now() {
  return Date.now() + ahead;
}

/** How far the server's clock is ahead of this browser's, in milliseconds. */
export function difference() {
  return ahead;
}
