// The figures of an exchange's health in words, and its states as stretches of time. Pure.
import { compact, duration, exact } from "./format.js";

const THIN = "\u202f";
const MINUS = "\u2212";
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

export const WEEK = 7 * 86_400_000;
/** Events that say what state an exchange is in from then on; the others are about its connection. */
export const STATE_EVENTS = new Set(["live", "warming", "stale", "gap", "halted", "idle", "offline"]);

/** "99.98 %". Never rounded up: 100 % is said of nothing less. @param {number | null | undefined} value 0 to 1 */
export function share(value) {
  if (!isNumber(value)) return "–";
  if (value >= 1) return `100${THIN}%`;
  return `${(Math.floor(value * 10_000) / 100).toFixed(2)}${THIN}%`;
}

/** "17.1 /s". @param {number | null | undefined} value */
export function rate(value) {
  if (!isNumber(value)) return "–";
  return `${value < 100 ? value.toFixed(1) : compact(value)}${THIN}/s`;
}

/** "38 ms", "1.2 s", "5 min". @param {number | null | undefined} value milliseconds */
export function span(value) {
  if (!isNumber(value)) return "–";
  if (value < 1_000) return `${Math.round(value)}${THIN}ms`;
  if (value < 10_000) return `${(value / 1_000).toFixed(1)}${THIN}s`;
  return duration(value);
}

/** "+38 ms", "−1.2 s". @param {number | null | undefined} value milliseconds */
export function offset(value) {
  if (!isNumber(value)) return "–";
  return value === 0 ? span(0) : `${value > 0 ? "+" : MINUS}${span(Math.abs(value))}`;
}

/** A fee: "0.6 %". @param {string} text a share, as the API writes it */
export function fee(text) {
  return `${exact(Number((Number(text) * 100).toFixed(4)))}${THIN}%`;
}

/** Whom an exchange serves. @param {{ allow?: string[], deny?: string[], note?: string }} restrictions */
export function regions({ allow, deny, note }) {
  const whom = allow?.length ? `only ${allow.join(", ")}` : deny?.length ? `not ${deny.join(", ")}` : "everywhere";
  return note ? `${whom}: ${note}` : whom;
}

/**
 * @typedef {object} Stretch
 * @property {string} state "" where nobody said anything
 * @property {number} from
 * @property {number} to
 */

/**
 * The states of an exchange one after another. A state ends where the next begins, or where it was last known to hold: then comes a
 * stretch without a word.
 * @param {{ at: number, seen: number, event: string }[]} events in any order
 * @param {number} start @param {number} end @param {{ state: string, seen: number | null }} now what it says of itself at present
 * @returns {Stretch[]}
 */
export function stretches(events, start, end, now) {
  const states = events.filter(({ event }) => STATE_EVENTS.has(event)).sort((a, b) => a.at - b.at || a.id - b.id);
  const found = [];
  states.forEach(({ at, seen, event }, index) => {
    const next = states[index + 1]?.at ?? end;
    const last = index === states.length - 1 && event === now.state ? Math.max(seen, now.seen ?? 0) : seen;
    // A mark comes once a minute: what ends within that has not been silent.
    const until = next - last < 90_000 ? next : last;
    add(found, event, Math.max(at, start), Math.min(until, end));
    add(found, "", Math.max(until, start), Math.min(next, end));
  });
  return found;
}

function add(found, state, from, to) {
  if (to <= from) return;
  const before = found.at(-1);
  if (before && before.state === state && before.to === from) before.to = to;
  else found.push({ state, from, to });
}
