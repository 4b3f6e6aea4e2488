// What charon asks of a kernel about use: byte and packet counters, times of last use; and what it does with the answers:
// no DPD messages while traffic flows, and an end for CHILD_SAs that are idle, and for those only.

import assert from "node:assert/strict";
import { test } from "node:test";
import { sleep, until } from "../src/lab/command.js";
import { ikeProposals, otherSide, type Side } from "../src/lab/sites.js";
import { connectionSection, swanctlFile } from "../src/lab/swanctl.js";
import { type Sites, withSites } from "./lifecycle/sites.js";

const wan = { a: "192.0.2.1", b: "192.0.2.2" };
/** Bytes of the flow's IP packets. */
const LENGTH = 128;
const settings = ["retransmit_timeout = 1", "retransmit_tries = 1"];

/** Two children on one IKE_SA: the hosts of the lab, and two neighbours of theirs that never say anything. */
function swanctl(side: Side, connection: string[], child: string[]): string {
  const lan = { a: "10.1.0", b: "10.2.0" };
  const there = otherSide[side];
  const lines = (host: number) => [
    `local_ts = ${lan[side]}.${host}/32`,
    `remote_ts = ${lan[there]}.${host}/32`,
    "esp_proposals = aes128gcm16-x25519-esn",
    "rekey_time = 0",
    "life_time = 0",
    ...child,
  ];
  const site = connectionSection({
    name: "site",
    local: { address: wan[side], id: `gw-${side}` },
    remote: { address: wan[there], id: `gw-${there}` },
    proposals: ikeProposals,
    lines: ["mobike = no", "rekey_time = 0", ...connection],
    children: { "host-2": lines(2), "host-3": lines(3) },
  });
  return swanctlFile([site], "who asks is told");
}

async function child(sites: Sites, side: Side, name: string) {
  const found = (await sites.gateways[side].charon.childSas()).find((sa) => sa.name === name);
  assert.ok(found, `${name} on side ${side}`);
  return found;
}

/** Milliseconds of a clock between which something happened. */
interface Interval {
  from: number;
  to: number;
}

async function within<T>(act: () => Promise<T>): Promise<[T, Interval]> {
  const from = performance.now();
  const result = await act();
  return [result, { from, to: performance.now() }];
}

/** INFORMATIONAL requests that A's charon has sent. */
function informational(sites: Sites, from: number): number {
  return sites.log("a", from).match(/generating INFORMATIONAL request/g)?.length ?? 0;
}

test("counters, times of last use, DPD, inactivity", async (t) => {
  const quiet = { a: swanctl("a", [], []), b: swanctl("b", [], []) };
  await withSites("idle", { settings, swanctl: quiet }, async (sites) => {
    const { a, b } = sites.gateways;
    const load = (connection: string[], options: string[]) =>
      a.charon.load(swanctl("a", connection, options));

    await t.test("--list-sas tells what was sent, each way, and when", async () => {
      await a.charon.initiate(15, "host-2");
      await a.charon.initiate(15, "host-3");
      const there = await sites.flow("a", 1500);
      const back = await sites.flow("b", 700);
      await sleep(1500);
      const [forth, stoppedA] = await within(() => there.stop());
      await sleep(1900);
      const [home, stoppedB] = await within(() => back.stop());
      await sleep(1000);
      assert.ok(forth.sent > 1000 && home.sent > 1000);
      assert.deepEqual([forth.received, home.received], [forth.sent, home.sent]);
      for (const side of ["a", "b"] as const) {
        const [out, back] = side === "a" ? [forth, home] : [home, forth];
        const [sa, asked] = await within(() => child(sites, side, "host-2"));
        assert.deepEqual(
          [sa.packetsOut, sa.bytesOut, sa.packetsIn, sa.bytesIn],
          [out.sent, out.sent * LENGTH, back.sent, back.sent * LENGTH],
          `side ${side}`,
        );
        // Whole seconds are told, of a clock that counts whole seconds.
        const near = (told: number | undefined, stopped: Interval) => {
          const least = (asked.from - stopped.to) / 1000 - 1;
          const most = (asked.to - stopped.from) / 1000 + 1;
          assert.ok(
            told !== undefined && told >= least && told <= most,
            `side ${side}: ${told} s, not ${least} to ${most}`,
          );
        };
        near(side === "a" ? sa.idleOut : sa.idleIn, stoppedA);
        near(side === "a" ? sa.idleIn : sa.idleOut, stoppedB);
        const silent = await child(sites, side, "host-3");
        assert.deepEqual(
          [silent.packetsIn, silent.packetsOut, silent.bytesIn, silent.bytesOut],
          [0, 0, 0, 0],
        );
        assert.deepEqual([silent.idleIn, silent.idleOut], [undefined, undefined]);
      }
      await a.charon.terminate();
      await sites.assertEmpty();
    });

    await t.test("inactivity ends the CHILD_SA that is idle, and no other", async () => {
      await load([], ["inactivity = 3s"]);
      await a.charon.initiate(15, "host-2");
      await a.charon.initiate(15, "host-3");
      const mark = sites.marks().a;
      const flow = await sites.flow("a", 50);
      const line = await sites.logged("a", /deleting CHILD_SA after \d+ seconds of inactivity/, mark);
      assert.match(line, / [34] seconds/);
      await sleep(3000);
      assert.deepEqual(
        (await a.charon.childSas()).map(({ name }) => name),
        ["host-2"],
      );
      const { sent, received } = await flow.stop();
      assert.equal(received, sent);
      await until("the end of the other one", async () => (await a.charon.childSas()).length === 0, 8000);
      await a.charon.terminate().catch(() => {});
      await sites.assertEmpty();
    });

    await t.test(
      "DPD: silent while traffic comes in, asks when none does, ends what is dead",
      async (each) => {
        await load(["dpd_delay = 2s"], ["dpd_action = clear"]);
        await a.charon.initiate(15, "host-2");
        const flow = await sites.flow("b", 50);
        await sleep(500);
        let mark = sites.marks().a;
        // Though nobody is there who could answer: what comes in is sign of life enough.
        process.kill(b.charon.process.pid, "SIGSTOP");
        try {
          await sleep(4500);
          const during = informational(sites, mark);
          await flow.stop();
          process.kill(b.charon.process.pid, "SIGCONT");
          mark = sites.marks().a;
          await sleep(4500);
          const after = informational(sites, mark);
          each.diagnostic(`INFORMATIONAL requests within 4.5 s: ${during} with traffic, ${after} without`);
          assert.equal(during, 0);
          assert.ok(after >= 1 && after <= 3);
          assert.equal((await a.charon.childSas()).length, 1);
          process.kill(b.charon.process.pid, "SIGSTOP");
          await until(
            "the peer to be found dead",
            () => {
              const { sas, policies } = a.vita!.state();
              return sas.length === 0 && policies.length === 0;
            },
            15_000,
          );
          assert.deepEqual(await a.charon.childSas(), []);
        } finally {
          process.kill(b.charon.process.pid, "SIGCONT");
        }
      },
    );
  });
});
