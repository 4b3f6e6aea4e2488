import assert from "node:assert/strict";
import { test } from "node:test";
import { Repeats } from "./repeats.js";

function toldAt(repeats: Repeats, seconds: number, what = (_second: number) => ""): number[] {
  const told: number[] = [];
  for (let now = 0; now < seconds; now++) {
    if (!repeats.isDue(1, what(now), now)) continue;
    repeats.note(1, what(now), now);
    told.push(now);
  }
  return told;
}

test("pauses double up to a limit", () => {
  assert.deepEqual(toldAt(new Repeats(), 130), [0, 2, 6, 14, 30, 62, 94, 126]);
});

test("something else about the same key is new, but at most once a second", () => {
  assert.deepEqual(
    toldAt(new Repeats(), 5, (now) => String(now)),
    [0, 1, 2, 3, 4],
  );
  const repeats = new Repeats();
  repeats.note(1, "a", 5);
  assert.equal(repeats.isDue(1, "b", 5), false);
  assert.equal(repeats.isDue(2, "a", 5), true);
});

test("what is forgotten is new; what nobody heard was not told; a longer pause can be asked for", () => {
  const repeats = new Repeats();
  assert.equal(repeats.isDue(1, "", 0), true);
  assert.equal(repeats.isDue(1, "", 0), true);
  repeats.note(1, "", 0);
  assert.equal(repeats.isDue(1, "", 1), false);
  assert.equal(repeats.isDue(1, "", 31, 32), false);
  assert.equal(repeats.isDue(1, "", 32, 32), true);
  repeats.forget(1);
  assert.equal(repeats.isDue(1, "", 1), true);
});
