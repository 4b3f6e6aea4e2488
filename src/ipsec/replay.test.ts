// The replay window against a model that remembers every number, through jumps, reordering and wrap-around.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  acceptReplay,
  checkReplay,
  inferHigh,
  markReplay,
  REPLAY_OK,
  REPLAY_OLD,
  REPLAY_SEEN,
  ReplayRun,
  replayMask,
} from "./replay.js";
import { MAX_REPLAY_WINDOW, REPLAY_RING_BITS, saSlot } from "./sad-layout.js";

const { at } = saSlot;

function slotWith(window: number, top: bigint): Uint32Array {
  const words = new Uint32Array(saSlot.size / 4 + REPLAY_RING_BITS / 32);
  words[at.ringAt >>> 2] = saSlot.size / 4;
  words[at.replayWindow >>> 2] = window;
  words[at.replayMask >>> 2] = replayMask(window);
  words[at.topLow >>> 2] = Number(top & 0xffffffffn);
  words[at.topHigh >>> 2] = Number(top >> 32n);
  return words;
}

const windows = fc.oneof(
  fc.constantFrom(32, 64, 128, 1024, 4096, MAX_REPLAY_WINDOW),
  fc.integer({ min: 1, max: MAX_REPLAY_WINDOW }),
);

test("accepts each number once, and none behind the window", () => {
  const jump = fc.oneof(
    fc.integer({ min: -200, max: 200 }),
    fc.integer({ min: -9000, max: 9000 }),
    fc.constantFrom(1, 2, 31, 32, 33, 4095, 4096, 8191, 8192, 100_000),
  );
  fc.assert(
    fc.property(
      windows,
      fc.constantFrom<bigint[]>(0n, 5000n, 0x7ffffff0n, 0xfffffff0n, 0x1_0000_0000n, 0x5_ffff_fff0n),
      fc.array(jump, { minLength: 1, maxLength: 200 }),
      (window, start, jumps) => {
        const words = slotWith(window, start);
        const seen = new Set<bigint>();
        let top = start;
        for (const delta of jumps) {
          const number = top + BigInt(delta);
          // What lay in the window before the test began was never seen.
          if (number <= start - BigInt(window) || number < 1n) continue;
          const high = Number(number >> 32n);
          const low = Number(number & 0xffffffffn);
          const expected =
            number > top
              ? REPLAY_OK
              : top - number >= BigInt(window)
                ? REPLAY_OLD
                : seen.has(number)
                  ? REPLAY_SEEN
                  : REPLAY_OK;
          assert.equal(checkReplay(words, 0, high, low), expected, `number ${number}, top ${top}`);
          if (expected !== REPLAY_OK) continue;
          markReplay(words, 0, high, low);
          seen.add(number);
          if (number > top) top = number;
        }
      },
    ),
    { numRuns: 400 },
  );
});

test("number 0 is never accepted, and without a window everything is", () => {
  assert.equal(checkReplay(slotWith(64, 0n), 0, 0, 0), REPLAY_OLD);
  const open = slotWith(0, 1000n);
  assert.equal(checkReplay(open, 0, 0, 1), REPLAY_OK);
  markReplay(open, 0, 0, 1);
  assert.equal(checkReplay(open, 0, 0, 1), REPLAY_OK);
});

test("the high half is inferred for every number that the window or the next 2^31 numbers hold (RFC 4303 A2)", () => {
  fc.assert(
    fc.property(
      windows,
      fc.bigInt({ min: 1n, max: 1n << 40n }),
      fc.integer({ min: -MAX_REPLAY_WINDOW, max: 0x7fffffff }),
      (window, top, delta) => {
        const number = top + BigInt(Math.max(delta, 1 - window));
        if (number < 1n) return;
        assert.equal(
          inferHigh(slotWith(window, top), 0, Number(number & 0xffffffffn)),
          Number(number >> 32n),
          `number ${number}, top ${top}, window ${window}`,
        );
      },
    ),
    { numRuns: 2000 },
  );
});

test("a run, however long, leaves the window that its packets one by one would leave", () => {
  const jump = fc.oneof(fc.constantFrom(1, 1, 1, 2, 31, 32, 33, 70), fc.integer({ min: -100, max: 100 }));
  fc.assert(
    fc.property(
      windows,
      fc.constantFrom<bigint[]>(0n, 31n, 5000n, 0xfffffff0n, 0x5_ffff_fff0n),
      fc.array(fc.tuple(jump, fc.boolean()), { minLength: 1, maxLength: 200 }),
      (window, start, jumps) => {
        const [one, other] = [slotWith(window, start), slotWith(window, start)];
        const run = new ReplayRun(other);
        run.open(0);
        let number = start;
        for (const [delta, ends] of jumps) {
          number = number + BigInt(delta) > 0n ? number + BigInt(delta) : 1n;
          const high = Number(number >> 32n);
          const low = Number(number & 0xffffffffn);
          assert.equal(run.accept(high, low), acceptReplay(one, 0, high, low), `number ${number}`);
          if (!ends) continue;
          run.close();
          assert.deepEqual(other, one);
          run.open(0);
        }
        run.close();
        assert.deepEqual(other, one);
      },
    ),
    { numRuns: 400 },
  );
});
