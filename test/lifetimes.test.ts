// Lifetimes that charon gave, kept by Vita: rekeyed by time, packets and bytes under traffic without a packet lost; stopped
// at the very packet of a hard limit and made anew; and all of that while Vita's supervisor is away.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Capture } from "../src/lab/capture.js";
import { sleep, until } from "../src/lab/command.js";
import { connectionOf, type Side, type SitesOptions } from "../src/lab/sites.js";
import { Vita } from "../src/lab/vita.js";
import { SIDES, type Sites, withSites } from "./lifecycle/sites.js";

const usual: SitesOptions = {
  family: 4,
  systems: { a: "vita", b: "vita" },
  preSharedKey: "nothing lasts",
  settings: ["delete_rekeyed_delay = 1"],
};
/** Bytes of the flow's IP packets. */
const LENGTH = 128;

/** Ends what is there and sets up a CHILD_SA with lifetimes, by default the same on both sides. */
async function establish(sites: Sites, a: string[], b = a): Promise<void> {
  const none = ["rekey_time = 0", "life_time = 0", "rand_time = 0", "rand_bytes = 0", "rand_packets = 0"];
  for (const side of SIDES) {
    const connection = connectionOf(sites.network, side, usual);
    const mine = side === "a" ? a : b;
    const named = mine.map((line) => line.split(" ")[0]);
    connection.childExtra = [...none.filter((line) => !named.includes(line.split(" ")[0])), ...mine];
    await sites.gateways[side].charon.load(connection);
  }
  await sites.gateways.a.charon.initiate();
}

async function end(sites: Sites): Promise<void> {
  await sites.gateways.a.charon.terminate();
  await sites.assertEmpty();
}

/** Waits for a CHILD_SA, the only one, that is not the one with this SPI. */
async function anotherThan(sites: Sites, side: Side, spi: string): Promise<string> {
  return until(
    "a new CHILD_SA",
    async () => {
      const now = await sites.gateways[side].charon.installed();
      return now !== undefined && now.spiIn !== spi && now.spiIn;
    },
    15_000,
  );
}

async function spiOf(sites: Sites, side: Side): Promise<string> {
  return (await until("a CHILD_SA", () => sites.gateways[side].charon.installed(), 5000)).spiIn;
}

/** Packets of A's inbound SAs that A did not take. */
function refusedByA(sites: Sites): number {
  const drops = sites.gateways.a.vita!.drops();
  return (drops["decapsulate.drop.sa_expired"] ?? 0) + (drops["decapsulate.drop.no_sa"] ?? 0);
}

/** Packets with this SPI in a capture of ESP. */
function packetsOf(capture: Capture, spi: string): number {
  const wanted = Buffer.from(spi, "hex");
  return capture.packets().filter((frame) => wanted.equals(frame.subarray(14 + 20, 14 + 24))).length;
}

