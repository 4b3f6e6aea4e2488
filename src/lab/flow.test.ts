import assert from "node:assert/strict";
import { test } from "node:test";
import { due, fill, Tally } from "./flow.js";

function datagram(sequence: number): Buffer {
  const buffer = Buffer.alloc(100);
  fill(buffer, sequence);
  return buffer;
}

test("a tally counts each datagram once and tells repeated, late and damaged ones apart", () => {
  const tally = new Tally();
  for (const sequence of [0, 1, 3, 2, 3, 70_000]) tally.take(datagram(sequence));
  const damaged = datagram(5);
  damaged[99] ^= 1;
  tally.take(damaged);
  tally.take(Buffer.alloc(3));
  assert.deepEqual(tally.totals, { received: 5, duplicates: 1, damaged: 2, late: 1, missing: 69_996 });
});

test("the sender keeps its rate over many uneven ticks", () => {
  let credit = 0;
  let sent = 0;
  for (let i = 0; i < 1000; i++) {
    const { count, rest } = due(credit, i % 2 === 0 ? 0.3 : 1.7, 1000);
    credit = rest;
    sent += count;
  }
  assert.ok(Math.abs(sent - 1000) <= 1, `${sent}`);
});

test("a stall is not made up for in one burst", () => {
  assert.equal(due(0, 5000, 1000).count, 16);
});
