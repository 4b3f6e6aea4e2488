// Vitas that are killed and whose SAD is gone: charon's plugin makes charon set everything up again.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { PolicyState } from "../src/gateway/state.js";
import { run, sleep, until } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { addAddress } from "../src/lab/netns.js";
import {
  createNetwork,
  type Gateway,
  ikeProposals,
  otherSide,
  type Side,
  startCharon,
  startGateways,
} from "../src/lab/sites.js";
import { connectionSection, swanctlFile } from "../src/lab/swanctl.js";
import { pingOnce } from "../src/lab/traffic.js";
import {
  activeSas,
  assertAgreement,
  gap,
  loseVita,
  startFlow,
  startVita,
  untilTraffic,
  withSites,
} from "./restart-sites.js";

const esp = "esp_proposals = aes128gcm16-x25519-esn";

/** The connection of a side, with these lines and children. */
function site(side: Side, lines: string[], children: Record<string, string[]>): string {
  const there = otherSide[side];
  const wan = { a: "192.0.2.1", b: "192.0.2.2" };
  return connectionSection({
    name: "site",
    local: { address: wan[side], id: `gw-${side}` },
    remote: { address: wan[there], id: `gw-${there}` },
    proposals: ikeProposals,
    lines: ["rekey_time = 0", ...lines],
    children,
  });
}

/** The tunnel from LAN to LAN, a trap for hosts further away, and shunts. */
function swanctl(side: Side): string {
  const [us, them] = side === "a" ? [1, 2] : [2, 1];
  const ends = (net: string) => [`local_ts = 10.${us}.${net}`, `remote_ts = 10.${them}.${net}`, esp];
  const tunnels = site(side, ["mobike = no"], {
    net: [...ends("0.0/24"), "rekey_time = 0", "life_time = 0"],
    far: [...ends("7.0/24"), "start_action = trap"],
  });
  const shunts = `shunts {
  children {
    let {
      local_ts = 10.${us}.0.0/24
      remote_ts = 203.0.113.0/24
      mode = pass
      start_action = trap
    }
    forbid {
      local_ts = 10.${us}.0.0/24
      remote_ts = 198.51.100.0/24
      mode = drop
      start_action = trap
    }
  }
}`;
  return swanctlFile([tunnels, shunts], "gone and back");
}

const configuration = { swanctl: { a: swanctl("a"), b: swanctl("b") } };

/** What policies say, but for the numbers that negotiations choose. */
function policies(gateway: Gateway): string[] {
  return gateway
    .vita!.state()
    .policies.map(({ direction, type, class: kind, src, dst, spi }: PolicyState) =>
      [direction, type, kind, src, dst, spi === null ? "no SPI" : "SPI"].join(" "),
    )
    .toSorted();
}

test("a Vita that lost its SAD: traffic, traps and shunts are there again by themselves", async (t) => {
  await withSites(configuration, async (sites) => {
    const { a, b } = sites.gateways;
    const before = policies(a);
    assert.equal(before.length, 3 + 3 + 2 * 3, before.join("\n"));
    const flow = await startFlow(sites);
    const [old] = await a.charon.childSas();
    await loseVita(sites.lab, a);
    await startVita(sites, a);
    const milliseconds = await untilTraffic(sites);
    t.diagnostic(`traffic is back ${milliseconds} ms after Vita`);
    assert.ok(milliseconds <= 5000);
    await sleep(6000);
    gap(t, "all of Vita killed, its SAD lost", flow);
    const { missing } = flow.totals();
    assert.deepEqual(policies(a), before);
    assert.deepEqual(policies(b), before.map((text) => mirrored(text)).toSorted());
    const [child, ...others] = await a.charon.childSas();
    assert.deepEqual(others, []);
    assert.notEqual(child.spiIn, old.spiIn);
    assert.equal(child.ikeUniqueId, old.ikeUniqueId, "the IKE_SA need not have been made anew");
    await assertAgreement(a);
    await assertAgreement(b);
    const totals = await flow.stop();
    assert.equal(totals.sent - totals.received, missing, "datagrams were lost after traffic was back");

    // The trap is more than an entry in a list: charon knows the reqid that it names.
    const trap = a.vita!.state().policies.find((policy) => policy.class === "trap");
    assert.ok(trap && trap.reqid > 0);
    await a.charon.initiate(15, "far");
    assert.equal(activeSas(a), 4);
  });
});

