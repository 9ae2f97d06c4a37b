// When this page first drew an alert that came while it was open. It stays in the page: nobody is told.
import { now } from "./clock.js";

const MOST = 2_000;

/** By uid: when it was drawn, milliseconds UTC by the server's clock; null while it waits for that. @type {Map<string, number | null>} */
const times = new Map();

/** An alert has come. @param {string} uid */
export function expectShown(uid) {
  if (times.has(uid)) return;
  times.set(uid, null);
  if (times.size > MOST) times.delete(times.keys().next().value);
}

/** An alert is drawn: the first time counts, of one that was expected. @param {string} uid */
export function noteShown(uid, at = now()) {
  if (times.get(uid) === null) times.set(uid, at);
}

/** @param {string} uid @returns {number | null} null for one that was there before this page was */
export function shownAt(uid) {
  return times.get(uid) ?? null;
}
