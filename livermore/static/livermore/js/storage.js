// What this browser remembers. Storage may be forbidden or full; then nothing is remembered, and nothing breaks.

/** @param {string} name @param {string} [fallback] */
export function recall(name, fallback = "") {
  try {
    return localStorage.getItem(`livermore.${name}`) ?? fallback;
  } catch {
    return fallback;
  }
}

/** @param {string} name @param {string} value */
export function remember(name, value) {
  try {
    localStorage.setItem(`livermore.${name}`, value);
  } catch {
    // Works without.
  }
}
