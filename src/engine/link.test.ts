// A link carries what it is handed, in order, however it is handed over, and drops what does not fit.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Frames } from "../memory/frames.js";
import { Link } from "./link.js";

test("batches of any size keep their order, also around the ring's end, and only what fits is kept", () => {
  const frames = new Frames(4096);
  const link = new Link(frames);
  const batch = new Int32Array(128);
  let next = 0;
  let expected = 0;
  const receive = (count: number) => {
    for (let i = 0; i < count; i++) assert.equal(link.receive(), expected++ % 4000);
  };
  for (let round = 0; round < 300; round++) {
    const count = (round * 37) % 129;
    for (let i = 0; i < 128; i++) batch[i] = i < count ? (next + i) % 4000 : -7;
    link.transmitAll(batch, count);
    next += count;
    // Something is always left, so that the ring does not begin anew.
    if (link.readable > 700) receive(link.readable - 1);
  }
  receive(link.readable);
  assert.equal(link.dropped, 0);

  const free = frames.available;
  for (let i = 0; i < 128; i++) batch[i] = i;
  for (let i = 0; i < 9; i++) link.transmitAll(batch, 128);
  assert.equal(link.readable, 1024);
  assert.equal(link.dropped, 128);
  for (let i = 0; i < 1024; i++) assert.equal(link.receive(), i % 128);
  assert.equal(frames.available, free + 128);
});
