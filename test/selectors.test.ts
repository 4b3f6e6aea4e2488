// Policies of every shape between two charons: several selectors a side, ranges that are no prefixes, protocols and ports,
// shunts that pass and drop, and priorities by hand. What is dropped is dropped under the right name.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Capture } from "../src/lab/capture.js";
import { swanctlConf } from "../src/lab/charon.js";
import { run, sleep, until } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { addAddress } from "../src/lab/netns.js";
import { connectionOf, createNetwork, type Gateway, type Side, startGateways } from "../src/lab/sites.js";
import { ping } from "../src/lab/traffic.js";

/** A shunt as a connection of its own. */
const shunt = (name: string, lines: string[]) => `
  ${name} {
    version = 2
    remote_addrs = 127.0.0.1
    children {
      ${name} {
        start_action = trap
        ${lines.join("\n        ")}
      }
    }
  }`;

test("2×2 selectors, ranges, protocols and ports, shunts, priorities", async () => {
  await withLab("selectors", async (lab) => {
    const network = await createNetwork(lab, 4);
    const { hosts, sides } = network;
    for (const last of [10, 66, 130]) {
      await addAddress(hosts.a, "lan0", `10.1.0.${last}/24`);
      await addAddress(hosts.b, "lan0", `10.2.0.${last}/24`);
    }
    const base = {
      family: 4 as const,
      systems: { a: "vita", b: "vita" } as const,
      preSharedKey: "choose wisely",
    };
    const configuration = (side: Side, local: string[], remote: string[], shunts = "") =>
      swanctlConf({
        ...connectionOf(network, side, base),
        localSelectors: local,
        remoteSelectors: remote,
      }).replace("connections {", `connections {${shunts}`);
    const conf = { a: configuration("a", [], []), b: configuration("b", [], []) };
    const { a, b } = await startGateways(lab, network, { ...base, swanctl: conf });

    /** Both sides negotiate these selectors anew; A has shunts besides. */
    const establish = async (ofA: string[], ofB: string[], shunts = "") => {
      if ((await a.charon.childSas()).length > 0) await a.charon.terminate();
      await until("the end of the old SAs", () => [a, b].every((gateway) => outs(gateway) === 0), 5000);
      await b.charon.load(configuration("b", ofB, ofA));
      await a.charon.load(configuration("a", ofA, ofB, shunts));
      await a.charon.initiate();
    };
    const outs = (gateway: Gateway) =>
      gateway.vita!.state().policies.filter(({ direction, spi }) => direction === "out" && spi !== null)
        .length;

    let before: Record<string, number> = {};
    /** What counters of gateway A say of the packets since `reset`: drops, and what went which way. */
    const changes = () => {
      const now = a.vita!.state().counters;
      const names = Object.keys(now).filter((name) =>
        /drop\.|^encapsulate\.packets|^protect\.bypassed/.test(name),
      );
      return Object.fromEntries(
        names.map((name) => [name, now[name] - (before[name] ?? 0)]).filter(([, change]) => change !== 0),
      );
    };
    const reset = () => {
      before = a.vita!.state().counters;
    };
    /** One packet from host A, which nobody answers; what gateway A did with it. */
    const datagram = async (from: string, to: string, port: number, protocol: "udp" | "tcp" = "udp") => {
      reset();
      // The shell's way to send one; the socket's own address does not matter to it, so that `from` is a route's.
      await run("ip", ["-n", hosts.a, "route", "replace", `${to}/32`, "via", sides.a.gateway, "src", from]);
      await run("timeout", ["0.3", "bash", "-c", `echo hello > /dev/${protocol}/${to}/${port}`], {
        namespace: hosts.a,
        tolerate: true,
      });
      await until("the packet to be counted", () => Object.keys(changes()).length > 0, 2000, 5);
      // Nothing more may become of it.
      await sleep(20);
      return changes();
    };
    const passes = { "encapsulate.packets": 1 };
    const none = { "protect.drop.no_policy": 1 };

    // 2×2: all four pairs, and no fifth.
    await establish(["10.1.0.0/26", "10.1.0.128/26"], ["10.2.0.0/26", "10.2.0.128/26"]);
    assert.equal(outs(a), 4);
    for (const from of ["10.1.0.2", "10.1.0.130"])
      for (const to of ["10.2.0.2", "10.2.0.130"])
        assert.deepEqual(await datagram(from, to, 9), passes, `${from} ${to}`);
    assert.deepEqual(await datagram("10.1.0.66", "10.2.0.2", 9), none);
    assert.deepEqual(await datagram("10.1.0.2", "10.2.0.66", 9), none);
    assert.equal((await ping(hosts.a, "10.2.0.130", 2, 0.05)).received, 2);

    // Ranges that no prefix describes: the bounds are exact (Linux would round them up).
    await establish(["10.1.0.2-10.1.0.9"], ["10.2.0.3-10.2.0.66"]);
    assert.deepEqual(await datagram("10.1.0.2", "10.2.0.66", 9), passes);
    assert.deepEqual(await datagram("10.1.0.2", "10.2.0.3", 9), passes);
    assert.deepEqual(await datagram("10.1.0.10", "10.2.0.66", 9), none);
    assert.deepEqual(await datagram("10.1.0.2", "10.2.0.2", 9), none);
    assert.deepEqual(await datagram("10.1.0.2", "10.2.0.67", 9), none);

    // Protocols and ports.
    await establish(["10.1.0.0/24[udp]"], ["10.2.0.0/24[udp/7000-7010]"]);
    assert.deepEqual(await datagram("10.1.0.2", "10.2.0.2", 7000), passes);
    assert.deepEqual(await datagram("10.1.0.2", "10.2.0.2", 7010), passes);
    assert.deepEqual(await datagram("10.1.0.2", "10.2.0.2", 7011), none);
    assert.deepEqual(await datagram("10.1.0.2", "10.2.0.2", 6999), none);
    assert.deepEqual(await datagram("10.1.0.2", "10.2.0.2", 7000, "tcp"), none);
    await establish(["10.1.0.0/24[icmp]"], ["10.2.0.0/24[icmp]"]);
    assert.equal((await ping(hosts.a, "10.2.0.2", 2, 0.05)).received, 2);
    assert.deepEqual(await datagram("10.1.0.2", "10.2.0.2", 7000), none);

    // Shunts: what passes leaves in the clear; what drops by its class stands behind the tunnels, by its priority before.
    const clear = await Capture.start(lab, {
      name: "clear",
      namespace: network.wan,
      device: network.wanPort,
      filter: "udp and dst host 192.0.2.2 and dst port 99",
    });
    await establish(
      ["10.1.0.0/24"],
      ["10.2.0.0/24"],
      shunt("passing", ["mode = pass", "local_ts = 10.1.0.0/24", "remote_ts = 192.0.2.2/32[udp/99]"]) +
        shunt("dropping", ["mode = drop", "local_ts = 10.1.0.0/24", "remote_ts = 0.0.0.0/0"]) +
        shunt("blocking", [
          "mode = drop",
          "priority = 7",
          "local_ts = 10.1.0.0/24",
          "remote_ts = 10.2.0.0/24[udp/666]",
        ]),
    );
    const dropped = { "protect.drop.policy": 1 };
    assert.deepEqual(await datagram("10.1.0.2", "192.0.2.2", 99), { "protect.bypassed": 1 });
    assert.deepEqual(await datagram("10.1.0.2", "192.0.2.2", 98), dropped);
    assert.deepEqual(await datagram("10.1.0.2", "10.2.0.2", 665), passes);
    assert.deepEqual(await datagram("10.1.0.2", "10.2.0.2", 666), dropped);
    assert.deepEqual(await datagram("10.1.0.2", "203.0.113.5", 1), dropped);
    await until("the packet in the clear", () => clear.count === 1, 2000);
    const [manual] = a.vita!.state().policies.filter(({ rank }) => rank === 7);
    assert.equal(manual.type, "drop");
    // Priorities by hand, the tunnel's below the drop's: now the tunnel is first.
    const { charon } = a;
    await charon.swanctl("--uninstall", ["--child", "blocking"]);
    assert.deepEqual(await datagram("10.1.0.2", "10.2.0.2", 666), passes);
    // Of B's hosts only ICMP errors about closed ports met no policy: those selectors were for UDP.
    assert.deepEqual(Object.keys(b.vita!.drops()), ["protect.drop.no_policy"]);
  });
});
