// MOBIKE (RFC 4555): a gateway changes its address under traffic, then the interface, then moves behind a NAT, where plain
// ESP becomes ESP in UDP; the SAs move along, without a rekey.
// With IPv4 the other gateway's own host uses the tunnel as well, for everything: what charon there answers to the new
// address must not go into the tunnel, nor what the host sends into the clear.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Capture } from "../src/lab/capture.js";
import { swanctlConf } from "../src/lab/charon.js";
import { run, sleep, until } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { Nat, natAddresses } from "../src/lab/nat.js";
import { addAddress, createLink, setSysctls } from "../src/lab/netns.js";
import {
  connectionOf,
  createNetwork,
  type Gateway,
  type SitesOptions,
  startGateways,
} from "../src/lab/sites.js";
import { Flow, ping, pingFrom } from "../src/lab/traffic.js";

const RATE = 500;

/** Gateway A has three uplinks, gateway B a TUN device. */
const vita: NonNullable<SitesOptions["vita"]> = (usual, side) =>
  side === "a"
    ? { ...usual, "public-interface": ["wan0", "wan1", "wan2"].map((name) => ({ name, driver: "xdp" })) }
    : { ...usual, "private-interface": [...usual["private-interface"], { name: "vita0", driver: "tun" }] };

const plans = {
  4: {
    bits: 24,
    next: "192.0.2.11",
    inside: "192.168.77.2",
    other: "198.51.100.1",
    otherNet: "198.51.100.0/24",
  },
  6: {
    bits: 64,
    next: "2001:db8:ffff::11",
    inside: "fd77::2",
    other: "2001:db8:eeee::1",
    otherNet: "2001:db8:eeee::/64",
  },
} as const;

/** Far ends of gateway B's SAs that are in use. */
function farEnds(gateway: Gateway): string[] {
  const sas = gateway.vita!.state().sas.filter(({ state }) => state === "active");
  return sas.map(({ direction, src, dst }) =>
    (direction === "in" ? src : dst).replace(/\[3\d{4}\]$/, " in UDP"),
  );
}

for (const family of [4, 6] as const)
  test(`MOBIKE over IPv${family}: another address, another interface, behind a NAT, under traffic both ways`, async (context) => {
    await withLab("mobike", async (lab) => {
      const network = await createNetwork(lab, family);
      const { gateways, hosts, sides } = network;
      const { bits, next, inside, other, otherNet } = plans[family];
      // A second uplink of gateway A, with another provider's addresses; to B both lead over the one switch.
      await createLink(
        { namespace: gateways.a, device: "wan1", addresses: [`${other}/${bits}`] },
        { namespace: network.wan, device: "to-a1" },
      );
      await run("ip", ["-n", network.wan, "link", "set", "to-a1", "master", "switch"]);
      // A third one is behind a NAT; the default route leads there.
      const nat = await Nat.create(lab, { family, wan: network.wan, ports: [30_000, 30_999] });
      await nat.connect({ namespace: gateways.a, device: "wan2", address: inside });
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
        vita,
      };
      const mobile = (side: "a" | "b") => ({
        ...connectionOf(network, side, base),
        extra: ["mobike = yes", "rekey_time = 0", "reauth_time = 0"],
      });
      const all = family === 4 ? ["0.0.0.0/0"] : undefined;
      const options = {
        ...base,
        swanctl: {
          a: swanctlConf({ ...mobile("a"), localAddress: "%any", ...(all && { localSelectors: all }) }),
          b: swanctlConf({ ...mobile("b"), remoteAddress: "%any", ...(all && { remoteSelectors: all }) }),
        },
      };
      // The route with the lower metric is the one of the network that wan0 is in.
      await ip("a", "route", "replace", sides.b.wan, "dev", "wan0", "metric", "1");
      const { a, b } = await startGateways(lab, network, options);
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
        {
          to: natAddresses[family].outside,
          udp: true,
          go: async () => {
            await ip("a", "route", "del", sides.b.wan, "dev", "wan1", "metric", "2000");
            await ip("a", "address", "del", `${other}/${bits}`, "dev", "wan1");
          },
        },
      ];
      const clear = await Capture.start(lab, {
        name: "clear",
        namespace: network.wan,
        device: "to-b",
        filter: "icmp",
      });
      if (all) {
        // Somebody who would take what leaves in the clear.
        const router = ["192.0.2.254", "dev", "wan0"];
        await ip("b", "neighbour", "add", ...router, "lladdr", "02:00:00:00:00:01", "nud", "permanent");
        await ip("b", "route", "add", "default", "via", ...router);
      }
      const fromHost = all && pingFrom(gateways.b, sides.b.gateway, sides.a.host, 2000, 0.003);
      // What else fails ends the ping as well, and is what shall be told.
      if (fromHost) fromHost.catch(() => {});
      for (const { to, udp, go } of moves) {
        await go();
        const end = udp ? `${to} in UDP` : to;
        await until(`the SAs to move to ${end}`, () => farEnds(b).every((now) => now === end), 10_000, 20);
        await sleep(1500);
        if (all) {
          const { stdout } = await ip("b", "route", "show", "table", "221");
          assert.match(stdout, new RegExp(`^default dev vita0.*\nthrow ${to} proto static *\n$`));
        }
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
      if (fromHost) {
        const { sent, received } = await fromHost;
        assert.ok(received > 0 && received < sent, `${received} of ${sent} pings of the host came back`);
      }
      assert.equal(clear.count, 0, "packets left in the clear");
      await pingFrom(gateways.b, "wan0", nat.outside, 1, 0.1);
      if (family === 4) await until("the capture to see what is in the clear", () => clear.count > 0, 2000);
      const after = await a.charon.installed();
      assert.deepEqual(
        [after?.spiIn, after?.spiOut],
        [before?.spiIn, before?.spiOut],
        "it was negotiated again",
      );
      assert.equal(after?.uniqueId, before?.uniqueId);
    });
  });
