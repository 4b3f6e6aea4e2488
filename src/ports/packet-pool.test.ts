// Two workers on one queue, with rings in memory and a kernel that is played here, of whom one after the other is killed in the
// middle of what it does: before and after every store that matters. No frame may ever be lost, or be in two places.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { Link } from "../engine/link.js";
import { FRAME_SHIFT, FRAME_SIZE, Frames, HEADROOM } from "../memory/frames.js";
import { openSharedRegion } from "../memory/region.js";
import { PacketPool, portsFile } from "./packet-pool.js";
import { XdpQueue, xdpCounters } from "./xdp-queue.js";
import type { XdpSocket } from "./xdp-socket.js";

const WORKERS = 2;
const HOME = 128;
const CAPACITY = WORKERS * HOME;
const RING = 64;
const LEVEL = 48;
const GIFT = 0x80;
const PID_WORD = portsFile.at.pid >>> 2;

class Ring {
  readonly size = RING;
  readonly mask = RING - 1;
  readonly producer = new Int32Array(1);
  readonly consumer = new Int32Array(1);
  readonly flags = new Int32Array(1);
  readonly words: Int32Array;
  readonly needsWakeup = false;
  constructor(readonly wordsEach: number) {
    this.words = new Int32Array(RING * wordsEach);
  }
  get pending(): number {
    return (this.producer[0] - this.consumer[0]) | 0;
  }
  /** Frames that stand in it. */
  get frames(): number[] {
    return Array.from({ length: this.pending }, (_, i) => this.#at(this.consumer[0] + i) >>> FRAME_SHIFT);
  }
  #at(index: number): number {
    return this.words[(index & this.mask) * this.wordsEach];
  }
  take(): number {
    return this.#at(this.consumer[0]++) >>> FRAME_SHIFT;
  }
  put(frame: number, length: number): void {
    const at = (this.producer[0] & this.mask) * this.wordsEach;
    this.words[at] = (frame << FRAME_SHIFT) + HEADROOM;
    if (this.wordsEach === 4) this.words[at + 2] = length;
    this.producer[0]++;
  }
}

class Killed extends Error {}

/** Steps until the worker that is at work is killed; never, while it is Infinity. */
let stepsLeft = Number.POSITIVE_INFINITY;

function step(): void {
  if (--stepsLeft < 0) {
    stepsLeft = Number.POSITIVE_INFINITY;
    throw new Killed();
  }
}

const { store } = Atomics;
Atomics.store = ((array: Int32Array, index: number, value: number) => {
  step();
  store(array, index, value);
  step();
  return value;
}) as typeof Atomics.store;
after(() => {
  Atomics.store = store;
});

/** Frames whose every change is a step. */
class SteppedFrames extends Frames {
  override allocate(): number {
    step();
    return super.allocate();
  }
  override free(frame: number): void {
    super.free(frame);
    step();
  }
}

const directory = mkdtempSync("/dev/shm/vita-pool-");
after(() => rmSync(directory, { recursive: true }));
const path = join(directory, "ports");

class World {
  readonly fill = new Ring(2);
  readonly completion = new Ring(2);
  readonly receive = [new Ring(4), new Ring(4)];
  readonly transmit = [new Ring(4), new Ring(4)];
  readonly region = openSharedRegion(join(directory, "frames"), "create", CAPACITY * FRAME_SIZE);
  readonly workers: { frames: Frames; pool: PacketPool; queue: XdpQueue; inHand: number[] }[] = [];
  #seed: number;

  constructor(seed: number) {
    this.#seed = seed;
    PacketPool.create(path, CAPACITY, WORKERS);
    for (let worker = 0; worker < WORKERS; worker++) this.start(worker);
  }

