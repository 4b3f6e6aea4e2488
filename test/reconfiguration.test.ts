// Changes of the configuration of a node that runs, under a counted flow. What is none of the workers' business costs nobody
// a packet; for the rest it is measured what it costs, and that the node works afterwards. What cannot be done leaves
// everything as it was, and so does a supervisor that is killed in the middle of a change, once the next one has begun.

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { run, sleep, until } from "../src/lab/command.js";
import { withLab } from "../src/lab/lab.js";
import { createLink } from "../src/lab/netns.js";
import type { Flow } from "../src/lab/traffic.js";
import { Vita, type VitaConfiguration } from "../src/lab/vita.js";
import { furnished, liveChanges } from "./live-changes.js";
import {
  activeSas,
  RATE,
  type Sites,
  startFlow,
  stopFlows,
  untilTraffic,
  withSites,
} from "./restart-sites.js";

/** Milliseconds after which a flow's totals are those of now. */
const SETTLED = 200;

type Edit = (configuration: VitaConfiguration) => VitaConfiguration;

const withPrivate =
  (name: string, more: object = {}): Edit =>
  (c) => ({ ...c, "private-interface": [...c["private-interface"], { name, ...more }] });

const withTun = withPrivate("vita0", { driver: "tun" });

const setTunMtu: Edit = (c) => ({
  ...c,
  "private-interface": c["private-interface"].map((leaves) =>
    leaves.driver === "tun" ? { ...leaves, mtu: 1300 } : leaves,
  ),
});

/** Changes of the node's set-up, with the most milliseconds without traffic that each may cost, and what it is a change of. */
const structural: [string, Edit, number, Edit?][] = [
  ["busy-poll", (c) => ({ ...c, "busy-poll": true }), 500],
  ["mtu", (c) => ({ ...c, mtu: 1300 }), 500],
  ["worker-cpu", (c) => ({ ...c, "worker-cpu": [0] }), 0],
  ["another private interface", withPrivate("lan1"), 500],
  ["a tun device", withTun, 500],
  ["a tun device's tables", (c) => ({ ...c, "route-table": 300, "transport-route-table": 301 }), 0, withTun],
  ["a tun device's MTU", setTunMtu, 0, withTun],
  ["two workers", (c) => ({ ...c, workers: 2 }), 700],
  ["more packet memory", (c) => ({ ...c, limits: { frames: 8192 } }), 500],
];

/** What is refused before anything is touched, and what only the workers find out. */
const impossible: [string, Edit, RegExp, number][] = [
  [
    "an interface without a device",
    withPrivate("nope0"),
    /\/private-interface\[name="nope0"\]: there is no network device "nope0"/,
    0,
  ],
  [
    "a processor that is not there",
    (c) => ({ ...c, "worker-cpu": [1023] }),
    /\/worker-cpu: "1023" is no processor/,
    0,
  ],
  [
    "a tun device that is something else",
    withPrivate("lan1", { driver: "tun" }),
    /lan1 exists and is not a TUN device/,
    0,
  ],
  [
    "zero-copy where there is none, for two workers and another SAD",
    (c) => ({ ...withPrivate("lan1", { "zero-copy": "on" })(c), workers: 2, limits: { sas: 100 } }),
    /worker \d cannot start: .*lan1/,
    1500,
  ],
];

/** Counts the milliseconds that a flow misses from one change to the next. */
class Loss {
  readonly #flow: Flow;
  #missing = 0;

  constructor(flow: Flow) {
    this.#flow = flow;
  }