test("lifetimes", async (t) => {
  await withSites("lifetimes", usual, async (sites) => {
    const { gateways, network, lab } = sites;

    for (const [name, lifetime] of [
      ["rekey_time", ["rekey_time = 2s", "life_time = 60s"]],
      ["rekey_packets", ["rekey_packets = 5000"]],
      ["rekey_bytes", [`rekey_bytes = ${5000 * LENGTH}`]],
    ] as const)
      await t.test(`${name}: rekeyed by itself, nothing lost`, async (each) => {
        await establish(sites, [...lifetime]);
        const first = await spiOf(sites, "a");
        await sites.loseNothing(each, name, 2000, async () => {
          await until(
            "a rekey",
            async () => {
              const children = await gateways.a.charon.childSas();
              return children.some(({ spiIn, state }) => spiIn !== first && state === "INSTALLED");
            },
            15_000,
          );
        });
        await end(sites);
      });

    await t.test("rand_packets: the soft limits of both directions differ", async () => {
      await establish(sites, ["rekey_packets = 1000000", "life_packets = 1200000", "rand_packets = 100000"]);
      const limits = gateways.a.vita!.state().sas.map((sa) => sa.limits.packets);
      assert.equal(limits.length, 2);
      for (const [soft, hard] of limits) {
        assert.ok(soft >= 900_000 && soft <= 1_000_000, `soft limit ${soft}`);
        assert.equal(hard, 1_200_000);
      }
      assert.notEqual(limits[0][0], limits[1][0]);
      await end(sites);
    });

    for (const [name, from, limit] of [
      ["life_packets, outbound", "a", "life_packets = 3000"],
      ["life_packets, inbound", "b", "life_packets = 3000"],
      // The last packet is the one that reaches the limit.
      ["life_bytes, outbound", "a", `life_bytes = ${3000 * LENGTH - 1}`],
      ["life_bytes, inbound", "b", `life_bytes = ${3000 * LENGTH - 1}`],
    ] as const)
      await t.test(`${name}: 3,000 packets and not one more, then a new SA`, async (each) => {
        // Only A's side has the limit; it meets it in what it sends or in what it receives.
        await establish(sites, [limit], []);
        const first = await until("a CHILD_SA", () => gateways.a.charon.installed(), 5000);
        const refused = refusedByA(sites);
        const capture = await Capture.start(lab, {
          name: `limit-${first.spiIn}`,
          namespace: network.wan,
          device: network.wanPort,
          filter: "esp",
        });
        const flow = await sites.flow(from, 2500);
        await anotherThan(sites, "a", first.spiIn);
        await until("traffic to go on", () => flow.totals().received > 3300, 5000);
        assert.equal(await capture.stop(), 0);
        if (from === "a") assert.equal(packetsOf(capture, first.spiOut), 3000);
        else assert.equal(packetsOf(capture, first.spiIn) - (refusedByA(sites) - refused), 3000);
        const { missing } = await flow.stop();
        each.diagnostic(`${missing} datagrams lost until the new SA was there`);
        await end(sites);
      });

    await t.test("life_time: an SA at its end is made anew, and traffic goes on", async () => {
      await establish(sites, ["life_time = 2s"], []);
      const first = await spiOf(sites, "a");
      const flow = await sites.flow("a", 1000);
      await anotherThan(sites, "a", first);
      await sleep(600);
      const before = flow.totals();
      await sleep(1000);
      const after = await flow.stop();
      assert.ok(after.received - before.received > 500, "traffic goes on");
      await end(sites);
    });

    await t.test(
      "without a supervisor a hard limit holds, and what was due is told to charon later",
      async (each) => {
        const { a } = gateways;
        const restart = async (name: string) => {
          a.vita = await Vita.start(lab, network.gateways.a, a.vita!.configuration, name);
        };
        await establish(sites, ["rekey_packets = 1000", "life_packets = 100000"], []);
        let spi = await spiOf(sites, "a");
        await a.vita!.process.stop("SIGKILL");
        let flow = await sites.flow("a", 2500);
        await sleep(1500);
        assert.equal(await spiOf(sites, "b").then(() => "installed"), "installed");
        await restart("again");
        await anotherThan(sites, "a", spi);
        await sleep(500);
        const soft = await flow.stop();
        assert.equal(soft.received, soft.sent, "a soft limit stops nothing");
        await end(sites);

        await establish(sites, ["rekey_packets = 1000", "life_packets = 3000"], []);
        spi = await spiOf(sites, "a");
        await a.vita!.process.stop("SIGKILL");
        flow = await sites.flow("a", 2500);
        await sleep(2500);
        const { received } = flow.totals();
        assert.equal(received, 3000, "the SA has carried what it may, though nobody was there to stop it");
        await restart("once-more");
        await anotherThan(sites, "a", spi);
        await sleep(1000);
        const hard = await flow.stop();
        each.diagnostic(`hard limit: ${hard.received} of ${hard.sent} arrived`);
        assert.ok(hard.received > 4000, "with the new SA traffic goes on");
        await end(sites);
      },
    );
  });
});
