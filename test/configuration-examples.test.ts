// The worked examples of docs/configuration.md, and the first site of the README, each run as it is written, in a network that
// has the addresses they have:
//
//   host-1 ── gw-1 ──┐      ┌── gw-2 ── host-2      10.N.0.2 ── 10.N.0.1  192.0.2.N
//                    ├─ wan ┤
//   mobile, other ───┘      └── gw-3 ── host-3      192.0.2.4, 192.0.2.5
//
// All that is added is where this lab has charon's socket. There is no swanctl.conf but that of a road warrior who does not run
// Vita, and of the first site's peer. Every example has one end of its tunnels on gw-1, and what passes there must be ESP.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Capture } from "../src/lab/capture.js";
import { Charon } from "../src/lab/charon.js";
import { run, runJson, until } from "../src/lab/command.js";
import { Lab } from "../src/lab/lab.js";
import { addRoute, createBridge, createLink } from "../src/lab/netns.js";
import { ikeProposals } from "../src/lab/sites.js";
import { connectionSection, swanctlFile } from "../src/lab/swanctl.js";
import { ping } from "../src/lab/traffic.js";
import { Vita } from "../src/lab/vita.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const examples = `${root}docs/examples/`;
const ESP = 50;
const tested: string[] = [];

function readExample(file: string): string {
  tested.push(file);
  return readFileSync(`${examples}${file}`, "utf8");
}

/** The first indented block of a page that follows these words. */
function blockAfter(page: string, words: string): string {
  const text = readFileSync(`${root}${page}`, "utf8");
  const block = /\n\n((?: {4,}.*\n|\n)+)/.exec(text.slice(text.indexOf(words)))?.[1];
  assert.ok(text.includes(words) && block, `${page} has no block after "${words}"`);
  return block;
}

let lab: Lab;
let capture: Capture;
/** Packets of the capture that an example before has accounted for. */
let accounted = 0;

before(async () => {
  lab = await Lab.open("examples");
  const wan = await lab.namespace("wan");
  const ports: string[] = [];
  for (const n of [1, 2, 3, 4, 5]) {
    const gateway = await lab.namespace(`gw-${n}`);
    const port = `to-${n}`;
    await createLink(
      { namespace: gateway, device: "wan0", addresses: [`192.0.2.${n}/24`] },
      { namespace: wan, device: port },
    );
    ports.push(port);
    if (n > 3) continue;
    const host = await lab.namespace(`host-${n}`);
    await createLink(
      { namespace: host, device: "lan0", addresses: [`10.${n}.0.2/24`] },
      { namespace: gateway, device: "lan0", addresses: [`10.${n}.0.1/24`] },
    );
    await addRoute(host, "default", `10.${n}.0.1`);
  }
  await createBridge(wan, "switch", ports);
  const filter = "esp or udp port 4500 or ip net 10.0.0.0/8";
  capture = await Capture.start(lab, { name: "wan", namespace: wan, device: "to-1", filter });
});

after(() => lab?.close());

const host = (n: number) => lab.name(`host-${n}`);
const gateway = (n: number) => lab.name(`gw-${n}`);
const inside = (n: number) => `10.${n}.0.2`;

interface Node {
  vita: Vita;
  charon: Charon | undefined;
}

/** Starts a node at its place, and its charon, which Vita configures unless there is a swanctl.conf. */
async function startNode(text: string, place: number, swanctl?: string): Promise<Node> {
  const document = JSON.parse(text) as Record<string, unknown>;
  const prefix = "node" in document ? "" : "vita-gateway:";
  const namespace = gateway(place);
  if (document[`${prefix}data-plane`])
    return { vita: await Vita.startText(lab, namespace, text), charon: undefined };
  const name = document[`${prefix}node`] as string;
  document[`${prefix}charon`] = { vici: Charon.viciUri(lab, name) };
  const vita = await Vita.startText(lab, namespace, JSON.stringify(document));
  const charon = await Charon.start(lab, {
    name,
    namespace,
    system: "vita",
    vitaSocket: vita.charonSocket,
    settings: ["install_virtual_ip = yes"],
    ...(swanctl === undefined ? {} : { connection: swanctl }),
  });
  await charon.untilConfigured();
  return { vita, charon };
}

