// MOBIKE (RFC 4555): a gateway changes its address under traffic, then the interface; the SAs move along, without a rekey.

import assert from "node:assert/strict";
import { test } from "node:test";
import { swanctlConf } from "../src/lab/charon.js";
import { run, sleep, until } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { addAddress, createLink, setSysctls } from "../src/lab/netns.js";
import { connectionOf, createNetwork, type Gateway, startGateway } from "../src/lab/sites.js";
import { Flow, ping } from "../src/lab/traffic.js";

const RATE = 500;

const plans = {
  4: { bits: 24, next: "192.0.2.11", other: "198.51.100.1", otherNet: "198.51.100.0/24" },
  6: { bits: 64, next: "2001:db8:ffff::11", other: "2001:db8:eeee::1", otherNet: "2001:db8:eeee::/64" },
} as const;

/** Far ends of gateway B's SAs that are in use. */
function farEnds(gateway: Gateway): string[] {
  const sas = gateway.vita!.state().sas.filter(({ state }) => state === "active");
  return sas.map(({ direction, src, dst }) => (direction === "in" ? src : dst));
}

for (const family of [4, 6] as const)
  test(`MOBIKE over IPv${family}: another address, then another interface, under traffic both ways`, async (context) => {
    await withLab("mobike", async (lab) => {
      const network = await createNetwork(lab, family);
      const { gateways, hosts, sides } = network;
      const { bits, next, other, otherNet } = plans[family];
      // A second uplink of gateway A, with another provider's addresses; to B both lead over the one switch.
      await createLink(
        { namespace: gateways.a, device: "wan1", addresses: [`${other}/${bits}`] },
        { namespace: network.wan, device: "to-a1" },
      );
      await run("ip", ["-n", network.wan, "link", "set", "to-a1", "master", "switch"]);
      await setSysctls(gateways.a, {
        "net.ipv4.conf.all.arp_ignore": 1,
        // An address that came second stays when the first one goes.
        "net.ipv4.conf.all.promote_secondaries": 1,
      });
      const ip = (side: "a" | "b", ...args: string[]) =>
        run("ip", ["-n", gateways[side], `-${family}`, ...args]);
      await ip("b", "route", "add", otherNet, "dev", "wan0");
      await ip("a", "route", "add", sides.b.wan, "dev", "wan1", "metric", "2000");
      const base = {
        family,
        systems: { a: "vita", b: "vita" } as const,
        preSharedKey: "here and there",
        vita: (
          usual: Parameters<NonNullable<Parameters<typeof startGateway>[3]["vita"]>>[0],
          side: "a" | "b",
        ) =>
          side === "b"
            ? usual
            : {
                ...usual,
                "public-interface": [...usual["public-interface"], { name: "wan1", driver: "xdp" as const }],
              },
      };
      const mobile = (side: "a" | "b") => ({
        ...connectionOf(network, side, base),
        extra: ["mobike = yes", "rekey_time = 0", "reauth_time = 0"],
      });
      const options = {
        ...base,
        swanctl: {
          a: swanctlConf({ ...mobile("a"), localAddress: "%any" }),
          b: swanctlConf({ ...mobile("b"), remoteAddress: "%any" }),
        },
      };
      // The route with the lower metric is the one of the network that wan0 is in.
      await ip("a", "route", "replace", sides.b.wan, "dev", "wan0", "metric", "1");
      const b = await startGateway(lab, network, "b", options);
      const a = await startGateway(lab, network, "a", options);
      await a.charon.initiate();
      const before = await a.charon.installed();
      assert.deepEqual(farEnds(b), [sides.a.wan, sides.a.wan]);
      assert.equal((await ping(hosts.a, sides.b.host, 3, 0.1)).received, 3);

      const start = (name: string, from: "a" | "b", to: "a" | "b") =>
        Flow.start(lab, {
          name,
          from: hosts[from],
          to: hosts[to],
          address: sides[to].host,
          port: 7000,
          rate: RATE,
        });
      const flows = [await start("there", "a", "b"), await start("back", "b", "a")];
      await sleep(600);
      const missing = () => flows.map((flow) => flow.totals().missing);
      let lost = missing();
      assert.deepEqual(lost, [0, 0]);

      const moves = [
        {
          to: next,
          go: async () => {
            await addAddress(gateways.a, "wan0", `${next}/${bits}`);
            await ip("a", "address", "del", `${sides.a.wan}/${bits}`, "dev", "wan0");
          },
        },
        {
          to: other,
          go: async () => {
            await ip("a", "route", "del", sides.b.wan, "dev", "wan0", "metric", "1");
            await ip("a", "address", "del", `${next}/${bits}`, "dev", "wan0");
          },
        },
      ];
      for (const { to, go } of moves) {
        await go();
        await until("the SAs to move", () => farEnds(b).every((end) => end === to), 10_000, 20);
        await sleep(1500);
        const now = missing();
        const times = now.map((count, i) => ((count - lost[i]) / RATE) * 1000);
        context.diagnostic(
          `to ${to}: ${times.join(" and ")} ms without traffic from and to the gateway that moved`,
        );
        for (const time of times)
          assert.ok(time < 1000, `${time} ms without traffic after the move to ${to}`);
        lost = now;
      }
      for (const [i, flow] of flows.entries()) {
        const totals = await flow.stop();
        assert.equal(totals.sent - totals.received, lost[i], "datagrams were lost after the last move");
        assert.equal(totals.duplicates, 0);
      }
      const after = await a.charon.installed();
      assert.deepEqual(
        [after?.spiIn, after?.spiOut],
        [before?.spiIn, before?.spiOut],
        "it was negotiated again",
      );
      assert.equal(after?.uniqueId, before?.uniqueId);
    });
  });
