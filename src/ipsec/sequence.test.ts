// Sequence numbers: never twice, by several processes that are killed at any moment.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Sad } from "./sad.js";
import { saSlot } from "./sad-layout.js";
import { giveBackSequence, lastSequence, reserveSequence } from "./sequence.js";

const { at } = saSlot;

function slotAt(low: number, highA: number, highB: number): Int32Array {
  const words = new Int32Array(saSlot.size / 4);
  words[at.sequenceLow >>> 2] = low;
  words[at.sequenceHighA >>> 2] = highA;
  words[at.sequenceHighB >>> 2] = highB;
  return words;
}

/** Reserves numbers. @returns the first one */
function reserve(words: Int32Array, count: number): bigint {
  const high = new Int32Array(1);
  const low = reserveSequence(words, 0, count, high);
  return (BigInt(high[0] >>> 0) << 32n) | BigInt(low);
}

test("numbers count on across both halves' boundaries", () => {
  for (const [low, a, b, next] of [
    [0, 0, 0, 1n],
    [0x7ffffff0, 0, 0, 0x7ffffff1n],
    [0xfffffff0 | 0, 0, 0, 0xfffffff1n],
    [0xfffffff0 | 0, 7, 6, 0x6_ffff_fff1n],
    [0x7ffffff0, 7, 6, 0x7_7fff_fff1n],
  ] as const) {
    const words = slotAt(low, a, b);
    let expected = next;
    for (let batch = 0; batch < 10; batch++) {
      assert.equal(reserve(words, 16), expected);
      expected += 16n;
      assert.equal(lastSequence(words, 0), expected - 1n);
    }
  }
});

test("what is given back is given out again, unless others have reserved behind it", () => {
  const words = slotAt(100, 0, 0);
  assert.equal(reserveSequence(words, 0, 16), 101);
  giveBackSequence(words, 0, 105, 117);
  assert.equal(lastSequence(words, 0), 104n);
  assert.equal(reserveSequence(words, 0, 16), 105);
  assert.equal(reserveSequence(words, 0, 16), 121);
  giveBackSequence(words, 0, 110, 121);
  assert.equal(lastSequence(words, 0), 136n, "left out");
  giveBackSequence(words, 0, 121, 137);
  assert.equal(lastSequence(words, 0), 120n, "none of them was used");
});

test("high halves stay right when numbers around their boundaries are given back", () => {
  for (const [low, a, b] of [
    [0x7fffff00, 6, 6],
    [0xffffff00 | 0, 7, 6],
  ] as const) {
    const words = slotAt(low, a, b);
    let last = lastSequence(words, 0);
    for (let batch = 0; batch < 200; batch++) {
      const first = reserve(words, 16);
      const used = (batch * 7) % 17;
      assert.ok(first > last && first <= last + 17n, `${first} behind ${last}`);
      last = first + BigInt(used) - 1n;
      const low = Number(BigInt.asUintN(32, first));
      giveBackSequence(words, 0, low + used, low + 16);
    }
  }
});

test("a worker that reserves between any two steps of another one changes none of its numbers", (t) => {
  for (const [low, a, b] of [
    [0x7ffffff8, 6, 6],
    [0x7fffffff, 6, 6],
    [0xfffffff8 | 0, 7, 6],
    [-1, 7, 6],
  ] as const)
    for (let step = 0; step < 8; step++) {
      const words = slotAt(low, a, b);
      const expected = lastSequence(words, 0) + 1n;
      const numbers: bigint[] = [];
      let calls = 0;
      for (const name of ["load", "add", "compareExchange"] as const) {
        const original = Atomics[name] as (...given: unknown[]) => number;
        t.mock.method(Atomics, name, (...given: unknown[]) => {
          if (calls++ === step) numbers.push(reserve(words, 16));
          return original(...given);
        });
      }
      numbers.push(reserve(words, 16));
      t.mock.restoreAll();
      if (numbers.length === 1) numbers.push(reserve(words, 16));
      numbers.sort((x, y) => (x < y ? -1 : 1));
      numbers.push(reserve(words, 16));
      assert.deepEqual(
        numbers,
        [0n, 16n, 32n].map((n) => expected + n),
        `after ${step} steps`,
      );
    }
});