type Start = readonly [text: string, place: number, swanctl?: string];

/** Runs nodes, started in this order, while they are used. */
async function withNodes(starts: readonly Start[], use: (nodes: Node[]) => Promise<void>): Promise<void> {
  const nodes: Node[] = [];
  try {
    for (const start of starts) nodes.push(await startNode(...start));
    await use(nodes);
    await assertProtected();
  } finally {
    await stop(nodes);
  }
}

/** The same with the files of an example, each at its place. */
function withExample(
  name: string,
  files: readonly (readonly [file: string, place: number])[],
  use: (nodes: Node[]) => Promise<void>,
): Promise<void> {
  const starts = files.map(([file, place]) => [readExample(`${name}/${file}.json`), place] as const);
  return withNodes(starts, use);
}

async function stop(nodes: readonly Node[]): Promise<void> {
  await Promise.all(
    nodes.map(async ({ charon, vita }) => {
      await charon?.process.stop();
      await vita.process.stop();
    }),
  );
}

/** Since the example before, ESP has passed gw-1, and no packet with an address of the networks behind it. */
async function assertProtected(): Promise<void> {
  const heard = await until(
    "ESP in the capture",
    () => {
      const packets = capture.packets().slice(accounted);
      return packets.length > 0 && packets;
    },
    2000,
  );
  accounted += heard.length;
  const clear = heard.filter((packet) => packet[26] === 10 || packet[30] === 10);
  assert.equal(clear.length, 0, "packets in the clear");
  assert.ok(heard.some((packet) => packet[23] === ESP));
}

async function assertReaches(namespace: string, address: string): Promise<void> {
  const counted = await ping(namespace, address, 5, 0.02);
  assert.deepEqual(counted, { sent: 5, received: 5 }, `from ${namespace} to ${address}`);
}

/** One packet, which is held until charons have agreed, and its answer. */
async function assertNegotiates(namespace: string, address: string): Promise<void> {
  await run("ping", ["-n", "-c", "1", "-W", "8", address], { namespace });
}

test("site to site: the first packet makes them negotiate", async () => {
  const files = [
    ["gw-a", 1],
    ["gw-b", 2],
  ] as const;
  await withExample("site-to-site", files, async ([a, b]) => {
    assert.deepEqual(await a?.charon?.childSas(), []);
    await assertNegotiates(host(1), inside(2));
    await assertReaches(host(1), inside(2));
    await assertReaches(host(2), inside(1));
    assert.equal((await b?.charon?.installed())?.esn, true);
  });
});

test("hub and spokes: spokes reach the hub's network, and each other through the hub", async () => {
  const files = [
    ["hub", 1],
    ["spoke-b", 2],
    ["spoke-c", 3],
  ] as const;
  await withExample("hub-and-spokes", files, async ([hub]) => {
    // Neither of the tunnels is there yet.
    assert.deepEqual(await hub?.charon?.childSas(), []);
    await assertNegotiates(host(2), inside(3));
    await assertReaches(host(2), inside(3));
    await assertReaches(host(3), inside(2));
    for (const spoke of [2, 3]) {
      await assertReaches(host(spoke), inside(1));
      await assertReaches(host(1), inside(spoke));
    }
    assert.equal((await hub?.charon?.childSas())?.length, 2, "one connection a spoke");
  });
});

test("road warriors: addresses from the pool, for one that runs Vita and for one that does not", async () => {
  const files = [
    ["gateway", 1],
    ["warrior", 4],
  ] as const;
  await withExample("road-warriors", files, async () => {
    const namespace = gateway(4);
    const tunnel = await until("the way into the tunnel", () => wayIntoTunnel(namespace), 8000);
    assert.match(tunnel, /^10\.9\.0\.\d+$/);
    await assertReaches(namespace, inside(1));
    await assertReaches(host(1), tunnel);
    assert.notEqual(await otherWarrior(), tunnel);
    await assertReaches(namespace, inside(1));
  });
});