/** Policies of gateway B as those of gateway A: its addresses are exchanged. */
function mirrored(text: string): string {
  return text.replaceAll(/10\.([12])\./g, (_, digit) => `10.${digit === "1" ? "2" : "1"}.`);
}

test("both gateways lose their SADs at once, in the middle of a rekey", async (t) => {
  await withSites(configuration, async (sites) => {
    const { a, b } = sites.gateways;
    const flow = await startFlow(sites);
    const before = policies(a);
    await Promise.all([
      a.charon.swanctl("--rekey", ["--child", "net"]),
      loseVita(sites.lab, a),
      loseVita(sites.lab, b),
    ]);
    await Promise.all([startVita(sites, a), startVita(sites, b)]);
    t.diagnostic(`traffic is back ${await untilTraffic(sites)} ms after the Vitas`);
    await sleep(8000);
    // Where both charons ask in the same moment, each may get a CHILD_SA of its own making, with policies of its own. Not more.
    const made = (await a.charon.childSas()).length;
    assert.ok(made === 1 || made === 2, `${made} CHILD_SAs`);
    const ofEach = (text: string) => (text.endsWith(" SPI") && !text.endsWith("no SPI") ? made : 1);
    assert.deepEqual(
      policies(a),
      before.flatMap((text) => Array.from({ length: ofEach(text) }, () => text)),
    );
    for (const gateway of [a, b]) {
      const children = await gateway.charon.childSas();
      assert.equal(children.length, made, JSON.stringify(children));
      await assertAgreement(gateway);
      assert.equal(/malformed|SIG(SEGV|ABRT)/.test(readFileSync(gateway.charon.process.log, "utf8")), false);
    }
    const { missing } = flow.totals();
    const totals = await flow.stop();
    assert.equal(totals.sent - totals.received, missing, "datagrams were lost after traffic was back");

    // And the gateways as a whole: nothing but their configuration is left.
    for (const gateway of [a, b]) {
      await gateway.charon.process.stop("SIGKILL");
      await loseVita(sites.lab, gateway);
    }
    for (const gateway of [a, b]) {
      await startVita(sites, gateway);
      const { lab, network, options } = sites;
      gateway.charon = await startCharon(lab, network, gateway.side, options, gateway.vita);
    }
    await b.charon.initiate();
    t.diagnostic(`both gateways begun anew: traffic ${await untilTraffic(sites)} ms after the SAs`);
    assert.deepEqual(policies(a), before);
    await assertAgreement(a);
  });
});

/** Gateway A is a roaming client that gets its inner address from gateway B; its first host has that address. */
function roaming(side: Side): string {
  const isClient = side === "a";
  const connection = site(side, [isClient ? "vips = 0.0.0.0" : "pools = inner"], {
    net: [`${isClient ? "remote_ts" : "local_ts"} = 10.2.0.0/24`, esp, "rekey_time = 0", "life_time = 0"],
  });
  const pools = `pools {
  inner {
    addrs = 10.3.0.0/24
  }
}
`;
  return swanctlFile([connection], "on the road") + pools;
}

test("a gateway that lost its SAD calls its clients, which keep their virtual addresses", async (t) => {
  await withLab("restart", async (lab) => {
    const network = await createNetwork(lab, 4);
    const options = {
      family: 4 as const,
      systems: { a: "vita", b: "vita" } as const,
      preSharedKey: "",
      swanctl: { a: roaming("a"), b: roaming("b") },
    };
    const { a, b } = await startGateways(lab, network, options);
    await a.charon.initiate();
    const inner = "10.3.0.1";
    await addAddress(network.hosts.a, "lan0", `${inner}/32`);
    await run("ip", ["-n", network.gateways.a, "route", "add", `${inner}/32`, "dev", "lan0"]);
    const passes = () => pingOnce(network.hosts.a, network.sides.b.host, inner);
    await until("traffic", passes, 5000);
    const before = policies(b);
    await loseVita(lab, b);
    await startVita({ lab, network }, b);
    const begun = performance.now();
    await until("traffic", passes, 15_000);
    t.diagnostic(`traffic is back ${Math.round(performance.now() - begun)} ms after Vita`);
    await assertAgreement(a);
    await assertAgreement(b);
    assert.deepEqual(policies(b), before);
  });
});
