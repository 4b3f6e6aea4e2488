// Customers with the same networks at both ends of one pair of gateways: red and green are told apart by interface ids, blue
// by a mark. All of them send at once, from the same addresses to the same addresses, and every datagram is counted.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Capture } from "../src/lab/capture.js";
import { sleep } from "../src/lab/command.js";
import type { Lab } from "../src/lab/lab.js";
import { withLab } from "../src/lab/lab.js";
import {
  createNetwork,
  type Gateway,
  ikeProposals,
  type Network,
  otherSide,
  type Side,
  startGateways,
} from "../src/lab/sites.js";
import { connectionSection, swanctlFile } from "../src/lab/swanctl.js";
import { Flow, ping } from "../src/lab/traffic.js";
import type { VitaConfiguration } from "../src/lab/vita.js";
import { addCustomer } from "../src/lab/vlan.js";

const names = ["red", "green", "blue"] as const;
type Name = (typeof names)[number];
const ids: Record<Name, number> = { red: 100, green: 200, blue: 300 };
const bindings: Record<Name, object> = { red: { "if-id": 1 }, green: { "if-id": "0x2" }, blue: { mark: 1 } };
const inside: Record<Side, { host: string; gateway: string }> = {
  a: { host: "10.50.0.2", gateway: "10.50.0.1" },
  b: { host: "10.60.0.2", gateway: "10.60.0.1" },
};
const wan: Record<Side, string> = { a: "192.0.2.1", b: "192.0.2.2" };
const secret = "each to his own";

/** swanctl.conf of a side: a connection for each customer, and one for the LANs, which are bound to nothing. */
function swanctl(side: Side, extra: Record<Name, readonly string[]>): string {
  const connection = (name: string, local: string, remote: string, child: readonly string[]) =>
    connectionSection({
      name,
      local: { address: wan[side], id: `${name}-${side}` },
      remote: { address: wan[otherSide[side]], id: `${name}-${otherSide[side]}` },
      proposals: ikeProposals,
      lines: ["rekey_time = 0", "mobike = no"],
      children: {
        [name]: [
          `local_ts = ${local}`,
          `remote_ts = ${remote}`,
          "esp_proposals = aes128gcm16-x25519-esn",
          "rekey_time = 0",
          ...child,
        ],
      },
    });
  const lans = { a: "10.1.0.0/24", b: "10.2.0.0/24" };
  return swanctlFile(
    [
      ...names.map((name) => connection(name, "0.0.0.0/0", "0.0.0.0/0", extra[name])),
      connection("plain", lans[side], lans[otherSide[side]], []),
    ],
    secret,
  );
}

interface Customers {
  lab: Lab;
  network: Network;
  gateways: Record<Side, Gateway>;
  hosts: Record<Name, Record<Side, string>>;
}

async function withCustomers(use: (customers: Customers) => Promise<void>): Promise<void> {
  await withLab("customers", async (lab) => {
    const network = await createNetwork(lab, 4);
    const hosts = {} as Customers["hosts"];
    for (const name of names) {
      hosts[name] = { a: await lab.namespace(`${name}-a`), b: await lab.namespace(`${name}-b`) };
      for (const side of ["a", "b"] as const) {
        const end = (namespace: string, address: string) => ({ namespace, device: "lan0", address });
        const { host, gateway } = network.sides[side];
        await addCustomer(
          { near: end(network.gateways[side], gateway), far: end(network.hosts[side], host) },
          ids[name],
          {
            namespace: hosts[name][side],
            address: `${inside[side].host}/24`,
            gateway: inside[side].gateway,
          },
        );
      }
    }
    const fixed = {
      red: ["if_id_in = 1", "if_id_out = 1"],
      green: ["if_id_in = 2", "if_id_out = 2"],
      blue: ["mark_in = 1", "mark_out = 1"],
    };
    const gateways = await startGateways(lab, network, {
      family: 4,
      systems: { a: "vita", b: "vita" },
      preSharedKey: secret,
      swanctl: { a: swanctl("a", fixed), b: swanctl("b", fixed) },
      vita: (usual, side): VitaConfiguration => ({
        ...usual,
        "private-interface": [
          { name: "lan0", driver: "xdp" },
          // One end takes packets from the devices with XDP, the other with packet sockets.
          ...names.map((name) => ({
            name: `lan0.${ids[name]}`,
            driver: side === "a" ? ("xdp" as const) : ("packet" as const),
            ...bindings[name],
          })),
        ],
      }),
    });
    await use({ lab, network, gateways, hosts });
  });
}

