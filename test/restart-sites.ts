// What the restart tests have in common: two sites under a counted flow, a capture of all ESP between them, and the proof
// that no sequence number was used twice with one key. docs/reliability.md has a line for each of these tests.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import type { TestContext } from "node:test";
import { RunDirectory } from "../src/gateway/run-directory.js";
import { Capture } from "../src/lab/capture.js";
import { until } from "../src/lab/command.js";
import type { Lab } from "../src/lab/lab.js";
import { withLab } from "../src/lab/lab.js";
import {
  createNetwork,
  type Gateway,
  type Network,
  otherSide,
  type Side,
  type SitesOptions,
  startGateways,
} from "../src/lab/sites.js";
import { Flow, type FlowTotals, ping, pingOnce } from "../src/lab/traffic.js";
import { Vita } from "../src/lab/vita.js";

/** Datagrams a second, so that one that is missing is a millisecond without traffic. */
export const RATE = 1000;

export interface Sites {
  lab: Lab;
  network: Network;
  options: SitesOptions;
  gateways: Record<Side, Gateway>;
  capture: Capture;
}

const usual: SitesOptions = {
  family: 4,
  systems: { a: "vita", b: "vita" },
  preSharedKey: "restart and go on",
};

/** Runs `use` between two sites whose tunnel is up; afterwards nothing may have been on the wire twice. */
export async function withSites(
  changes: Partial<SitesOptions>,
  use: (sites: Sites) => Promise<void>,
): Promise<void> {
  await withLab("restart", async (lab) => {
    const network = await createNetwork(lab, 4);
    const options = { ...usual, ...changes };
    const { a, b } = await startGateways(lab, network, options);
    const capture = await Capture.start(lab, {
      name: "esp",
      namespace: network.wan,
      device: network.wanPort,
      filter: "esp",
    });
    await a.charon.initiate();
    await ping(network.hosts.a, network.sides.b.host, 3, 0.1);
    await use({ lab, network, options, gateways: { a, b }, capture });
    await assertUnique(capture);
  });
}

/** Ends the capture, which must have missed nothing, and looks for a pair that was seen twice. */
export async function assertUnique(capture: Capture): Promise<void> {
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

export function startFlow({ lab, network }: Sites, from: Side = "a"): Promise<Flow> {
  const to = otherSide[from];
  return Flow.start(lab, {
    name: `flow-${from}`,
    from: network.hosts[from],
    to: network.hosts[to],
    address: network.sides[to].host,
    port: 7000,
    rate: RATE,
  });
}

/** Both ways at once. */
export async function startFlows(sites: Sites): Promise<Flow[]> {
  return [await startFlow(sites, "a"), await startFlow(sites, "b")];
}

export function stopFlows(flows: Flow[]): Promise<FlowTotals[]> {
  return Promise.all(flows.map((flow) => flow.stop()));
}

/** Nothing was lost at all. */
export function assertWhole(totals: FlowTotals[]): void {
  for (const { sent, received, duplicates, damaged } of totals) {
    assert.ok(sent > RATE, `only ${sent} datagrams were sent`);
    assert.equal(received, sent, `${sent - received} datagrams were lost`);
    assert.equal(duplicates, 0);
    assert.equal(damaged, 0);
  }
}

/** Tells how long nothing came, since `before` datagrams were missing; milliseconds. */
export function gap(t: TestContext, what: string, flow: Flow, before = 0): number {
  const milliseconds = ((flow.totals().missing - before) * 1000) / RATE;
  t.diagnostic(`${what}: ${milliseconds} ms without traffic`);
  return milliseconds;
}

export function workerPid(gateway: Gateway): number {
  const { pid, alive } = gateway.vita!.state().workers[0];
  assert.ok(alive && pid > 0, "the worker is not there");
  return pid;
}

/** Waits until a worker other than `old` forwards. */
export async function newWorker(gateway: Gateway, old: number): Promise<number> {
  await until(
    "a new worker",
    () => gateway.vita!.state().workers.some(({ pid, alive }) => alive && pid !== old),
    5000,
    10,
  );
  return workerPid(gateway);
}

/** The process that waits to take the worker's place. */
export function spareOf(sites: Sites, gateway: Gateway): Promise<number> {
  return until("a spare", () => workerProcesses(sites, gateway, true).at(0), 5000);
}

/**
 * Processes of a node's workers, or those that stand by. Labs of other tests may have nodes of the same name. A spare that
 * has become the worker is a worker.
 */
export function workerProcesses({ lab }: Pick<Sites, "lab">, gateway: Gateway, isSpare: boolean): number[] {
  const { node } = gateway;
  const working = gateway.vita!.state().workers.map(({ pid }) => pid);
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
        const at = words.findIndex((word) => word.endsWith("worker-main.js"));
        if (
          at < 0 ||
          words[at + 1] !== node ||
          (words[at + 3] === "spare" && !working.includes(Number(pid))) !== isSpare
        )
          return false;
        return readFileSync(`/proc/${pid}/environ`, "utf8").includes(
          `VITA_RUN_DIR=${Vita.runDirectory(lab)}\0`,
        );
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** Starts Vita again with the configuration that it had. */
export async function startVita(
  { lab, network }: Pick<Sites, "lab" | "network">,
  gateway: Gateway,
): Promise<void> {
  gateway.vita = await Vita.start(
    lab,
    network.gateways[gateway.side],
    gateway.vita!.configuration,
    `${gateway.node}-again`,
  );
}

/** Kills supervisor and workers. */
export async function killVita(gateway: Gateway): Promise<void> {
  const pid = workerPid(gateway);
  await gateway.vita!.process.stop("SIGKILL");
  process.kill(pid, "SIGKILL");
}

export function activeSas(gateway: Gateway): number {
  return gateway.vita!.state().sas.filter(({ state }) => state === "active").length;
}

/** Kills a gateway's Vita and removes all that it has left. */
export async function loseVita(lab: Lab, gateway: Gateway): Promise<void> {
  await killVita(gateway);
  new RunDirectory(gateway.node, Vita.runDirectory(lab)).remove();
}

/** Milliseconds from now until traffic passes both ways. */
export async function untilTraffic({ network }: Sites): Promise<number> {
  const begun = performance.now();
  await until("traffic", () => pingOnce(network.hosts.a, network.sides.b.host), 15_000);
  return Math.round(performance.now() - begun);
}

/** Waits until charon counts on the SAs that Vita has, and on no other: CHILD_SAs on their way out take a few seconds. */
export async function assertAgreement(gateway: Gateway): Promise<void> {
  await until(
    "charon and Vita to agree on their SAs",
    async () => {
      const known = (await gateway.charon.childSas()).flatMap(({ spiIn, spiOut }) => [spiIn, spiOut]);
      const { sas } = gateway.vita!.state();
      const present = sas.filter(({ state }) => state === "active").map(({ spi }) => spi);
      return known.toSorted().join() === present.toSorted().join();
    },
    10_000,
  );
}
