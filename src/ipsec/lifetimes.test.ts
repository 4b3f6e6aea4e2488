import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type Expiry, Lifetimes } from "./lifetimes.js";
import { writeEndPoints } from "./outer-header.js";
import { Sad } from "./sad.js";
import { SaFlag, SaState, saSlot } from "./sad-layout.js";

const { at } = saSlot;
const us = { address: Uint8Array.of(192, 0, 2, 1), port: 0 };
const peer = { address: Uint8Array.of(192, 0, 2, 2), port: 0 };

/** One active SA, added at second 100, with limits in the order of the slot. */
function withSa(
  limits: number[],
  use: (rig: { sad: Sad; told: string[]; check(now: number): void; deaf(on: boolean): void }) => void,
): void {
  const directory = mkdtempSync("/dev/shm/vita-lifetimes-");
  const sad = Sad.create(join(directory, "sad"), 2, 2);
  try {
    assert.equal(sad.allocate(), 0);
    const base = sad.offset(0);
    sad.words[(base + at.spi) >>> 2] = 0xc0000001;
    sad.words[(base + at.protocol) >>> 2] = 50;
    sad.words[(base + at.added) >>> 2] = 100;
    limits.forEach((limit, i) => {
      sad.view.setFloat64(base + at.limits + 8 * i, limit, true);
    });
    writeEndPoints(sad, 0, us, peer, false);
    sad.publish(0, SaState.active);
    const told: string[] = [];
    let now = 100;
    let listening = true;
    const lifetimes = new Lifetimes(
      sad,
      () => now,
      ({ spi, dst, hard }: Expiry) => {
        if (listening) told.push(`${spi.toString(16)} ${dst.join(".")} ${hard ? "hard" : "soft"}`);
        return listening;
      },
    );
    use({
      sad,
      told,
      check: (at) => {
        now = at;
        lifetimes.check();
      },
      deaf: (on) => {
        listening = !on;
      },
    });
  } finally {
    sad.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

const soft = "c0000001 192.0.2.2 soft";
const hard = "c0000001 192.0.2.2 hard";

test("time: soft once, hard once, and then the SA is out of use", () =>
  withSa([10, 20, 0, 0, 0, 0], ({ sad, told, check }) => {
    check(109);
    assert.deepEqual(told, []);
    check(110);
    check(111);
    assert.deepEqual(told, [soft]);
    assert.equal(sad.flags(0) & SaFlag.expired, 0);
    check(120);
    check(121);
    assert.deepEqual(told, [soft, hard]);
    assert.notEqual(sad.flags(0) & SaFlag.expired, 0);
  }));

test("bytes and packets count over all workers", () => {
  withSa([0, 0, 1000, 2000, 0, 0], ({ sad, told, check }) => {
    sad.view.setFloat64(sad.offset(0) + at.traffic + 8, 600, true);
    sad.view.setFloat64(sad.offset(0) + at.traffic + 24, 399, true);
    check(100);
    assert.deepEqual(told, []);
    sad.view.setFloat64(sad.offset(0) + at.traffic + 24, 400, true);
    check(100);
    assert.deepEqual(told, [soft]);
  });
  withSa([0, 0, 0, 0, 5, 6], ({ sad, told, check }) => {
    sad.view.setFloat64(sad.offset(0) + at.traffic, 6, true);
    check(100);
    assert.deepEqual(told, [hard], "past the hard limit the soft one does not matter");
  });
});

test("without limits nothing expires", () =>
  withSa([0, 0, 0, 0, 0, 0], ({ sad, told, check }) => {
    sad.view.setFloat64(sad.offset(0) + at.traffic, 1e15, true);
    check(2 ** 31);
    assert.deepEqual(told, []);
  }));

test("while nobody listens the SA goes out of use all the same, and the event waits", () =>
  withSa([10, 20, 0, 0, 0, 0], ({ sad, told, check, deaf }) => {
    deaf(true);
    check(115);
    check(120);
    assert.notEqual(sad.flags(0) & SaFlag.expired, 0);
    deaf(false);
    check(121);
    assert.deepEqual(told, [hard]);
  }));
