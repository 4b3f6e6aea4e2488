// Workers that are killed under traffic.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { sleep, until } from "../src/lab/command.js";
import { gap, newWorker, spareOf, startFlow, withSites, workerPid } from "./restart-sites.js";

/** Clock ticks of CPU time that a process has used. */
function cpuTicks(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

test("a worker that is killed three times: traffic is back within 300 ms each time", async (t) => {
  await withSites({}, async (sites) => {
    const { a, b } = sites.gateways;
    const flow = await startFlow(sites);
    let lost = 0;
    for (const victim of [a, b, a]) {
      const spare = await spareOf(sites, victim);
      await sleep(1000);
      const before = cpuTicks(spare);
      await sleep(500);
      assert.equal(cpuTicks(spare) - before, 0, "the spare does something");
      const pid = workerPid(victim);
      process.kill(pid, "SIGKILL");
      assert.equal(await newWorker(victim, pid), spare, "it was not the spare that took over");
      await sleep(1500);
      const milliseconds = gap(t, `${victim.node}: worker killed`, flow, lost);
      assert.ok(milliseconds > 0, "nothing was lost: was the worker in the way at all?");
      assert.ok(milliseconds <= 300, `${milliseconds} ms without traffic`);
      lost = flow.totals().missing;
    }
    const totals = await flow.stop();
    assert.equal(totals.duplicates, 0);
    assert.equal(totals.damaged, 0);
    assert.equal(totals.sent - totals.received, lost, "datagrams were lost after the worker was back");
  });
});

test("a spare that is killed is replaced: the worker that dies next has one", async () => {
  await withSites({}, async (sites) => {
    const { a } = sites.gateways;
    const flow = await startFlow(sites);
    const spare = await spareOf(sites, a);
    process.kill(spare, "SIGKILL");
    const next = await until(
      "another spare",
      async () => {
        const found = await spareOf(sites, a);
        return found !== spare && found;
      },
      5000,
    );
    // It needs a moment until it can wait.
    await sleep(1000);
    const pid = workerPid(a);
    process.kill(pid, "SIGKILL");
    assert.equal(await newWorker(a, pid), next, "it was not the spare that took over");
    await sleep(500);
    await flow.stop();
  });
});
