// The TUN port: the kernel's pings go in, their answers come out.

import assert from "node:assert/strict";
import { test } from "node:test";
import { withLab } from "../src/lab/lab.js";
import { runInside } from "./ports/child.js";

interface EchoResult {
  received: number[];
  invalid: number;
  heldBySpare: number;
  available: number;
  capacity: number;
  persists: boolean;
  gone: boolean;
  foreign: string;
  counters: Record<string, number>;
}

test("a TUN device answers pings, persists, and is told from other devices", async () => {
  await withLab("tun", async (lab) => {
    const namespace = await lab.namespace("host");
    const result = await runInside<EchoResult>(namespace, "tun-echo", ["vita9"]);
    assert.deepEqual(result.received, [200, 200]);
    assert.equal(result.invalid, 0);
    assert.ok(result.heldBySpare <= 1);
    assert.equal(result.available, result.capacity);
    assert.equal(result.persists, true);
    assert.equal(result.gone, true);
    assert.match(result.foreign, /veth0 exists and is not a TUN device \(its driver is veth\)/);
    assert.equal(result.counters["tun.drop.tx_refused"], 2);
    assert.equal(result.counters["tun.tx.packets"], 400);
  });
});
