// A hub and two spokes, each with a charon and a network: from spoke to spoke through the hub, where packets come out of one
// tunnel and go into another, and from both to the hub's own network. The hub has two workers, and the second spoke's tunnel
// is a trap there, which the first packet from the other spoke springs.
//
//   host-a ── gw-a ──┐        ┌── gw-c ── host-c
//                    └─ gw-b ─┘
//                         └── host-b

import assert from "node:assert/strict";
import { test } from "node:test";
import { Eavesdropper } from "../src/demo/eavesdropper.js";
import { Charon } from "../src/lab/charon.js";
import { run, sleep } from "../src/lab/command.js";
import { type Lab, withLab } from "../src/lab/lab.js";
import { addRoute, createLink } from "../src/lab/netns.js";
import { type Addresses, createNetwork, ikeProposals, type Network, startGateway } from "../src/lab/sites.js";
import { connectionSection, swanctlFile } from "../src/lab/swanctl.js";
import { Flow, ping } from "../src/lab/traffic.js";
import { Vita } from "../src/lab/vita.js";

const c: Addresses = { host: "10.3.0.2", gateway: "10.3.0.1", lan: "10.3.0.0/24", wan: "192.0.2.3" };
const secret = "spokes of one wheel";

/** A gateway, and the networks that its end of a tunnel is for. */
type End = [Addresses, string[]];

/** A connection between two gateways, as the first one sees it. */
function connection(name: string, [from, local]: End, [to, remote]: End, extra: string[] = []): string {
  return connectionSection({
    name,
    local: { address: from.wan, id: from.wan },
    remote: { address: to.wan, id: to.wan },
    proposals: ikeProposals,
    lines: ["rekey_time = 0", "mobike = no"],
    children: {
      [name]: [
        `local_ts = ${local.join(",")}`,
        `remote_ts = ${remote.join(",")}`,
        "esp_proposals = aes128gcm16-x25519-esn",
        "rekey_time = 0",
        "replay_window = 1024",
        ...extra,
      ],
    },
  });
}
async function addSpoke(lab: Lab, { wan }: Network): Promise<{ gateway: string; host: string }> {
  const gateway = await lab.namespace("gw-c");
  const host = await lab.namespace("host-c");
  await createLink(
    { namespace: host, device: "lan0", addresses: [`${c.host}/24`] },
    { namespace: gateway, device: "lan0", addresses: [`${c.gateway}/24`] },
  );
  await createLink(
    { namespace: gateway, device: "wan0", addresses: [`${c.wan}/24`] },
    { namespace: wan, device: "to-c" },
  );
  await run("ip", ["-n", wan, "link", "set", "to-c", "master", "switch"]);
  await addRoute(host, "default", c.gateway);
  return { gateway, host };
}

test("a hub and two spokes: all of them reach each other, and nothing crosses the WAN in the clear", async () => {
  await withLab("hub", async (lab) => {
    const network = await createNetwork(lab, 4);
    const { a, b } = network.sides;
    const spoke = await addSpoke(lab, network);
    // All that there is passes the hub's port.
    const eavesdropper = await Eavesdropper.start(lab, { ...network, wanPort: "to-b" });

    const toA: [End, End] = [
      [b, [b.lan, c.lan]],
      [a, [a.lan]],
    ];
    const toC: [End, End] = [
      [b, [b.lan, a.lan]],
      [c, [c.lan]],
    ];
    const conf = (...connections: string[]) => swanctlFile(connections, secret);
    const options = {
      family: 4 as const,
      systems: { a: "vita" as const, b: "vita" as const },
      preSharedKey: secret,
      swanctl: {
        a: conf(connection("hub", toA[1], toA[0])),
        b: conf(connection("a", ...toA), connection("c", ...toC, ["start_action = trap"])),
      },
    };
    const hub = await startGateway(lab, network, "b", {
      ...options,
      vita: (usual) => ({ ...usual, workers: 2 }),
    });
    const gatewayA = await startGateway(lab, network, "a", options);
    const vita = await Vita.start(lab, spoke.gateway, {
      node: "gw-c",
      "public-interface": [{ name: "wan0" }],
      "private-interface": [{ name: "lan0" }],
    });
    await Charon.start(lab, {
      name: "gw-c",
      namespace: spoke.gateway,
      system: "vita",
      vitaSocket: vita.charonSocket,
      connection: conf(connection("hub", toC[1], toC[0])),
    });
    await gatewayA.charon.initiate(15, "hub");

    const hosts = { a: network.hosts.a, b: network.hosts.b, c: spoke.host };
    const addresses = { a: a.host, b: b.host, c: c.host };
    const ways = [
      ["a", "c"],
      ["c", "a"],
      ["a", "b"],
      ["b", "c"],
    ] as const;
    for (const [from, to] of ways)
      assert.deepEqual(
        await ping(hosts[from], addresses[to], 3, 0.05),
        { sent: 3, received: 3 },
        `${from} to ${to}`,
      );

    const flows = await Promise.all(
      ways.map(async ([from, to], i) => ({
        name: `${from} to ${to}`,
        flow: await Flow.start(lab, {
          name: `${from}-${to}`,
          from: hosts[from],
          to: hosts[to],
          address: addresses[to],
          port: 7000 + i,
          rate: 300,
        }),
      })),
    );
    await sleep(1000);
    for (const { name, flow } of flows) {
      const { sent, ...rest } = await flow.stop();
      assert.ok(sent > 100, name);
      const nothing = { refused: 0, duplicates: 0, damaged: 0, late: 0, missing: 0 };
      assert.deepEqual(rest, { received: sent, ...nothing }, name);
    }

    // Where a packet's life ends is on the hub, which says so through the tunnel.
    const { stdout } = await run("ping", ["-n", "-c", "1", "-W", "1", "-t", "2", c.host], {
      namespace: hosts.a,
      tolerate: true,
    });
    assert.match(stdout, new RegExp(`From ${b.gateway}.*Time to live exceeded`));

    const { counters } = hub.vita!.state();
    assert.ok(counters["route.onward"] > 500);
    assert.ok(counters["hold.released"] > 0);
    for (const { vita: each } of [hub, gatewayA, { vita }])
      for (const [name, count] of Object.entries(each!.drops()))
        assert.ok(name === "route.drop.ttl", `${each!.node}: ${name} ${count}`);
    const { clearText, problems } = await eavesdropper.stop();
    assert.deepEqual({ clearText, problems }, { clearText: 0, problems: [] });
  });
});
