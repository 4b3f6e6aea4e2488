// The worked examples of docs/configuration.md, each run as its files say, in a network that has the addresses they have:
//
//   host-1 ── gw-1 ──┐      ┌── gw-2 ── host-2      10.N.0.2 ── 10.N.0.1  192.0.2.N
//                    ├─ wan ┤
//   mobile, other ───┘      └── gw-3 ── host-3      192.0.2.4, 192.0.2.5
//
// All that is added to a file is where this lab has charon's socket. There is no swanctl.conf but that of a road warrior who
// does not run Vita. Every example has one end of its tunnels on gw-1, and what passes there must be ESP.

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

const examples = fileURLToPath(new URL("../../docs/examples/", import.meta.url));
const ESP = 50;

interface Example {
  "vita-gateway:node": string;
  "vita-gateway:data-plane"?: boolean;
  "vita-gateway:connection"?: { "pre-shared-key": string }[];
}

const tested: string[] = [];

function readExample(file: string): Example {
  return JSON.parse(readFileSync(`${examples}${file}`, "utf8"));
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
  const filter = "esp or udp port 4500 or net 10.0.0.0/8";
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

/** Starts the node of a file at its place, with a charon that nobody but Vita configures. */
async function startNode(file: string, place: number): Promise<Node> {
  tested.push(file);
  const example = readExample(file);
  const name = example["vita-gateway:node"];
  const namespace = gateway(place);
  if (example["vita-gateway:data-plane"]) {
    const text = readFileSync(`${examples}${file}`, "utf8");
    return { vita: await Vita.startText(lab, namespace, text), charon: undefined };
  }
  const document = { ...example, "vita-gateway:charon": { vici: Charon.viciUri(lab, name) } };
  const vita = await Vita.startText(lab, namespace, JSON.stringify(document));
  const charon = await Charon.start(lab, {
    name,
    namespace,
    system: "vita",
    vitaSocket: vita.charonSocket,
    settings: ["install_virtual_ip = yes"],
  });
  await charon.untilConfigured();
  return { vita, charon };
}

/** Runs the nodes of an example, started in this order, while it is used. */
async function withExample(
  name: string,
  files: readonly (readonly [file: string, place: number])[],
  use: (nodes: Node[]) => Promise<void>,
): Promise<void> {
  const nodes: Node[] = [];
  try {
    for (const [file, place] of files) nodes.push(await startNode(`${name}/${file}.json`, place));
    await use(nodes);
    await assertProtected();
  } finally {
    await stop(nodes);
  }
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
  const [known] = readExample("road-warriors/gateway.json")["vita-gateway:connection"] ?? [];
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
    connection: swanctlFile([connection], known?.["pre-shared-key"] ?? ""),
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

test("no example is left out", () => {
  const files = readdirSync(examples, { recursive: true, encoding: "utf8" });
  assert.deepEqual(tested.sort(), files.filter((file) => file.endsWith(".json")).sort());
});