/** Every customer sends both ways at once; what arrives is what was sent, and nobody sees a packet of somebody else. */
async function sendAll({ lab, gateways, hosts }: Customers, round: string): Promise<void> {
  const port = (name: Name) => 7000 + ids[name];
  const before = { a: gateways.a.vita!.drops(), b: gateways.b.vita!.drops() };
  const captures = await Promise.all(
    names.flatMap((name) =>
      (["a", "b"] as const).map((side) =>
        Capture.start(lab, {
          name: `${round}-foreign-${name}-${side}`,
          namespace: hosts[name][side],
          device: "lan0",
          filter: names
            .filter((foreign) => foreign !== name)
            .map((foreign) => `udp port ${port(foreign)}`)
            .join(" or "),
        }),
      ),
    ),
  );
  const flows = await Promise.all(
    names.flatMap((name) =>
      (["a", "b"] as const).map(async (side) => ({
        title: `${round}: ${name}, from ${side}`,
        flow: await Flow.start(lab, {
          name: `${round}-${name}-${side}`,
          from: hosts[name][side],
          to: hosts[name][otherSide[side]],
          address: inside[otherSide[side]].host,
          port: port(name),
          rate: 150,
        }),
      })),
    ),
  );
  await sleep(1500);
  const totals = await Promise.all(flows.map(async ({ title, flow }) => ({ title, ...(await flow.stop()) })));
  for (const { title, sent, received, duplicates } of totals) {
    assert.ok(sent > 100, `${title}: ${sent} sent`);
    assert.equal(received, sent, `${title}: ${sent - received} of ${sent} were lost`);
    assert.equal(duplicates, 0, title);
  }
  for (const capture of captures) {
    await capture.stop();
    assert.equal(capture.count, 0, `${capture.file}: packets of another customer`);
  }
  for (const side of ["a", "b"] as const)
    for (const [name, count] of Object.entries(gateways[side].vita!.drops()))
      if (/\.drop\.(full|no_domain|no_policy|no_route|no_sa|selectors|unresolved)$/.test(name))
        assert.equal(count, before[side][name] ?? 0, `gateway ${side}: ${name}`);
}

async function initiate({ gateways }: Customers): Promise<void> {
  // In this order: %unique counts.
  for (const name of names) await gateways.a.charon.initiate(15, name);
}

test("customers with the same networks, told apart by interface ids and marks", async () => {
  await withCustomers(async (customers) => {
    const { gateways, hosts, network } = customers;
    // Before there is an SA nothing passes, and nothing finds its way into the network next door.
    assert.equal((await ping(hosts.red.a, inside.b.host, 1, 0.1)).received, 0);
    assert.ok((gateways.a.vita!.drops()["protect.drop.no_policy"] ?? 0) > 0);
    await initiate(customers);
    await gateways.a.charon.initiate(15, "plain");
    for (const name of names)
      assert.equal((await ping(hosts[name].a, inside.b.host, 3, 0.1)).received, 3, name);
    assert.equal((await ping(network.hosts.a, network.sides.b.host, 3, 0.1)).received, 3, "the LANs");

    const { sas, policies } = gateways.a.vita!.state();
    const both = (what: "ifId" | "mark", value: unknown) => [
      sas.filter((sa) => sa[what] === value).length,
      policies.filter((p) => p[what] === value).length,
    ];
    assert.deepEqual(both("ifId", 1), [2, 3]);
    assert.deepEqual(both("ifId", 2), [2, 3]);
    assert.deepEqual(both("mark", "0x1/0xffffffff"), [2, 3]);
    await sendAll(customers, "fixed");

    // The same with numbers that charon draws: the first ones, which the interfaces are bound to.
    for (const name of names) await gateways.a.charon.swanctl("--terminate", ["--ike", name]);
    assert.equal((await ping(hosts.blue.b, inside.a.host, 1, 0.1)).received, 0);
    const unique = {
      red: ["if_id_in = %unique", "if_id_out = %unique"],
      green: ["if_id_in = %unique", "if_id_out = %unique"],
      blue: ["mark_in = %unique", "mark_out = %unique", "mark_in_sa = yes"],
    };
    for (const side of ["a", "b"] as const) await gateways[side].charon.load(swanctl(side, unique));
    await initiate(customers);
    await sendAll(customers, "unique");
  });
});
