// The life of SAs as charon leads it, under traffic: initiated, rekeyed by either side and by both at once, reauthenticated,
// terminated. Nothing of at least 10,000 datagrams may be lost in any of it, and nothing may leave in the clear.

import assert from "node:assert/strict";
import { test } from "node:test";
import { run, sleep, until } from "../src/lab/command.js";
import { ping } from "../src/lab/traffic.js";
import { SIDES, type Sites, withSites } from "./lifecycle/sites.js";

const settings = [
  "make_before_break = yes",
  "retransmit_timeout = 1",
  // Seconds for which a rekeyed inbound SA stays: each case waits for its end.
  "delete_rekeyed_delay = 1",
];
/** Milliseconds after which all of a rekey is over. */
const SETTLE = 2000;

/** Makes both sides rekey at once until both have noticed a collision of `task` with itself. */
async function collide(sites: Sites, task: string, rekey: "child" | "ike"): Promise<void> {
  const pattern = new RegExp(`detected ${task} collision with ${task}`);
  for (let attempt = 1; ; attempt++) {
    const marks = sites.marks();
    await sites.atOnce(async ({ charon }) => {
      if (rekey === "ike") return charon.rekeyIke();
      const { uniqueId } = await until("a CHILD_SA", () => charon.installed(), 5000);
      await charon.swanctl("--rekey", ["--child-id", uniqueId]);
    });
    for (const side of SIDES)
      await until("one CHILD_SA", () => sites.gateways[side].charon.installed(), 8000);
    await sleep(1000);
    if (SIDES.every((side) => pattern.test(sites.log(side, marks[side])))) return;
    assert.ok(attempt < 4, `four times both sides rekeyed at one moment, and the requests did not cross`);
  }
}

test("initiated, rekeyed, reauthenticated, terminated: no packet lost, none in the clear", async (t) => {
  await withSites("lifecycle", { settings }, async (sites) => {
    const { network, gateways, leaks } = sites;
    const { a, b } = gateways;
    const spis = async () => {
      const { spiIn, spiOut } = await until("one CHILD_SA", () => a.charon.installed(), 5000);
      return `${spiIn} ${spiOut}`;
    };
    const fresh = async (act: () => Promise<void>) => {
      const before = await spis();
      await act();
      await until("other SPIs", async () => (await spis()) !== before, 10_000);
    };

    await t.test("initiated by either side, terminated by either side, CHILD_SA and IKE_SA", async () => {
      for (const [initiator, terminator, what] of [
        ["a", "a", "--child"],
        ["a", "b", "--child"],
        ["b", "a", "--ike"],
        ["b", "b", "--ike"],
      ] as const) {
        await gateways[initiator].charon.initiate();
        for (const side of SIDES) {
          const to = sites.network.sides[side === "a" ? "b" : "a"].host;
          const { received } = await ping(network.hosts[side], to, 5, 0.01);
          assert.equal(received, 5, `pings from side ${side}`);
        }
        // Traffic goes on while the SA ends; what comes then has nowhere to go.
        const flow = await sites.flow(initiator, 500);
        await gateways[terminator].charon.swanctl("--terminate", [what, what === "--child" ? "net" : "site"]);
        await sites.assertEmpty();
        await sleep(500);
        const { sent, received } = await flow.stop();
        assert.ok(sent > received, "traffic went on after the end");
      }
      const drops = a.vita!.drops();
      assert.ok(
        drops["protect.drop.no_policy"] > 0,
        "what came after the end was dropped for want of a policy",
      );
    });

    await a.charon.initiate();
    await ping(network.hosts.a, network.sides.b.host, 2, 0.1);
    const cases: [string, () => Promise<void>][] = [
      ["CHILD_SA rekeyed by A", () => a.charon.rekeyChild()],
      ["CHILD_SA rekeyed by B", () => b.charon.rekeyChild()],
      ["CHILD_SA rekeyed by both at once", () => fresh(() => collide(sites, "CHILD_REKEY", "child"))],
      ["IKE_SA rekeyed by A", () => a.charon.rekeyIke()],
      ["IKE_SA rekeyed by B", () => b.charon.rekeyIke()],
      ["IKE_SA rekeyed by both at once", () => collide(sites, "IKE_REKEY", "ike")],
      ["reauthenticated by A", () => fresh(() => reauthenticate(sites, "a"))],
      ["reauthenticated by B", () => fresh(() => reauthenticate(sites, "b"))],
    ];
    for (const [name, act] of cases) await t.test(name, (each) => sites.loseNothing(each, name, SETTLE, act));

    await t.test("nothing has left in the clear", async () => {
      await b.charon.terminate();
      await sites.assertEmpty();
      // The capture sees what is there to be seen.
      await run("ping", ["-c", "1", "-W", "1", network.sides.b.wan], { namespace: network.gateways.a });
      await until("a packet in the clear in the capture", () => leaks.count > 0, 2000);
      await leaks.stop();
      const strangers = leaks.packets().filter((packet) => packet[14 + 9] !== 1);
      assert.deepEqual(strangers, []);
    });
  });
});

async function reauthenticate(sites: Sites, side: "a" | "b"): Promise<void> {
  await sites.gateways[side].charon.swanctl("--rekey", ["--ike", "site", "--reauth"]);
}
