// ESP in UDP that leaves in trains, from end to end, and over a real veth pair: to a packet port that gets them whole, to a packet port and an
// XDP port that get what the sender's kernel has cut, and to a packet port whose kernel joins that again.

import assert from "node:assert/strict";
import { test } from "node:test";
import { run, until } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { createLink } from "../src/lab/netns.js";
import { createNetwork, type SitesOptions, startGateways } from "../src/lab/sites.js";
import { Flow, ping, startIperfServer, tcp } from "../src/lab/traffic.js";
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

test("two gateways with the packet driver on both sides: trains all the way, and nothing is lost", async () => {
  await withLab("trains", async (lab) => {
    const network = await createNetwork(lab, 6);
    const { gateways, hosts, sides, wan } = network;
    const offloads = ["tx", "gso", "tso", "tx-udp-segmentation"].flatMap((name) => [name, "on"]);
    for (const side of ["a", "b"] as const)
      for (const [namespace, device] of [
        [hosts[side], "lan0"],
        [gateways[side], "lan0"],
        [gateways[side], "wan0"],
        [wan, `to-${side}`],
      ])
        await run("ethtool", ["-K", device, ...offloads], { namespace });
    const options: SitesOptions = {
      family: 6,
      systems: { a: "vita", b: "vita" },
      preSharedKey: "all aboard",
      connectionExtra: ["encap = yes"],
      vita: (usual) => ({
        ...usual,
        "public-interface": [{ name: "wan0", driver: "packet" }],
        "private-interface": [{ name: "lan0", driver: "packet" }],
      }),
    };
    const { a, b } = await startGateways(lab, network, options);
    await a.charon.initiate();
    await startIperfServer(lab, hosts.b);
    // Whoever asks before the tunnel carries both ways may be told that there is no route.
    const carries = async () => (await ping(hosts.a, sides.b.host, 1, 0.1)).received === 1;
    await until("the tunnel to carry packets", carries, 5000);
    const route = { from: hosts.a, to: hosts.b, address: sides.b.host };
    const flow = await Flow.start(lab, { name: "flow", ...route, port: 9999, rate: 1000 });
    assert.ok((await tcp(hosts.a, sides.b.host, { seconds: 1 })) > 1e6);
    const { sent, received, damaged, duplicates } = await flow.stop();
    assert.ok(sent > 500);
    assert.deepEqual({ received, damaged, duplicates }, { received: sent, damaged: 0, duplicates: 0 });
    for (const [gateway, names] of [
      [a, ["lan0.rx.joined", "wan0.tx.joined"]],
      [b, ["wan0.rx.joined", "lan0.tx.joined"]],
    ] as const) {
      const counters = gateway.vita?.state().counters ?? {};
      for (const name of names) assert.ok(counters[name] > 0, `${gateway.node}: ${name}`);
      for (const device of ["wan0", "lan0"])
        for (const name of ["tx.parted", "drop.malformed", "drop.oversize", "drop.tx_refused"])
          assert.equal(counters[`${device}.${name}`] ?? 0, 0, `${gateway.node}: ${device}.${name}`);
    }
  });
});