/**
 * A process that reserves numbers in slot 0 as fast as it can, gives some back, and writes those that it keeps, about a quarter of a
 * million, to its standard output.
 */
const program = `
const { Sad } = await import(process.argv[1] + "/sad.js");
const { giveBackSequence, reserveSequence } = await import(process.argv[1] + "/sequence.js");
const { writeSync } = await import("node:fs");
const sad = Sad.open(process.argv[2], "write");
const slot = sad.offset(0) >>> 2;
const batch = Buffer.alloc(8 * 4);
const high = new Int32Array(1);
for (let n = 0; n < 125_000; n++) {
  const first = reserveSequence(sad.atomics, slot, 4, high);
  const used = n % 5;
  for (let i = 0; i < used; i++) {
    const low = (first + i) >>> 0;
    batch.writeUInt32LE(low, 8 * i);
    batch.writeUInt32LE(high[0] + (low < first ? 1 : 0), 8 * i + 4);
  }
  giveBackSequence(sad.atomics, slot, (first + used) | 0, (first + 4) | 0);
  writeSync(1, batch.subarray(0, 8 * used));
}
setInterval(() => {}, 1000);`;

test("three processes that are killed again and again never get the same number", async () => {
  const directory = mkdtempSync("/dev/shm/vita-sequence-");
  const { openSync, closeSync } = await import("node:fs");
  const children = new Set<ChildProcess>();
  try {
    const sad = Sad.create(join(directory, "sad"), 2, 1);
    // Right before the boundary between the two high halves.
    sad.atomics[(sad.offset(0) + at.sequenceLow) >>> 2] = 0x7fff8000;
    const folder = fileURLToPath(new URL(".", import.meta.url));
    const outputs: string[] = [];
    const outputOf = new Map<ChildProcess, string>();
    const start = () => {
      const path = join(directory, `numbers-${outputs.length}`);
      outputs.push(path);
      const output = openSync(path, "w");
      const child = spawn(
        process.execPath,
        ["--input-type=module", "-e", program, folder, join(directory, "sad")],
        { stdio: ["ignore", output, "inherit"] },
      );
      closeSync(output);
      children.add(child);
      outputOf.set(child, path);
      child.once("exit", () => children.delete(child));
      return child;
    };
    for (let i = 0; i < 3; i++) start();
    for (let kill = 0; kill < 6; kill++) {
      const [victim] = children;
      // Not before it has begun, however busy the machine is.
      const output = outputOf.get(victim)!;
      for (let waited = 0; statSync(output).size === 0 && waited < 10_000; waited += 20) await sleep(20);
      await sleep(100);
      victim.kill("SIGKILL");
      start();
    }
    await sleep(300);
    for (const child of children) child.kill("SIGKILL");
    while (children.size > 0) await sleep(10);
    const all = Buffer.concat(outputs.map((path) => wholeRecords(readFileSync(path))));
    const numbers = new Float64Array(all.length / 8);
    for (let i = 0; i < numbers.length; i++)
      numbers[i] = all.readUInt32LE(8 * i + 4) * 0x1_0000_0000 + all.readUInt32LE(8 * i);
    numbers.sort();
    assert.ok(numbers.length > 10_000, `only ${numbers.length} numbers were given out`);
    for (let i = 1; i < numbers.length; i++)
      assert.ok(numbers[i] !== numbers[i - 1], `${numbers[i]} was given out twice`);
    const [first, last] = [numbers[0], numbers[numbers.length - 1]];
    assert.ok(last - first < 2 ** 24, `from ${first} to ${last}: none is 2^32 too high`);
    sad.close();
  } finally {
    for (const child of children) child.kill("SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  }
});

/** Without the record that a killed process has written half of. */
function wholeRecords(bytes: Buffer): Buffer {
  return bytes.subarray(0, bytes.length - (bytes.length % 8));
}
