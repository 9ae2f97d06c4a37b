// The words of the domain: stages, states and timeframes, in the order they are shown.

export const TIMEFRAMES = ["5m", "15m", "1h", "4h", "1d"];

/** Stage -> what it means. The ranges are those of docs/macdv.md. */
export const STAGES = {
  overbought: "150 or more, above its signal line",
  rallying: "50 to 150, above its signal line",
  rebounding: "−150 to 50, above its signal line",
  ranging: "within ±50 for 20 candles or more",
  retracing: "−50 or more, below its signal line",
  reversing: "−150 to −50, below its signal line",
  oversold: "below −150",
};

/** @param {unknown} stage */
export function stageName(stage) {
  return typeof stage === "string" && Object.hasOwn(STAGES, stage) ? stage : "unknown";
}

/** State -> what it means to a reader. */
export const STATES = {
  live: "Every closed candle is evaluated.",
  warming: "History is being fetched; no alerts until it is complete.",
  stale: "No data within the expected time; not evaluated.",
  gap: "Candles are missing and being fetched; not evaluated.",
  halted: "The exchange has halted trading.",
  offline: "Not connected.",
  idle: "Not started.",
};

/** @param {unknown} state */
export function stateName(state) {
  return typeof state === "string" && Object.hasOwn(STATES, state) ? state : "unknown";
}
