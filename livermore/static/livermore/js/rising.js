// Which elements of a list may stay where they are. Pure.

/**
 * The longest part of ``places`` that rises: what stands there need not move, however the rest does.
 * @param {(number | undefined)[]} places undefined for what has none yet
 * @returns {Set<number>} indexes into ``places``
 */
export function rising(places) {
  /** Index of the lowest place that ends a run of each length, and what stands before each place in its run. */
  const ends = [];
  const before = [];
  for (const [index, place] of places.entries()) {
    if (place === undefined) continue;
    let low = 0;
    let high = ends.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (places[ends[middle]] < place) low = middle + 1;
      else high = middle;
    }
    before[index] = low ? ends[low - 1] : undefined;
    ends[low] = index;
  }
  const found = new Set();
  for (let index = ends.at(-1); index !== undefined; index = before[index]) found.add(index);
  return found;
}
