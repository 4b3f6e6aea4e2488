// One SA's replay window under several processes, of which some are killed while they have its lock.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { replayMask } from "./replay.js";
import { SaLock } from "./sa-lock.js";
import { Sad } from "./sad.js";
import { LOCK_BITS, SaFlag, SaState, saSlot, trafficOf } from "./sad-layout.js";
import { lastSequence } from "./sequence.js";

const { at } = saSlot;
const WINDOW = 512;

/** What every process begins with: `lock`, and the slot's words. Arguments: folder of the modules, SAD, worker. */
const prelude = `
const [, folder, path, worker] = process.argv;
const { Sad } = await import(folder + "/sad.js");
const { SaLock } = await import(folder + "/sa-lock.js");
const { acceptReplay } = await import(folder + "/replay.js");
const sad = Sad.open(path, "write");
sad.beginLife(Number(worker));
sad.announceWorker(Number(worker), process.pid);
const lock = new SaLock(sad, Number(worker));
const slot = sad.offset(0) >>> 2;
`;

/**
 * Offers all numbers of one step after the other to the window, in an order of its own, and counts the accepted ones. A step
 * is a quarter of the window, and begins when everybody has done the one before: nothing may be too old. Slot 1 counts
 * the steps that were done, of all processes together.
 */
const hammer = `${prelude}
const steps = Number(process.argv[4]);
const all = Number(process.argv[5]);
const STEP = ${WINDOW / 4};
const done = sad.offset(1) >>> 2;
let accepted = 0;
for (let step = 0; step < steps; step++) {
  const shuffle = 2 * Math.floor(Math.random() * STEP / 2) + 1;
  for (let i = 0; i < STEP; ) {
    const run = 1 + (i & 7);
    lock.take(slot);
    for (let n = 0; n < run && i < STEP; n++, i++)
      if (acceptReplay(sad.words, slot, 0, 1 + step * STEP + ((i * shuffle) % STEP)) === 0) accepted++;
    lock.release(slot);
  }
  Atomics.add(sad.atomics, done + 2, 1);
  while (Atomics.load(sad.atomics, done + 2) < all * (step + 1));
}
process.send(accepted);
`;

/** Takes the lock and says so; is killed with it. */
const holder = `${prelude}
lock.take(slot);
process.send(1);
setInterval(() => {}, 1000);
`;

/** Encapsulates so many packets of slot 0 in batches of all sizes, when the other one is ready too, and tells how many went out. */
const sender = `${prelude}
const { Encapsulate } = await import(folder + "/encapsulate.js");
const { IpsecMbEngine } = await import(folder + "/aead-ipsec-mb.js");
const { Frames } = await import(folder + "../memory/frames.js");
const frames = new Frames(256);
const context = { frames, counters: (app, texts) => new Float64Array(Object.keys(texts).length) };
let sent = 0;
const send = (frame) => { sent++; frames.free(frame); };
const exit = { open() {}, send, sendIpv4: send };
const batches = new IpsecMbEngine(sad, frames).encryptor();
const parts = { sad, batches, clock: { seconds: 1 }, worker: Number(worker), exit };
const app = new Encapsulate(context, parts);
const packet = Uint8Array.of(0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2);
const begun = (sad.offset(1) >>> 2) + 2;
Atomics.add(sad.atomics, begun, 1);
while (Atomics.load(sad.atomics, begun) < 2);
for (let left = Number(process.argv[4]), size = 1; left > 0; left -= size, size = 1 + (size * 7) % 40) {
  for (let i = 0; i < Math.min(size, left); i++) app.take(frames.from(packet), 0);
  app.push();
}
process.send(sent);
`;

const folder = fileURLToPath(new URL(".", import.meta.url));
const children = new Set<ChildProcess>();