/** The address from which a road warrior reaches the gateway's network, once that is through Vita's device. */
async function wayIntoTunnel(namespace: string): Promise<string | undefined> {
  const way = ["-j", "route", "get", inside(1)];
  const options = { namespace, tolerate: true };
  const [route] = await runJson<{ dev: string; prefsrc: string }[]>("ip", way, options);
  return route?.dev === "vita0" ? route.prefsrc : undefined;
}

/** strongSwan without Vita, which asks for a virtual address as well. @returns it */
async function otherWarrior(): Promise<string> {
  const namespace = gateway(5);
  const secret = /"pre-shared-key": "(.*)"/.exec(
    readFileSync(`${examples}road-warriors/gateway.json`, "utf8"),
  )?.[1];
  const connection = connectionSection({
    name: "home",
    local: { address: "192.0.2.5", id: "grace@example.org" },
    remote: { address: "192.0.2.1", id: "gateway.example.org" },
    proposals: ikeProposals,
    lines: ["vips = 0.0.0.0", "encap = yes"],
    children: { lan: ["remote_ts = 10.1.0.0/24", "esp_proposals = aes128gcm16-x25519"] },
  });
  const charon = await Charon.start(lab, {
    name: "other",
    namespace,
    system: "libipsec",
    settings: ["install_virtual_ip = yes"],
    connection: swanctlFile([connection], secret ?? ""),
  });
  await charon.initiate(15, "lan");
  const { stdout } = await run("ip", ["-o", "-4", "address"], { namespace });
  const address = /inet (10\.9\.0\.\d+)/.exec(stdout)?.[1] ?? "";
  await assertReaches(namespace, inside(1));
  await assertReaches(host(1), address);
  await charon.process.stop();
  return address;
}

test("data plane only: static keys, and no charon", async () => {
  const files = [
    ["gw-a", 1],
    ["gw-b", 2],
  ] as const;
  await withExample("data-plane", files, async () => {
    await assertReaches(host(1), inside(2));
    await assertReaches(host(2), inside(1));
  });
});

test("the first site of the README, and a peer that has the swanctl.conf of docs/strongswan.md", async () => {
  const site = blockAfter("README.md", "2. `/etc/vita/site.json`");
  const swanctl = blockAfter("docs/strongswan.md", "## A site with a swanctl.conf");
  const { connection, ...bare } = JSON.parse(site) as Record<string, unknown>;
  assert.ok(connection);
  const peer = JSON.stringify({ ...bare, node: "peer" });
  const wan = { 1: "203.0.113.5", 2: "198.51.100.7" };
  for (const [place, other] of [
    [1, 2],
    [2, 1],
  ] as const) {
    const ip = (...args: string[]) => run("ip", ["-n", gateway(place), ...args]);
    await ip("address", "add", `${wan[place]}/32`, "dev", "wan0");
    await ip("route", "add", wan[other], "dev", "wan0", "src", wan[place]);
  }
  const starts = [
    [peer, 2, mirrored(swanctl)],
    [site, 1],
  ] as const;
  await withNodes(starts, async ([, a]) => {
    const isUp = async () => (await a?.charon?.childSas())?.some(({ state }) => state === "INSTALLED");
    await until("the tunnel", isUp, 8000);
    await assertReaches(host(1), inside(2));
    await assertReaches(host(2), inside(1));
  });
});

/** The same as the other side has it. */
function mirrored(swanctl: string): string {
  const pairs = [
    ["203.0.113.5", "198.51.100.7"],
    ["gw.site", "gw.peer"],
    ["10.1.0.", "10.2.0."],
  ] as const;
  const swaps = new Map<string, string>([...pairs, ...pairs.map(([a, b]) => [b, a] as const)]);
  return swanctl.replace(
    /203\.0\.113\.5|198\.51\.100\.7|gw\.site|gw\.peer|10\.[12]\.0\./g,
    (part) => swaps.get(part) ?? part,
  );
}

test("no example is left out", () => {
  const files = readdirSync(examples, { recursive: true, encoding: "utf8" });
  assert.deepEqual(tested.sort(), files.filter((file) => file.endsWith(".json")).sort());
});
