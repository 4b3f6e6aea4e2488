// ESP in UDP that leaves in trains, over a real veth pair: to a packet port that gets them whole, to a packet port and an
// XDP port that get what the sender's kernel has cut, and to a packet port whose kernel joins that again.

import assert from "node:assert/strict";
import { test } from "node:test";
import { run } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { createLink } from "../src/lab/netns.js";
import { runInside } from "./ports/child.js";

interface TrainsResult {
  sent: number;
  got: number;
  changed: number;
  faults: number;
  inOrder: boolean;
  lost: number;
  counters: Record<string, number>;
}

test("trains of ESP in UDP arrive as the packets that they were made of", async (t) => {
  await withLab("trains", async (lab) => {
    const namespace = await lab.namespace("loop");
    await createLink({ namespace, device: "x0" }, { namespace, device: "x1" }, { offloads: true });
    const check = async (name: string, port: "packet" | "xdp", arrivesWhole: boolean) => {
      await t.test(name, async () => {
        const { counters, ...rest } = await runInside<TrainsResult>(namespace, "esp-trains", [port]);
        const { sent } = rest;
        assert.deepEqual(
          rest,
          { sent, got: sent, changed: 0, faults: 0, inOrder: true, lost: 0 },
          JSON.stringify(counters),
        );
        assert.equal(counters["x0.tx.packets"], sent);
        assert.equal(counters["x0.tx.parted"], undefined);
        // Packets of three SAs, of which each tenth ends a train.
        assert.ok(counters["x0.tx.joined"] > 20 && counters["x0.tx.joined"] < sent / 3);
        assert.equal((counters["x1.rx.joined"] ?? 0) > 0, arrivesWhole);
      });
    };
    await check("whole", "packet", true);
    for (const device of ["x0", "x1"])
      await run("ethtool", ["-K", device, "tx", "off", "tso", "off", "gso", "off"], { namespace });
    await check("cut by the kernel", "packet", false);
    await check("cut by the kernel, for XDP", "xdp", false);
    await run("ethtool", ["-K", "x1", "gro", "on", "rx-udp-gro-forwarding", "on"], { namespace });
    await check("cut by the kernel, and joined again by the receiver's (GRO)", "packet", true);
  });
});
