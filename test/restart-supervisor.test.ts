// Supervisors that are killed under traffic, alone or together with their workers.

import assert from "node:assert/strict";
import { test } from "node:test";
import { RunDirectory } from "../src/gateway/run-directory.js";
import { Sad } from "../src/ipsec/sad.js";
import { SaFlag, SaState, saSlot } from "../src/ipsec/sad-layout.js";
import { sleep, until } from "../src/lab/command.js";
import type { Gateway } from "../src/lab/sites.js";
import { Vita } from "../src/lab/vita.js";
import {
  activeSas,
  assertAgreement,
  assertWhole,
  gap,
  killVita,
  newWorker,
  type Sites,
  spareOf,
  startFlow,
  startFlows,
  startVita,
  stopFlows,
  untilTraffic,
  withSites,
  workerPid,
  workerProcesses,
} from "./restart-sites.js";

test("a supervisor that is killed: traffic does not notice, the next one takes over, and a rekey works", async (t) => {
  await withSites({}, async (sites) => {
    const { a } = sites.gateways;
    const flows = await startFlows(sites);
    await spareOf(sites, a);
    const pid = workerPid(a);
    await a.vita!.process.stop("SIGKILL");
    await until("the end of the spare", () => workerProcesses(sites, a, true).length === 0, 1000);
    await sleep(1000);
    assert.equal(workerPid(a), pid, "the worker went with its supervisor");
    await startVita(sites, a);
    assert.equal(workerPid(a), pid, "the new supervisor did not take the worker over");
    assert.equal(activeSas(a), 2);
    // charon's plugin finds the new supervisor, which knows the SAs.
    await until(
      "a rekey",
      () =>
        a.charon.rekeyChild().then(
          () => true,
          () => false,
        ),
      20_000,
    );
    await sleep(1000);
    gap(t, "supervisor killed, the next one started, rekeyed", flows[0]);
    assertWhole(await stopFlows(flows));

    // The end of a worker that is not its child is noticed at once, too.
    const flow = await startFlow(sites);
    await spareOf(sites, a);
    await sleep(500);
    process.kill(pid, "SIGKILL");
    await newWorker(a, pid);
    await sleep(1500);
    const milliseconds = gap(t, "adopted worker killed", flow);
    assert.ok(milliseconds > 0 && milliseconds <= 300, `${milliseconds} ms without traffic`);
    await flow.stop();

    // What charon deletes while nobody listens is deleted when somebody does again.
    await a.vita!.process.stop("SIGKILL");
    await sites.gateways.b.charon.terminate();
    await until("charon to have no SA", async () => (await a.charon.childSas()).length === 0, 5000);
    assert.ok(activeSas(a) >= 2);
    await startVita(sites, a);
    await until("Vita to have no SA", () => activeSas(a) === 0, 5000);
    assert.deepEqual(a.vita!.state().policies, []);
  });
});

test("everything of Vita is killed: the next run goes on with the same SAs and unused sequence numbers", async (t) => {
  await withSites({}, async (sites) => {
    const { a } = sites.gateways;
    const flow = await startFlow(sites);
    await sleep(500);
    await killVita(a);
    assert.equal(workerProcesses(sites, a, false).length, 0);
    await sleep(200);
    await startVita(sites, a);
    assert.equal(activeSas(a), 2);
    await sleep(1000);
    gap(t, "all of Vita killed, started again 200 ms later", flow);
    const { missing } = flow.totals();
    await sleep(1000);
    const totals = await flow.stop();
    assert.equal(totals.sent - totals.received, missing, "datagrams were lost after Vita was back");
    assert.equal(totals.duplicates, 0);
    const [child] = await a.charon.childSas();
    assert.equal(child.state, "INSTALLED");

    // A supervisor that is killed while it moves an SA to other end points: nobody knows where the SA is then. The call that
    // moved it has failed, as a question does here, and the plugin looks what Vita knows when it is back.
    await a.vita!.process.stop("SIGKILL");
    cutOffMove(sites, a);
    await a.charon.childSas();
    await startVita(sites, a);
    t.diagnostic(`an SA cut off in a move: traffic is back ${await untilTraffic(sites)} ms after Vita`);
    await assertAgreement(a);
    assert.notEqual((await a.charon.installed())?.uniqueId, child.uniqueId);
  });
});

/** Leaves the outbound SA as a supervisor would that was killed in the middle of `moveEndPoints`. */
function cutOffMove({ lab }: Sites, gateway: Gateway): void {
  const sad = Sad.open(new RunDirectory(gateway.node, Vita.runDirectory(lab)).shared("sad"), "write");
  for (let slot = 0; slot < sad.slotCount; slot++)
    if (sad.state(slot) === SaState.active && !(sad.flags(slot) & SaFlag.inbound))
      Atomics.add(sad.atomics, (sad.offset(slot) + saSlot.at.version) >>> 2, 1);
  sad.close();
}
