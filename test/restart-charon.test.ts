// charons that are killed under traffic. Nothing tells Vita more than the end of their connection.

import assert from "node:assert/strict";
import { test } from "node:test";
import { sleep, until } from "../src/lab/command.js";
import { startCharon } from "../src/lab/sites.js";
import { activeSas, assertWhole, gap, startFlows, stopFlows, withSites } from "./restart-sites.js";

const ORPHAN_SECONDS = 6;

test("charon killed: its SAs carry on, a new one's take over without loss, what nobody owns goes in the end", async (t) => {
  const changes = {
    vita: (configuration) => ({ ...configuration, limits: { "orphan-seconds": ORPHAN_SECONDS } }),
    connectionExtra: ["unique = never"],
  } satisfies Parameters<typeof withSites>[0];
  await withSites(changes, async (sites) => {
    const { lab, network, options, gateways } = sites;
    const { a, b } = gateways;
    const flows = await startFlows(sites);
    await a.charon.process.stop("SIGKILL");
    await sleep(1500);
    assert.equal(gap(t, "charon killed", flows[0]) + gap(t, "the other way", flows[1]), 0);
    assert.equal(activeSas(a), 2);

    a.charon = await startCharon(lab, network, "a", options, a.vita);
    await a.charon.initiate();
    await sleep(1000);
    assert.equal(gap(t, "a new charon has set up anew", flows[0]), 0);
    // The peer may send with the new SA before the answer has arrived that lets us install it, and not much of that waits.
    const early = gap(t, "the other way", flows[1]);
    assert.ok(early <= 50, `${early} ms without traffic from the peer`);
    // The orphans stand beside the new ones, which carry the traffic.
    assert.equal(activeSas(a), 4);
    const child = await a.charon.installed();
    assert.ok(child && child.packetsOut > 500, `the new SA carried only ${child?.packetsOut} packets`);

    await until("the end of the orphans", () => activeSas(a) === 2, (ORPHAN_SECONDS + 3) * 1000);
    const { sas, policies } = a.vita!.state();
    const active = sas.filter(({ state }) => state === "active").map(({ spi }) => spi);
    assert.deepEqual(active.toSorted(), [child.spiIn, child.spiOut].toSorted());
    assert.equal(policies.length, 3);
    await sleep(500);
    const [ours, theirs] = await stopFlows(flows);
    assertWhole([ours]);
    assert.ok(theirs.sent - theirs.received <= early, "datagrams were lost when the orphans went");

    // And of one that is killed for good, nothing stays.
    await b.charon.process.stop("SIGKILL");
    await a.charon.process.stop("SIGKILL");
    await until("an empty SAD", () => activeSas(a) === 0, (ORPHAN_SECONDS + 3) * 1000);
    assert.deepEqual(a.vita!.state().policies, []);
  });
});