  random(below: number): number {
    this.#seed = (Math.imul(this.#seed, 1103515245) + 12345) & 0x7fffffff;
    return (this.#seed >>> 8) % below;
  }

  start(worker: number): void {
    const shared = { region: this.region, workers: WORKERS };
    const frames = new SteppedFrames(CAPACITY, shared);
    const pool = PacketPool.open(path, frames, worker);
    pool.begin(join(directory, "lock"), () => true);
    const socket = {
      fd: -1,
      fill: this.fill,
      completion: this.completion,
      receive: this.receive[worker],
      transmit: this.transmit[worker],
    } as unknown as XdpSocket;
    const counters = new Float64Array(Object.keys(xdpCounters).length);
    const queue = new XdpQueue(frames, pool, socket, counters, LEVEL);
    queue.recover();
    pool.end();
    this.workers[worker] = { frames, pool, queue, inHand: [] };
  }

  /** The kernel receives and sends. */
  kernel(receives = true): void {
    for (let i = receives ? this.random(20) : 0; i > 0; i--) {
      const ring = this.receive[this.random(4) === 0 ? 1 : 0];
      if (this.fill.pending > 0 && ring.pending < RING) ring.put(this.fill.take(), 60);
    }
    for (const ring of this.transmit)
      for (let i = this.random(20); i > 0 && ring.pending > 0 && this.completion.pending < RING; i--)
        this.completion.put(ring.take(), 0);
  }

  /** A breath of a worker: takes packets, sends some on, and ends others. */
  breathe(worker: number): void {
    const { frames, queue, inHand } = this.workers[worker];
    const output = { transmit: (frame: number) => inHand.push(frame) } as unknown as Link;
    queue.receive(this.random(40), output);
    while (inHand.length > 0 && this.random(20) > 0) {
      const frame = inHand.pop() as number;
      if (this.random(3) === 0) frames.free(frame);
      else {
        const input = new Link(frames);
        input.transmit(frame);
        queue.send(input);
      }
    }
  }

  /** Where every frame is. @throws when one is nowhere, or twice */
  account(): void {
    const seen = new Map<number, string>();
    const see = (frame: number, where: string) => {
      assert.ok(!seen.has(frame), `frame ${frame}: ${seen.get(frame)}, and ${where}`);
      seen.set(frame, where);
    };
    for (const [name, ring] of Object.entries({ fill: this.fill, completion: this.completion }))
      for (const frame of ring.frames) see(frame, name);
    for (let i = 0; i < WORKERS; i++) {
      for (const frame of this.receive[i].frames) see(frame, `receive ring of ${i}`);
      for (const frame of this.transmit[i].frames) see(frame, `transmit ring of ${i}`);
      const { frames, inHand } = this.workers[i];
      for (const frame of inHand) see(frame, `in the hands of ${i}`);
      const free = Array.from({ length: frames.available }, () => frames.allocate());
      for (const frame of free.reverse()) {
        see(frame, `free with ${i}`);
        frames.free(frame);
      }
    }
    const { holders } = this.workers[0].pool;
    for (let frame = 0; frame < CAPACITY; frame++) if ((holders[frame] & GIFT) !== 0) see(frame, "a gift");
    assert.equal(seen.size, CAPACITY, `${CAPACITY - seen.size} frames are nowhere`);
  }

  close(): void {
    for (const { pool } of this.workers) pool.close();
    this.region.unmap();
    rmSync(path);
    rmSync(join(directory, "frames"));
  }
}

test("a worker that is killed at any step leaves no frame behind, and none twice", () => {
  let killed = 0;
  for (let seed = 1; seed <= 24; seed++) {
    const world = new World(seed);
    for (let round = 0; round < 120; round++) {
      const worker = world.random(WORKERS);
      world.kernel();
      stepsLeft = world.random(150);
      try {
        world.breathe(worker);
        stepsLeft = Number.POSITIVE_INFINITY;
        continue;
      } catch (error) {
        if (!(error instanceof Killed)) throw error;
      }
      killed++;
      // The other one goes on, and may find what was left before the successor does.
      const { pool } = world.workers[worker];
      pool.words[PID_WORD + worker] = 0;
      for (let i = world.random(3) * 600; i > 0; i--) world.workers[1 - worker].queue.serve();
      world.start(worker);
      world.account();
    }
    world.account();
    world.close();
  }
  assert.ok(killed > 500, `only ${killed} were killed`);
});

test("who has more than its share gives it to who has little", () => {
  const world = new World(5);
  for (let round = 0; round < 2000; round++) {
    world.kernel(false);
    // All that is sent is sent by 0, and taken back by 1.
    const { frames, queue } = world.workers[0];
    const input = new Link(frames);
    for (let i = 0; i < 8; i++) {
      const frame = frames.allocate();
      if (frame < 0) break;
      frames.length[frame] = 60;
      input.transmit(frame);
    }
    queue.send(input);
    world.workers[0].pool.balance();
    world.workers[1].queue.serve();
    world.workers[0].pool.balance();
  }
  const { available } = world.workers[0].frames;
  assert.ok(available > 8, `${available} frames are left to the worker that sends`);
  world.account();
  world.close();
});
