// Processes that are killed under traffic: how long nothing passes, that nothing but that is lost, and that no sequence
// number is ever used twice with one key. docs/reliability.md says what to expect.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Capture } from "../src/lab/capture.js";
import { sleep, until } from "../src/lab/command.js";
import type { Lab } from "../src/lab/lab.js";
import { withLab } from "../src/lab/lab.js";
import { createNetwork, type Gateway, type Network, startGateway } from "../src/lab/sites.js";
import { Flow, ping } from "../src/lab/traffic.js";
import { Vita } from "../src/lab/vita.js";

const RATE = 1000;

interface Sites {
  lab: Lab;
  network: Network;
  gateways: { a: Gateway; b: Gateway };
  capture: Capture;
}

async function withSites(name: string, use: (sites: Sites) => Promise<void>): Promise<void> {
  await withLab(name, async (lab) => {
    const network = await createNetwork(lab, 4);
    const options = {
      family: 4 as const,
      systems: { a: "vita", b: "vita" } as const,
      preSharedKey: "restart and go on",
    };
    const a = await startGateway(lab, network, "a", options);
    const b = await startGateway(lab, network, "b", options);
    const capture = await Capture.start(lab, {
      name: "esp",
      namespace: network.wan,
      device: network.wanPort,
      filter: "esp",
    });
    await a.charon.initiate();
    await ping(network.hosts.a, network.sides.b.host, 3, 0.1);
    await use({ lab, network, gateways: { a, b }, capture });
  });
}

/** Ends the capture, which must have missed nothing, and looks for a pair that was seen twice. */
async function assertUnique(capture: Capture): Promise<void> {
  assert.equal(await capture.stop(), 0, "the capture dropped packets: it proves nothing");
  const seen = new Set<string>();
  let packets = 0;
  for (const packet of capture.packets()) {
    const ip = 14;
    const esp = ip + (packet[ip] & 15) * 4;
    const pair = Buffer.from(packet.subarray(esp, esp + 8)).toString("hex");
    assert.ok(!seen.has(pair), `SPI and sequence number ${pair} were on the wire twice`);
    seen.add(pair);
    packets++;
  }
  assert.ok(packets > RATE, `the capture saw only ${packets} ESP packets`);
}

function startFlow({ lab, network }: Sites, name: string, from: "a" | "b" = "a"): Promise<Flow> {
  const to = from === "a" ? "b" : "a";
  return Flow.start(lab, {
    name,
    from: network.hosts[from],
    to: network.hosts[to],
    address: network.sides[to].host,
    port: 7000,
    rate: RATE,
  });
}

function workerPid(gateway: Gateway): number {
  const { pid, alive } = gateway.vita!.state().workers[0];
  assert.ok(alive && pid > 0, "the worker is not there");
  return pid;
}

/** Waits until a worker other than `old` forwards. */
async function newWorker(gateway: Gateway, old: number): Promise<void> {
  await until(
    "a new worker",
    () => gateway.vita!.state().workers.some(({ pid, alive }) => alive && pid !== old),
    5000,
    10,
  );
}

test("a worker that is killed three times: traffic is back within a second each time", async (t) => {
  await withSites("restart", async (sites) => {
    const { gateways, capture } = sites;
    const flow = await startFlow(sites, "flow");
    let lostBefore = 0;
    for (const victim of [gateways.a, gateways.b, gateways.a]) {
      await sleep(1000);
      const pid = workerPid(victim);
      process.kill(pid, "SIGKILL");
      await newWorker(victim, pid);
      await sleep(2500);
      const { missing } = flow.totals();
      t.diagnostic(`${victim.node}: worker killed, ${missing - lostBefore} ms without traffic`);
      assert.ok(missing - lostBefore > 0, "nothing was lost: was the worker in the way at all?");
      assert.ok(
        missing - lostBefore < 1000,
        `${missing - lostBefore} datagrams of ${RATE} a second were lost`,
      );
      lostBefore = missing;
    }
    const totals = await flow.stop();
    assert.equal(totals.duplicates, 0);
    assert.equal(totals.damaged, 0);
    assert.equal(totals.sent - totals.received, lostBefore, "datagrams were lost after the worker was back");
    await assertUnique(capture);
  });
});

test("a supervisor that is killed: traffic does not notice, the next one takes over, and a rekey works", async () => {
  await withSites("restart", async (sites) => {
    const { lab, network, gateways, capture } = sites;
    const { a } = gateways;
    const flow = await startFlow(sites, "flow");
    await sleep(500);
    const pid = workerPid(a);
    await a.vita!.process.stop("SIGKILL");
    await sleep(1000);
    assert.equal(workerPid(a), pid, "the worker went with its supervisor");
    a.vita = await Vita.start(lab, network.gateways.a, a.vita!.configuration, "again");
    assert.equal(workerPid(a), pid, "the new supervisor did not take the worker over");
    assert.equal(a.vita.state().sas.filter(({ state }) => state === "active").length, 2);
    // charon's plugin finds the new supervisor, which knows the SAs.
    await until(
      "a rekey",
      async () => {
        try {
          await a.charon.rekeyChild();
          return true;
        } catch {
          return false;
        }
      },
      20_000,
    );
    await sleep(1000);
    const totals = await flow.stop();
    assert.equal(totals.received, totals.sent, `${totals.sent - totals.received} datagrams were lost`);
    await assertUnique(capture);
  });
});

test("everything of Vita is killed: the next run goes on with the same SAs and unused sequence numbers", async () => {
  await withSites("restart", async (sites) => {
    const { lab, network, gateways, capture } = sites;
    const { a } = gateways;
    const flow = await startFlow(sites, "flow");
    await sleep(500);
    const pid = workerPid(a);
    await a.vita!.process.stop("SIGKILL");
    process.kill(pid, "SIGKILL");
    await sleep(200);
    a.vita = await Vita.start(lab, network.gateways.a, a.vita!.configuration, "again");
    await sleep(1000);
    const { missing } = flow.totals();
    await sleep(1000);
    const totals = await flow.stop();
    assert.equal(totals.sent - totals.received, missing, "datagrams were lost after Vita was back");
    assert.equal(totals.duplicates, 0);
    await assertUnique(capture);
  });
});