function start(program: string, path: string, worker: number, ...more: number[]): ChildProcess {
  const words = [folder, path, String(worker), ...more.map(String)];
  const child = spawn(process.execPath, ["--input-type=module", "-e", program, ...words], {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  children.add(child);
  child.once("exit", () => children.delete(child));
  return child;
}

async function answer(child: ChildProcess): Promise<number> {
  return ((await once(child, "message")) as [number])[0];
}

async function withSad(use: (sad: Sad, path: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync("/dev/shm/vita-lock-");
  const path = join(directory, "sad");
  try {
    const sad = Sad.create(path, 2, 1);
    sad.allocate();
    sad.allocate();
    const slot = sad.offset(0) >>> 2;
    sad.words[slot + (at.flags >>> 2)] = SaFlag.inbound;
    sad.words[slot + (at.replayWindow >>> 2)] = WINDOW;
    sad.words[slot + (at.replayMask >>> 2)] = replayMask(WINDOW);
    sad.words[slot + (at.ringAt >>> 2)] = slot + (at.ring >>> 2);
    await use(sad, path);
    sad.close();
  } finally {
    for (const child of children) child.kill("SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  }
}

test("two processes that offer the same numbers get each of them accepted exactly once", async () => {
  await withSad(async (sad, path) => {
    const steps = 1000;
    const counts = await Promise.all([0, 1].map((worker) => answer(start(hammer, path, worker, steps, 2))));
    assert.equal(counts[0] + counts[1], (steps * WINDOW) / 4);
    assert.ok(Math.min(...counts) > 0, `one of them accepted nothing: ${counts}`);
    assert.equal(sad.flags(0), SaFlag.inbound, "the lock is free again, and nothing else has changed");
  });
});

test("two processes send on an SA with a limit: together not one packet more, or less, than it allows", async () => {
  await withSad(async (sad, path) => {
    const offset = sad.offset(0);
    const slot = offset >>> 2;
    const [limit, offered] = [500_000, 400_000];
    sad.words[slot + (at.flags >>> 2)] = SaFlag.volumeLimit;
    sad.words[slot + (at.keyLength >>> 2)] = 16;
    sad.words[slot + (at.outerLength >>> 2)] = 20;
    sad.view.setFloat64(offset + at.limits + 5 * 8, limit, true);
    sad.publish(0, SaState.active);
    const counts = await Promise.all([0, 1].map((worker) => answer(start(sender, path, worker, offered))));
    assert.ok(Math.min(...counts) > 0 && Math.max(...counts) <= offered, `${counts}`);
    assert.equal(counts[0] + counts[1], limit);
    const lanes = [0, 1].map((worker) => sad.view.getFloat64(offset + trafficOf(worker), true));
    assert.deepEqual(lanes, counts);
    assert.equal(lastSequence(sad.atomics, slot), BigInt(limit));
    assert.equal(sad.flags(0), SaFlag.volumeLimit | SaFlag.expired);
  });
});

test("the lock of a worker that was killed is taken away from it, and its flags stay", async () => {
  await withSad(async (sad, path) => {
    const word = (sad.offset(0) + at.flags) >>> 2;
    const lock = new SaLock(sad, 3);
    const child = start(holder, path, 0);
    await answer(child);
    assert.notEqual(sad.words[word] & LOCK_BITS, 0);
    child.kill("SIGKILL");
    await once(child, "exit");
    // Nobody has told the SAD: the process itself is looked at.
    assert.equal(sad.workerPid(0), child.pid);
    lock.take(sad.offset(0) >>> 2);
    lock.release(sad.offset(0) >>> 2);
    assert.equal(sad.flags(0), SaFlag.inbound);
  });
});

test("so is that of a worker which lives again, or of whose end the supervisor knows", async () => {
  await withSad(async (sad) => {
    const slot = sad.offset(0) >>> 2;
    sad.announceWorker(0, process.pid);
    const other = new SaLock(sad, 1);
    new SaLock(sad, 0).take(slot);
    sad.beginLife(0);
    other.take(slot);
    other.release(slot);
    new SaLock(sad, 0).take(slot);
    sad.announceWorker(0, 0);
    other.take(slot);
    other.release(slot);
    assert.equal(sad.flags(0), SaFlag.inbound);
  });
});

test("a worker that is alive keeps its lock until it releases it", async () => {
  await withSad(async (sad, path) => {
    const slot = sad.offset(0) >>> 2;
    sad.announceWorker(5, process.pid);
    const lock = new SaLock(sad, 5);
    lock.take(slot);
    const child = start(holder, path, 0);
    let taken = false;
    const told = answer(child).then(() => {
      taken = true;
    });
    while (sad.workerPid(0) === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.equal(taken, false);
    lock.release(slot);
    await told;
  });
});
