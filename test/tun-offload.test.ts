// TUN with segmentation and coalescing, judged by the kernel on the other side of it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { withLab } from "../src/lab/lab.js";
import { runInside } from "./ports/child.js";

interface Compared {
  expected: number;
  got: number;
  same: number;
}

interface OffloadResult {
  forwarding: { cut: Compared; kernel: Compared };
  forwardingCounters: Record<string, number>;
  faults: number;
  streams: boolean[];
  lengths: number[];
  datagramReads: number;
  counters: Record<string, number>;
  lost: number;
}

test("the kernel cuts what was joined here, and takes what was cut here", async () => {
  await withLab("offload", async (lab) => {
    const namespace = await lab.namespace("host");
    const result = await runInside<OffloadResult>(namespace, "tun-offload");
    const all = { expected: 180, got: 180, same: 180 };
    assert.deepEqual(result.forwarding, { cut: all, kernel: all });
    assert.ok(result.forwardingCounters["in0.tx.joined"] >= 36, "twelve flows, three batches");
    assert.equal(result.faults, 0);
    assert.deepEqual(result.streams, [true, true]);
    assert.deepEqual(result.lengths, [...new Array<number>(30).fill(1000), 500]);
    // Linux before 6.2 cuts UDP by itself.
    assert.ok(result.datagramReads <= 1);
    const { counters } = result;
    assert.ok(counters["echo0.rx.joined"] > 100 && counters["echo0.tx.joined"] > 50);
    for (const device of ["in0", "cut0", "echo0"])
      for (const name of ["drop.oversize", "drop.malformed", "drop.tx_refused", "tx.parted"])
        assert.equal(counters[`${device}.${name}`], undefined, `${device}.${name}`);
    assert.equal(result.lost, 0, "frames that nobody has");
  });
});
