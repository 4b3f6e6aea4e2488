// The routes that lead this host's own traffic into its tunnels.

import assert from "node:assert/strict";
import { test } from "node:test";
import { run } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { runInside } from "./ports/child.js";

interface Result {
  all: string[];
  still: string[];
  none: string[];
  count: number;
  left: number;
  milliseconds: number;
  warnings: string[];
}

test("routes come and go with the policies, at once, also two thousand of them", async (t) => {
  await withLab("routes", async (lab) => {
    const namespace = await lab.namespace("host");
    const ip = (...args: string[]) => run("ip", ["-n", namespace, ...args]);
    await ip("link", "add", "lan0", "type", "veth", "peer", "name", "lan1");
    await ip("address", "add", "10.9.0.1/24", "dev", "lan0");
    for (const device of ["lan0", "lan1"]) await ip("link", "set", device, "up");
    const result = await runInside<Result>(namespace, "tun-routes");
    assert.deepEqual(result.warnings, []);
    assert.deepEqual(result.all, [
      "default dev vita9 scope link src 10.9.0.1",
      "10.2.0.0/16 dev vita9 scope link src 10.9.0.1",
      // The far end is reached outside of the tunnel that covers it.
      "throw 192.0.2.2",
      "2001:db8:1::/48 dev vita9",
    ]);
    assert.deepEqual(result.still, ["10.2.0.0/16 dev vita9 scope link src 10.9.0.1"], "it is wanted twice");
    assert.deepEqual(result.none, []);
    assert.equal(result.count, 2000);
    assert.equal(result.left, 0);
    t.diagnostic(`2000 routes in ${Math.round(result.milliseconds)} ms`);
  });
});
