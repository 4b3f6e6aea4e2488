// Shared frames with an annex: what is behind the file belongs to the process alone.

import assert from "node:assert/strict";
import { test } from "node:test";
import { FRAME_SIZE, Frames } from "./frames.js";
import { openSharedRegion } from "./region.js";
import { makeScratch } from "./testing/scratch.js";

test("workers share frames, and have an annex each, whatever its size", (context) => {
  const scratch = makeScratch("annex");
  context.after(scratch.remove);
  const path = scratch.file("frames");
  // Three frames end in the middle of a page.
  openSharedRegion(path, "create", 3 * FRAME_SIZE).unmap();
  const [one, other] = [1, 2].map(() => {
    const region = openSharedRegion(path, "write", 0, 70_001);
    return new Frames(3, { region, workers: 2 });
  });
  const start = one.reserve(70_001);
  assert.equal(other.reserve(70_001), start);
  assert.ok(start >= 3 * FRAME_SIZE);
  one.bytes.fill(1, 0, 3 * FRAME_SIZE);
  one.bytes.fill(2, start, start + 70_001);
  assert.equal(other.bytes[3 * FRAME_SIZE - 1], 1);
  assert.equal(other.bytes[start], 0);
  assert.throws(() => one.reserve(FRAME_SIZE * 4), /no room for 8192 bytes behind the frames/);
  for (const { region } of [one, other]) region.unmap();
});
