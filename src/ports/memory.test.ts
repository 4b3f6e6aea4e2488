import assert from "node:assert/strict";
import { test } from "node:test";
import type { Counters, CounterTexts } from "../engine/app.js";
import { Link } from "../engine/link.js";
import { FRAME_SIZE, Frames, HEADROOM } from "../memory/frames.js";
import { MemoryPort } from "./memory.js";
import { TAILROOM } from "./port.js";

function build(capacity: number) {
  const frames = new Frames(capacity);
  let counters: Counters = new Float64Array(0);
  let names: string[] = [];
  const output = new Link(frames);
  const port = new MemoryPort(
    {
      frames,
      counters(_app: string, texts: CounterTexts) {
        names = Object.keys(texts);
        counters = new Float64Array(names.length);
        return counters;
      },
    },
    { name: "memory", output },
  );
  return { frames, output, port, count: (name: string) => counters[names.indexOf(name)] };
}

test("packets enter with headroom and leave as they are", () => {
  const { frames, output, port, count } = build(8);
  port.receive(Uint8Array.of(1, 2, 3), Uint8Array.of(4));
  assert.equal(port.source.pull(1), 1);
  assert.equal(port.source.pull(10), 1);
  assert.equal(port.source.pull(10), 0);
  const frame = output.receive();
  assert.equal(frames.offset[frame] % FRAME_SIZE, HEADROOM);
  port.sink.input.transmit(frame);
  port.sink.input.transmit(output.receive());
  port.sink.push();
  assert.deepEqual(port.take(), [Uint8Array.of(1, 2, 3), Uint8Array.of(4)]);
  assert.deepEqual(port.take(), []);
  assert.equal(frames.available, 8);
  assert.equal(count("rx.packets"), 2);
  assert.equal(count("tx.bytes"), 4);
});

test("drops what does not fit and what finds no frame", () => {
  const { frames, port, count } = build(1);
  const largest = FRAME_SIZE - HEADROOM - TAILROOM;
  port.receive(new Uint8Array(largest + 1), new Uint8Array(largest), new Uint8Array(1));
  assert.equal(port.source.pull(10), 3);
  assert.equal(count("drop.oversize"), 1);
  assert.equal(count("drop.no_frame"), 1);
  assert.equal(count("rx.bytes"), largest);
  assert.equal(frames.available, 0);
});