  /** @param settled milliseconds to wait behind it */
  async of(t: TestContext, what: string, change: () => Promise<void>, settled = SETTLED): Promise<number> {
    const begun = performance.now();
    await change();
    const took = Math.round(performance.now() - begun);
    await sleep(settled);
    const { missing } = this.#flow.totals();
    const lost = ((missing - this.#missing) * 1000) / RATE;
    this.#missing = missing;
    t.diagnostic(`${what}: ${lost} ms without traffic, made in ${took} ms`);
    return lost;
  }
}

/** A second LAN, of which nobody makes use. */
async function addLan({ lab, network }: Sites): Promise<void> {
  const namespace = await lab.namespace("lan1");
  await createLink(
    { namespace: network.gateways.a, device: "lan1", addresses: ["10.9.0.1/24"] },
    { namespace, device: "lan1" },
  );
}

/** SPIs of the SAs that are in use. */
function spisOf(vita: Vita): string {
  const active = vita.state().sas.filter(({ state }) => state === "active");
  return active
    .map(({ spi }) => spi)
    .sort()
    .join();
}

/** Files of a change that has not been made. */
function leftOver({ lab, gateways }: Sites): string[] {
  const directory = join(Vita.runDirectory(lab), gateways.a.node);
  return readdirSync(directory).filter((name) => /next|aside|new/.test(name));
}

test("changes of a node that runs", async (t) => {
  await withSites({}, async (sites) => {
    await addLan(sites);
    await t.test("what is none of the workers' business costs nobody a packet", (u) => changeLive(u, sites));
    await t.test("what workers notice costs a short interruption; what cannot be done is not done", (u) =>
      changeStructure(u, sites),
    );
  });
});

async function changeLive(t: TestContext, sites: Sites): Promise<void> {
  const gateway = sites.gateways.a;
  const vita = gateway.vita!;
  const bare = vita.configuration;
  const spis = () => spisOf(vita);
  const before = spis();
  const flow = await startFlow(sites);
  const loss = new Loss(flow);
  const usual = furnished(bare, gateway.charon.uri);
  const make = async (what: string, configuration: VitaConfiguration) => {
    const lost = await loss.of(t, what, () => vita.change(configuration), 40);
    assert.equal(lost, 0, `${what}: ${lost} packets are missing`);
  };
  await make("all of it added", usual);
  const full = spis();
  assert.notEqual(full, before);
  for (const [what, edit] of liveChanges) {
    const { workers } = vita.state();
    await make(what, { ...usual, ...edit(usual) });
    await make(`${what}, undone`, usual);
    assert.equal(spis(), full, what);
    assert.deepEqual(vita.state().workers, workers, what);
  }
  await make("all of it removed", bare);
  await until("the SAs to go", () => spis() === before, 3000);
  const [{ sent, received, damaged, duplicates }] = await stopFlows([flow]);
  assert.equal(sent - received, 0, "packets were lost");
  assert.equal(damaged + duplicates, 0);
}

async function changeStructure(t: TestContext, sites: Sites): Promise<void> {
  const gateway = sites.gateways.a;
  const vita = gateway.vita!;
  const usual = vita.configuration;
  const spis = () => spisOf(vita);
  const sas = spis();
  const flow = await startFlow(sites);
  const loss = new Loss(flow);
  for (const [what, edit, most, beginning] of structural) {
    const begun = beginning?.(usual) ?? usual;
    if (beginning) await loss.of(t, `(for ${what})`, () => vita.change(begun));
    for (const [way, configuration] of [
      [what, edit(begun)],
      [`${what}, undone`, begun],
    ] as const) {
      const lost = await loss.of(t, way, () => vita.change(configuration));
      assert.ok(lost <= most, `${way}: ${lost} ms without traffic`);
      assert.equal(spis(), sas, way);
    }
    if (beginning) await loss.of(t, `(for ${what}, undone)`, () => vita.change(usual));
  }
  for (const [what, edit, error, most] of impossible) {
    const workers = JSON.stringify(vita.state().workers);
    const lost = await loss.of(t, what, () => assert.rejects(vita.change(edit(usual)), error));
    assert.ok(lost <= most, `${what}: ${lost} ms without traffic`);
    assert.equal(spis(), sas, what);
    if (most === 0) assert.equal(JSON.stringify(vita.state().workers), workers, what);
  }
  // By now the supervisor has looked whether its files are still there.
  await sleep(1500);
  assert.doesNotMatch(readFileSync(vita.process.log, "utf8"), /was removed or replaced/);
  assert.deepEqual(leftOver(sites), []);
  const [{ damaged, duplicates }] = await stopFlows([flow]);
  assert.equal(damaged + duplicates, 0);
  // The SAs go with their SAD, and charon sets them up again.
  await vita.change({ ...usual, limits: { sas: 1000 } });
  t.diagnostic(`another size of the SAD: traffic is back after ${await untilTraffic(sites)} ms`);
  assert.notEqual(spis(), sas);
  assert.ok(activeSas(gateway) >= 2);
  assert.deepEqual(leftOver(sites), []);
}

test("a supervisor is killed in the middle of a change: the next one begins with either configuration", async () => {
  await withLab("changing", async (lab) => {
    const namespace = await lab.namespace("gw");
    const far = await lab.namespace("far");
    for (const [device, address] of [
      ["wan0", "192.0.2.1/24"],
      ["lan0", "10.1.0.1/24"],
    ])
      await createLink({ namespace, device, addresses: [address] }, { namespace: far, device });
    const show = async (...args: string[]) => (await run("ip", args, { namespace })).stdout.trim();
    const snapshot = async () => [
      (await show("-o", "link")).replace(/^\d+: (\S+?)[@:].*$/gm, "$1"),
      await show("rule"),
      await show("route", "show", "table", "all", "scope", "link"),
    ];
    const usual: VitaConfiguration = {
      node: "n",
      "public-interface": [{ name: "wan0" }],
      "private-interface": [{ name: "lan0" }],
    };
    const other: VitaConfiguration = {
      ...withPrivate("vita0", { driver: "tun" })(usual),
      workers: 2,
      limits: { sas: 100, frames: 2048 },
    };
    const directory = join(Vita.runDirectory(lab), "n");
    let name = 0;
    const start = (configuration: VitaConfiguration) =>
      Vita.start(lab, namespace, configuration, `vita-${name++}`);
    const before = await snapshot();
    for (const [from, to, waits] of [
      [usual, other, [0, 250]],
      [other, usual, [120]],
    ] as const)
      for (const wait of waits) {
        const vita = await start(from);
        vita.change(to).catch(() => {});
        await until("the change to begin", () => existsSync(join(directory, "next.json")), 5000, 1);
        await sleep(wait);
        await vita.process.stop("SIGKILL");
        // The startup file has the old one until the change is made.
        const next = await start(from);
        const { workers } = next.state();
        assert.equal(workers.length, from.workers ?? 1);
        assert.ok(workers.every(({ alive }) => alive));
        assert.deepEqual(
          readdirSync(directory).filter((file) => /next|aside|new/.test(file)),
          [],
        );
        await next.process.stop();
        assert.equal(next.process.ended, "exit code 0");
        assert.deepEqual(await snapshot(), before);
      }
  });
});
