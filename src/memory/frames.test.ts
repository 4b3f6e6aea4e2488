// Moving packets to where their headers can be read as words, and taking and giving back frames by the batch.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Frames, HEADROOM } from "./frames.js";

test("a packet is moved to where the byte that is asked for stands at a multiple of four, and stays what it is", () => {
  const frames = new Frames(2);
  const packet = Uint8Array.from({ length: 61 }, (_, i) => i);
  for (let start = HEADROOM; start < HEADROOM + 4; start++)
    for (const skip of [0, 14]) {
      const frame = frames.from(packet, start);
      frames.align(frame, skip);
      assert.equal((frames.offset[frame] + skip) % 4, 0);
      assert.ok(frames.offset[frame] % 2048 > start - 4, "by three bytes at most");
      assert.deepEqual(frames.copy(frame), packet);
      const word = (frames.offset[frame] + skip) >> 2;
      assert.equal(frames.lanes.at2[word], frames.view.getInt32(frames.offset[frame] + skip + 8, true));
      frames.free(frame);
    }
});

test("frames that are taken and given back by the batch are those that one by one would be", () => {
  const [one, many] = [new Frames(8), new Frames(8)];
  const alone = [one.allocate(), one.allocate(), one.allocate()];
  const shown = [0, 1, 2].map((i) => many.spare(i));
  many.claim(3);
  assert.deepEqual(shown, alone);
  assert.equal(many.available, one.available);
  alone.forEach((frame) => {
    one.free(frame);
  });
  shown.forEach((frame, i) => {
    many.putBack(i, frame);
  });
  many.reclaim(3);
  assert.equal(many.available, 8);
  for (let i = 0; i < 8; i++) assert.equal(many.allocate(), one.allocate());
});
