// A gateway behind a real NAT (nftables masquerading): ESP in UDP by the NAT's address and port, keepalives, and a NAT
// that forgets and gives out another port or address: the peer follows the packets without a rekey.

import assert from "node:assert/strict";
import { test } from "node:test";
import { swanctlConf } from "../src/lab/charon.js";
import { sleep, until } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { Nat } from "../src/lab/nat.js";
import { connectionOf, createNetwork, type Gateway, startGateways } from "../src/lab/sites.js";
import { Flow, ping } from "../src/lab/traffic.js";

const RATE = 500;

const plans = {
  4: { client: "192.168.77.2", elsewhere: "192.0.2.4" },
  6: { client: "fd77::2", elsewhere: "2001:db8:ffff::4" },
} as const;

/** Where gateway B's inbound SA expects its peer. */
function remoteOf(gateway: Gateway): { address: string; port: number } {
  const inbound = gateway
    .vita!.state()
    .sas.filter(({ direction, state }) => direction === "in" && state === "active");
  assert.equal(inbound.length, 1);
  const [, address, port] = /^(.*)\[(\d+)\]$/.exec(inbound[0].src)!;
  return { address, port: Number(port) };
}

for (const family of [4, 6] as const)
  test(`NAT traversal over IPv${family}: keepalives, and a NAT that rebinds twice under traffic`, async (context) => {
    await withLab("nat", async (lab) => {
      const network = await createNetwork(lab, family);
      const { client, elsewhere } = plans[family];
      const nat = await Nat.create(lab, { family, wan: network.wan, ports: [30_000, 30_999] });
      await nat.connect({ namespace: network.gateways.a, device: "wan0", address: client });
      const base = {
        family,
        systems: { a: "vita", b: "vita" } as const,
        preSharedKey: "behind the hills",
        settings: ["keep_alive = 1s"],
      };
      const options = {
        ...base,
        swanctl: {
          a: swanctlConf({ ...connectionOf(network, "a", base), localAddress: client }),
          b: swanctlConf({ ...connectionOf(network, "b", base), remoteAddress: "%any" }),
        },
      };
      const { a, b } = await startGateways(lab, network, options);
      await a.charon.initiate();
      const before = await a.charon.installed();
      assert.ok(before?.encapsulated);
      const first = remoteOf(b);
      assert.equal(first.address, nat.addresses.outside);
      assert.ok(first.port >= 30_000 && first.port <= 30_999, `port ${first.port}`);
      assert.equal((await ping(network.hosts.a, network.sides.b.host, 3, 0.1)).received, 3);
      const keepalives = () => b.vita!.state().counters["classify.keepalives"];
      await until("keepalives of an idle peer", () => keepalives() >= 2, 5000);

      const start = (name: string, from: "a" | "b", to: "a" | "b") =>
        Flow.start(lab, {
          name,
          from: network.hosts[from],
          to: network.hosts[to],
          address: network.sides[to].host,
          port: 7000,
          rate: RATE,
        });
      const there = await start("there", "a", "b");
      const back = await start("back", "b", "a");
      await sleep(600);
      let lost = back.totals().missing;
      assert.equal(lost, 0);
      for (const { ports, outside } of [
        { ports: [31_000, 31_999] as [number, number], outside: nat.outside },
        { ports: [32_000, 32_999] as [number, number], outside: elsewhere },
      ]) {
        await nat.rebind(ports, outside);
        const remote = await until(
          "gateway B to follow",
          () => {
            const now = remoteOf(b);
            return now.address === outside && now.port >= ports[0] && now.port <= ports[1] ? now : undefined;
          },
          5000,
          20,
        );
        await sleep(1200);
        const { missing } = back.totals();
        context.diagnostic(
          `rebound to ${remote.address}[${remote.port}]: ${((missing - lost) / RATE) * 1000} ms without traffic to the client`,
        );
        assert.ok(missing - lost < RATE, `${missing - lost} datagrams of ${RATE} a second were lost`);
        lost = missing;
      }
      await sleep(500);
      const backTotals = await back.stop();
      const thereTotals = await there.stop();
      assert.equal(
        backTotals.sent - backTotals.received,
        lost,
        "datagrams were lost after the last rebinding",
      );
      assert.equal(backTotals.duplicates + thereTotals.duplicates, 0);
      assert.ok(thereTotals.sent - thereTotals.received < RATE);
      assert.ok(b.vita!.state().counters["decapsulate.moved"] > 0);
      assert.equal(
        (await a.charon.installed())?.spiIn,
        before.spiIn,
        "it was not followed but negotiated again",
      );
      const drops = b.vita!.drops();
      // While charon moves the SA, a policy that drops lies over its own.
      delete drops["protect.drop.policy"];
      assert.deepEqual(drops, {});
    });
  });
