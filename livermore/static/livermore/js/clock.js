// The server's time, as this browser's clock may be minutes off and every age on the page is measured against server times.

let ahead = 0;

/** Learn from a time the server has just sent. @param {number} at milliseconds UTC */
export function synchronize(at, local = Date.now()) {
  if (Number.isFinite(at) && at > 0) ahead = at - local;
}

/** Milliseconds UTC by the server's clock. */
export function now() {
  return Date.now() + ahead;
}

/** How far the server's clock is ahead of this browser's, in milliseconds. */
export function difference() {
  return ahead;
}
