import assert from "node:assert/strict";
import test from "node:test";
import { rising } from "../../livermore/static/livermore/js/rising.js";
import { generator } from "./server.mjs";

const found = (...places) => [...rising(places)].sort((a, b) => a - b);

test("all that is in order stays", () => {
  assert.deepEqual(found(), []);
  assert.deepEqual(found(0, 1, 2, 3), [0, 1, 2, 3]);
});

test("a row that goes from the top to the bottom moves alone", () => {
  assert.deepEqual(found(1, 2, 3, 4, 0), [0, 1, 2, 3]);
  assert.deepEqual(found(2, 3, 4, 0, 1), [0, 1, 2]);
});

test("one that goes from the bottom to the top moves alone", () => {
  assert.deepEqual(found(4, 0, 1, 2, 3), [1, 2, 3, 4]);
});

test("what is new has no place yet, and the others stay around it", () => {
  assert.deepEqual(found(0, undefined, 1, undefined, 2), [0, 2, 4]);
  assert.deepEqual(found(undefined, undefined), []);
});

test("of any order the longest part that rises stays", () => {
  const pick = generator(7);
  for (let round = 0; round < 200; round += 1) {
    const places = Array.from({ length: 9 }, (_, index) => index).sort(() => pick(3) - 1);
    const stays = found(...places);
    for (const [at, index] of stays.entries()) assert.ok(!at || places[stays[at - 1]] < places[index]);
    assert.equal(stays.length, longest(places), String(places));
  }
});

/** Every subset, the slow and obvious way. */
function longest(places) {
  let most = 0;
  for (let mask = 0; mask < 2 ** places.length; mask += 1) {
    const chosen = places.filter((_, index) => mask & (2 ** index));
    if (chosen.every((place, index) => !index || chosen[index - 1] < place)) most = Math.max(most, chosen.length);
  }
  return most;
}
