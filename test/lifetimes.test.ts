// Lifetimes that charon gave, kept by Vita: rekeys by time and by packets under traffic, without a packet lost, and SAs
// that are made anew after a hard limit.

import assert from "node:assert/strict";
import { test } from "node:test";
import { sleep, until } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { createNetwork, startGateway } from "../src/lab/sites.js";
import { Flow, ping } from "../src/lab/traffic.js";

const cases = [
  { name: "rekey_time", childExtra: ["rekey_time = 3s", "life_time = 60s", "rand_time = 0s"] },
  {
    name: "rekey_packets",
    childExtra: ["rekey_time = 0", "life_time = 0", "rekey_packets = 3000", "rand_packets = 0"],
  },
  {
    name: "rekey_bytes",
    childExtra: ["rekey_time = 0", "life_time = 0", "rekey_bytes = 400000", "rand_bytes = 0"],
  },
];

for (const { name, childExtra } of cases)
  test(`${name}: rekeyed under 1,000 packets a second, none lost`, async () => {
    await withLab("lifetimes", async (lab) => {
      const network = await createNetwork(lab, 4);
      const options = {
        family: 4 as const,
        systems: { a: "vita", b: "vita" } as const,
        preSharedKey: "nothing lasts",
        childExtra,
      };
      const a = await startGateway(lab, network, "a", options);
      await startGateway(lab, network, "b", options);
      await a.charon.initiate();
      await ping(network.hosts.a, network.sides.b.host, 3, 0.1);
      const first = await a.charon.installed();
      const flow = await Flow.start(lab, {
        name: "flow",
        from: network.hosts.a,
        to: network.hosts.b,
        address: network.sides.b.host,
        port: 7000,
        rate: 1000,
      });
      await until(
        "a rekey by itself",
        async () => {
          const now = await a.charon.installed();
          return now !== undefined && now.uniqueId !== first?.uniqueId;
        },
        15_000,
      );
      await sleep(3000);
      const totals = await flow.stop();
      assert.ok(totals.sent > 3000);
      assert.equal(totals.received, totals.sent, `${totals.sent - totals.received} datagrams were lost`);
      assert.equal(totals.duplicates, 0);
    });
  });

test("life_time: an SA at its hard limit is replaced, and traffic goes on", async () => {
  await withLab("lifetimes", async (lab) => {
    const network = await createNetwork(lab, 4);
    const options = {
      family: 4 as const,
      systems: { a: "vita", b: "vita" } as const,
      preSharedKey: "nothing lasts",
      childExtra: ["rekey_time = 0", "life_time = 3s", "rand_time = 0s"],
    };
    const a = await startGateway(lab, network, "a", options);
    await startGateway(lab, network, "b", options);
    await a.charon.initiate();
    const first = await a.charon.installed();
    await until(
      "a new CHILD_SA",
      async () => {
        const now = await a.charon.installed();
        return now !== undefined && now.uniqueId !== first?.uniqueId;
      },
      15_000,
    );
    const counted = await ping(network.hosts.a, network.sides.b.host, 5, 0.05);
    assert.ok(counted.received >= 4, `${counted.received} of 5 pings came back`);
  });
});
