// The queue of packets that wait, by itself: order, bounds, time, and requests.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Frames } from "../memory/frames.js";
import { ENDED, GONE, HoldQueue, holdCounters } from "./hold-queue.js";

function makeQueue(frameCount = 4096) {
  const frames = new Frames(frameCount);
  const counters = new Float64Array(Object.keys(holdCounters).length);
  const clock = { milliseconds: 0x7fffff00 };
  const asked: { entry: number; source: number }[] = [];
  const notifier = {
    acquire: (entry: number, view: DataView, ip: number) => asked.push({ entry, source: view.getUint8(ip) }),
    mapping: () => assert.fail("a queue knows of no mappings"),
  };
  const queue = new HoldQueue({ frames, counters: () => counters }, clock, notifier, 64);
  const hold = (entry: number, byte = 0) => {
    const frame = frames.from(Uint8Array.of(byte));
    queue.hold(frame, entry, 17, 1000, 53);
    return frame;
  };
  const count = (name: keyof typeof holdCounters) => counters[Object.keys(holdCounters).indexOf(name)];
  return { frames, clock, asked, queue, hold, count };
}

test("frames leave in their order, and those that must stay keep it", () => {
  const { queue, hold, frames, count } = makeQueue();
  const held = [1, 2, 1, 2, 1].map((entry) => hold(entry));
  const first: number[] = [];
  queue.release((frame) => {
    if (held.indexOf(frame) % 2 !== 0) return 7;
    first.push(frame);
    frames.free(frame);
    return GONE;
  });
  assert.deepEqual(first, [held[0], held[2], held[4]]);
  assert.equal(queue.count, 2);
  const second: number[] = [];
  queue.release((frame) => {
    second.push(frame);
    frames.free(frame);
    return GONE;
  });
  assert.deepEqual(second, [held[1], held[3]]);
  assert.equal(queue.count, 0);
  assert.equal(count("released"), 5);
  assert.equal(frames.available, frames.capacity);
});

test("bounds: 32 for a policy, 256 in all, a sixteenth of the frames", () => {
  const { queue, hold, frames, count } = makeQueue();
  for (let i = 0; i < 33; i++) hold(1);
  assert.equal(queue.count, 32);
  for (let i = 0; i < 1000; i++) hold(2 + (i % 40));
  assert.equal(queue.count, 256);
  assert.equal(count("drop.full"), 1033 - 256);
  assert.equal(frames.available, frames.capacity - 256);
  const small = makeQueue(100);
  for (let i = 0; i < 20; i++) small.hold(i);
  assert.equal(small.queue.count, 6);
  assert.equal(small.frames.available, 94);
});

test("a packet asks at once, again each second, and is given up after ten; the clock may wrap round meanwhile", () => {
  const { queue, hold, clock, asked, frames, count } = makeQueue();
  const pass = (milliseconds: number) => {
    clock.milliseconds = (clock.milliseconds + milliseconds) & 0x7fffffff;
    queue.tick();
  };
  hold(1, 0x45);
  hold(1);
  hold(3);
  assert.deepEqual(asked, [
    { entry: 1, source: 0x45 },
    { entry: 3, source: 0 },
  ]);
  pass(999);
  assert.equal(asked.length, 2);
  pass(1);
  assert.equal(asked.length, 4);
  for (let i = 0; i < 899; i++) pass(10);
  assert.equal(queue.count, 3);
  assert.equal(count("acquires"), 20);
  hold(3);
  pass(10);
  assert.equal(queue.count, 1, "only the young one is left");
  assert.equal(count("drop.timeout"), 3);
  assert.equal(frames.available, frames.capacity - 1);
});

test("after a packet that got its SA the next one asks at once; after one that was dropped it does not", () => {
  const { queue, hold, asked, frames } = makeQueue();
  for (const [outcome, requests] of [
    [ENDED, 1],
    [GONE, 1],
    [GONE, 2],
  ]) {
    hold(1);
    assert.equal(asked.length, requests);
    queue.release((frame) => {
      frames.free(frame);
      return outcome;
    });
  }
});
