// What SAs and policies leave behind when they are gone: nothing, in the SAD, in the SPD, in the supervisor's heap and in the
// worker's.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { NodeEngine } from "./aead-node.js";
import { Lifetimes } from "./lifetimes.js";
import { PseudoKernel } from "./pseudo-kernel.js";
import { Sad } from "./sad.js";
import { Spd } from "./spd.js";
import { SpdIndex } from "./spd-index.js";
import { policyRequest, saId, saRequest } from "./testing/requests.js";

const CHILDREN = 1000;
const session = 7n;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

test("five rounds of a thousand CHILD_SAs leave nothing, whatever the SAs are like", () => {
  const directory = mkdtempSync("/dev/shm/vita-growth-");
  const sad = Sad.create(join(directory, "sad"), 3 * CHILDREN, NodeEngine.id);
  const spd = Spd.create(join(directory, "spd"), 2 * CHILDREN);
  try {
    const now = () => 1000;
    const lifetimes = new Lifetimes(sad, now, () => true);
    const kernel = new PseudoKernel({
      sad,
      spd,
      engine: new NodeEngine(sad),
      now,
      saChanged: (slot, present) => (present ? lifetimes.watch(slot) : lifetimes.forget(slot)),
    });
    const index = new SpdIndex(spd);
    const limit = { rekey: 100n, life: 200n };
    const remote = (i: number) => `172.16.${i >> 6}.${(i & 63) * 4}/30`;
    const out = (i: number) =>
      policyRequest({ to: remote(i), reqid: i + 1, espSpi: 0x1000 + i, direction: 1 });
    const ok = ({ status, reason }: { status: number; reason?: string }) => assert.equal(status, 0, reason);
    const heap: number[] = [];
    const used: number[] = [];
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < CHILDREN; i++) {
        const lifetime = { time: limit, bytes: limit, packets: limit };
        // Every second inbound SA has a window that needs an extension.
        const replayWindow = i % 2 === 0 ? 32 : 4096;
        const common = { reqid: i + 1, lifetime, replayWindow };
        ok(kernel.addSa(saRequest({ spi: 0x1000 + i, ...common }), session));
        ok(kernel.addSa(saRequest({ spi: 0x80001000 + i, inbound: true, ...common }), session));
        ok(kernel.addPolicy(out(i), session));
        index.refresh();
      }
      for (let i = 0; i < CHILDREN; i++) {
        ok(kernel.deletePolicy(out(i)));
        ok(kernel.deleteSa(saId(0x1000 + i)));
        ok(kernel.deleteSa(saId(0x80001000 + i)));
        index.refresh();
      }
      assert.equal(sad.reclaim(), 0);
      assert.equal(sad.available, sad.slotCount, "a slot is lost");
      collect();
      heap.push(process.memoryUsage().heapUsed);
      used.push(sad.used, spd.used);
    }
    assert.ok(used.every((count) => count <= 2.5 * CHILDREN));
    assert.equal(used.at(-1), used[1], "the SPD grows");
    assert.equal(used.at(-2), used[0], "the SAD grows");
    const growth = heap[4] - heap[1];
    assert.ok(growth < 150_000, `${growth} bytes more after three more rounds: ${heap}`);
  } finally {
    sad.close();
    spd.close();
    rmSync(directory, { recursive: true, force: true });
  }
});

/** What `test/scale.test.ts` finds in the shared files for each SA, and in the worker's arrays that are there from the start. */
const SHARED_BYTES = 2700;
const ARRAY_BYTES = 200;

test("what supervisor and worker keep of an SA fits into 4 KiB, with the shared files", (t) => {
  const children = 5000;
  const directory = mkdtempSync("/dev/shm/vita-growth-");
  const sad = Sad.create(join(directory, "sad"), 2 * children + 16, NodeEngine.id);
  const spd = Spd.create(join(directory, "spd"), 3 * children + 16);
  try {
    const lifetimes = new Lifetimes(
      sad,
      () => 1000,
      () => true,
    );
    const kernel = new PseudoKernel({
      sad,
      spd,
      engine: new NodeEngine(sad),
      now: () => 1000,
      saChanged: (slot, present) => (present ? lifetimes.watch(slot) : lifetimes.forget(slot)),
    });
    const index = new SpdIndex(spd);
    const taken = () => {
      collect();
      const { heapUsed, arrayBuffers } = process.memoryUsage();
      return heapUsed + arrayBuffers;
    };
    const before = taken();
    for (let i = 0; i < children; i++) {
      const reqid = i + 1;
      assert.equal(kernel.addSa(saRequest({ spi: 0x1000 + i, reqid }), session).status, 0);
      assert.equal(kernel.addSa(saRequest({ spi: 0x80001000 + i, inbound: true, reqid }), session).status, 0);
      for (const direction of [0, 1, 2]) {
        const far = `172.16.${i >> 6}.${(i & 63) * 4}/30`;
        const ends = direction === 1 ? { to: far } : { from: far, to: "10.1.0.0/16" };
        const espSpi = direction === 1 ? 0x1000 + i : 0x80001000 + i;
        assert.equal(
          kernel.addPolicy(policyRequest({ ...ends, reqid, espSpi, direction }), session).status,
          0,
        );
      }
      index.refresh();
    }
    const each = (taken() - before) / (2 * children);
    t.diagnostic(`${Math.round(each)} bytes of the processes' heaps an SA`);
    assert.ok(each > 0 && each + SHARED_BYTES + ARRAY_BYTES <= 4096, `${each} bytes`);
    // Until here nothing of it may be collected.
    assert.equal(kernel.querySa(saId(0x1000)).status, 0);
    assert.notEqual(index.changes, 0);
  } finally {
    sad.close();
    spd.close();
    rmSync(directory, { recursive: true, force: true });
  }
});
