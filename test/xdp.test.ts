// The XDP port over veth pairs in namespaces of the test's own.

import assert from "node:assert/strict";
import { test } from "node:test";
import { withLab } from "../src/lab/lab.js";
import { createLink } from "../src/lab/netns.js";
import { runInside } from "./ports/child.js";

interface LoopResult {
  sent: number;
  got: number;
  wrong: number;
  nsPerPacket: number;
  mode: string;
  zeroCopy: boolean;
  capacity: number;
  available: number;
  inFlight: number;
  counters: Record<string, number>;
}

for (const [mode, packets, size] of [
  ["native", 1_000_000, 60],
  ["generic", 100_000, 1514],
] as const) {
  test(`${mode} mode: ${packets} packets of ${size} bytes arrive in order, and no frame is lost`, async (t) => {
    await withLab("xdp", async (lab) => {
      const namespace = await lab.namespace("loop");
      await createLink({ namespace, device: "x0" }, { namespace, device: "x1" });
      const result = await runInside<LoopResult>(namespace, "xdp-loop", [`${packets}`, mode, `${size}`]);
      t.diagnostic(`${result.nsPerPacket} ns a packet, sent and received`);
      assert.equal(result.mode, mode);
      assert.equal(result.zeroCopy, false);
      assert.equal(result.got, packets, JSON.stringify(result.counters));
      assert.equal(result.wrong, 0);
      assert.equal(result.available + result.inFlight, result.capacity);
      assert.equal(result.counters["x0.tx.packets"], packets);
      assert.equal(result.counters["x1.rx.packets"], packets);
      assert.equal(result.counters["x1.rx.bytes"], packets * size);
    });
  });
}
