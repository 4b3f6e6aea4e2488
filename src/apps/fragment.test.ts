// Fragments of IPv4 packets: together they are the packet, each of them is one that a router would make.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fold, sum16 } from "../net/checksum.js";
import { Fragmenter } from "./fragment.js";
import { ipFrame, ipOf, OwnedParts, PEER4 } from "./testing/owned-parts.js";

const packet = (payload: number[], fragment = 0) =>
  ipOf(ipFrame({ to: PEER4, protocol: 17, payload, fragment }));

function cut(bytes: Uint8Array, mtu: number, capacity = 64) {
  const parts = new OwnedParts(capacity);
  const output = parts.link();
  const fragmenter = new Fragmenter(parts.context);
  const frame = parts.frame(bytes);
  fragmenter.fragment(frame, mtu, output);
  return { parts, output, pieces: parts.take(output) };
}

test("the pieces put together are the packet, none is longer than the MTU, and all checksums are right", () => {
  fc.assert(
    fc.property(fc.integer({ min: 28, max: 600 }), fc.integer({ min: 1, max: 900 }), (mtu, length) => {
      const payload = Array.from({ length }, (_, i) => i & 0xff);
      const { pieces, parts } = cut(packet(payload), mtu, 256);
      const together: number[] = [];
      for (const [i, piece] of pieces.entries()) {
        const view = new DataView(piece.buffer);
        assert.ok(piece.length <= mtu);
        assert.equal(view.getUint16(2), piece.length);
        assert.equal(fold(sum16(view, 0, 20, 0)), 0);
        const field = view.getUint16(6);
        assert.equal(field & 0x1fff, together.length / 8);
        assert.equal((field & 0x2000) !== 0, i < pieces.length - 1);
        together.push(...piece.subarray(20));
      }
      assert.deepEqual(together, payload);
      parts.done();
    }),
    { numRuns: 50 },
  );
});

test("a fragment is cut further: offsets go on from its own, and more follow the last piece as before", () => {
  const { pieces } = cut(packet(new Array(64).fill(1), 0x2000 | 100), 52);
  const fields = pieces.map((piece) => new DataView(piece.buffer).getUint16(6));
  assert.deepEqual(fields, [0x2000 | 100, 0x2000 | 104]);
});

test("without frames for all pieces, or an MTU for any, nothing is sent", () => {
  const few = cut(packet(new Array(800).fill(1)), 60, 16);
  assert.deepEqual(few.pieces, []);
  assert.deepEqual(few.parts.counted("fragment"), { "drop.no_frames": 1 });
  few.parts.done();
  const small = cut(packet(new Array(100).fill(1)), 27);
  assert.deepEqual(small.parts.counted("fragment"), { "drop.mtu": 1 });
  small.parts.done();
});
