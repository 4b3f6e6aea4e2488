// Two nodes that have static SAs only, and no charon: traffic both ways and in both families, keys that are changed without a
// loss, ends of every kind without a sequence number that is used twice, and what is not protected.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { RunDirectory } from "../src/gateway/run-directory.js";
import { Capture } from "../src/lab/capture.js";
import { sleep, until } from "../src/lab/command.js";
import { type Lab, withLab } from "../src/lab/lab.js";
import { addAddress, addRoute } from "../src/lab/netns.js";
import { createNetwork, type Network, otherSide, type Side } from "../src/lab/sites.js";
import { Flow, ping, pingOnce } from "../src/lab/traffic.js";
import { Vita, type VitaConfiguration } from "../src/lab/vita.js";

/** Datagrams a second of each flow. */
const RATE = 500;
const HOSTS6 = { a: "2001:db8:a::2", b: "2001:db8:b::2" };
const LANS6 = { a: "2001:db8:a::/64", b: "2001:db8:b::/64" };
const WAN6 = { a: "2001:db8:ffff::1", b: "2001:db8:ffff::2" };

type Static = Required<Pick<VitaConfiguration, "route" | "inbound-sa" | "outbound-sa" | "security-policy">>;

const aead = "aes-gcm-16-icv" as const;

/** An SA from one side; its SPI stands for its key as well. */
function sa(from: Side, spi: number, route: string) {
  const key = (0x1000_0000_0000 + spi).toString(16).repeat(4).slice(0, 32);
  return { spi, route, aead, key, salt: from === "a" ? "0a0a0a0a" : "0b0b0b0b", esn: true };
}

/** A tunnel over IPv4 for IPv4, and one over IPv6 for IPv6. @param round of keys that are sent with, and understood */
function tunnels(network: Network, side: Side, out: number, into: readonly number[]): Static {
  const other = otherSide[side];
  const spi = (from: Side, round: number, route: string) =>
    4096 * round + (from === "a" ? 256 : 512) + (route === "six" ? 1 : 0);
  const routes = ["four", "six"];
  const common = { "if-id": 0, mark: 0 };
  return {
    route: [
      {
        id: "four",
        net: [network.sides[other].lan],
        "local-net": [network.sides[side].lan],
        gateway: { ip: network.sides[other].wan },
        ...common,
      },
      { id: "six", net: [LANS6[other]], "local-net": [], gateway: { ip: WAN6[other] }, ...common },
    ],
    "inbound-sa": into.flatMap((round) =>
      routes.map((route) => ({ ...sa(other, spi(other, round, route), route), "replay-window": 1024 })),
    ),
    "outbound-sa": routes.map((route) => sa(side, spi(side, out, route), route)),
    "security-policy": [],
  };
}

class Nodes {
  readonly vitas = new Map<Side, Vita>();
  #starts = 0;

  constructor(
    readonly lab: Lab,
    readonly network: Network,
  ) {}

  async start(side: Side, settings: Static): Promise<void> {
    const configuration: VitaConfiguration = {
      node: `gw-${side}`,
      "public-interface": [{ name: "wan0" }],
      "private-interface": [{ name: "lan0" }],
      "data-plane": true,
      limits: { sas: 64, policies: 64, frames: 2048 },
      ...settings,
    };
    const name = `gw-${side}-${++this.#starts}`;
    this.vitas.set(side, await Vita.start(this.lab, this.network.gateways[side], configuration, name));
  }

  of(side: Side): Vita {
    const vita = this.vitas.get(side);
    assert.ok(vita);
    return vita;
  }

  workerPid(side: Side): number {
    return this.of(side).state().workers[0].pid;
  }

  /** The supervisor is killed, and the next one has another configuration. */
  async succeed(side: Side, settings: Static): Promise<void> {
    const pid = this.workerPid(side);
    await this.of(side).process.stop("SIGKILL");
    await this.start(side, settings);
    assert.equal(this.workerPid(side), pid, "the worker did not go on");
  }

  /** Everything of a node is gone, as after a power cut. */
  async lose(side: Side): Promise<void> {
    const pid = this.workerPid(side);
    const both = [this.of(side).process.stop("SIGKILL"), Promise.resolve(process.kill(pid, "SIGKILL"))];
    await Promise.all(both);
    new RunDirectory(`gw-${side}`, Vita.runDirectory(this.lab)).remove();
  }

  address(side: Side, family: 4 | 6): string {
    return family === 4 ? this.network.sides[side].host : HOSTS6[side];
  }

  flow(from: Side, family: 4 | 6): Promise<Flow> {
    const to = otherSide[from];
    return Flow.start(this.lab, {
      name: `flow-${from}-${family}-${++this.#starts}`,
      from: this.network.hosts[from],
      to: this.network.hosts[to],
      address: this.address(to, family),
      port: 7000 + this.#starts,
      rate: RATE,
    });
  }
}

/** Two sites with addresses of both families. */
async function withNodes(use: (nodes: Nodes) => Promise<void>): Promise<void> {
  await withLab("static", async (lab) => {
    const network = await createNetwork(lab, 4);
    for (const side of ["a", "b"] as const) {
      const gateway = LANS6[side].replace("/64", "1");
      await addAddress(network.hosts[side], "lan0", `${HOSTS6[side]}/64`);
      await addAddress(network.gateways[side], "lan0", `${gateway}/64`);
      await addAddress(network.gateways[side], "wan0", `${WAN6[side]}/64`);
      await addRoute(network.hosts[side], "default", gateway);
    }
    await use(new Nodes(lab, network));
  });
}

/** Ends a capture of all ESP; no key may have been used twice with one number. @returns how many packets it saw */
async function assertUnique(capture: Capture): Promise<number> {
  assert.equal(await capture.stop(), 0, "the capture dropped packets: it proves nothing");
  const seen = new Set<string>();
  for (const packet of capture.packets()) {
    const esp = 14 + (packet[14] >>> 4 === 4 ? 20 : 40);
    // SPI and IV, which is the whole sequence number.
    const pair = Buffer.from(packet.subarray(esp, esp + 16)).toString("hex");
    assert.ok(!seen.has(pair), `SPI and sequence number ${pair} were on the wire twice`);
    seen.add(pair);
  }
  return seen.size;
}

function captureEsp({ lab, network }: Nodes): Promise<Capture> {
  const { wan: namespace, wanPort: device } = network;
  return Capture.start(lab, { name: "esp", namespace, device, filter: "esp or ip6 proto 50" });
}

test("traffic without charon, and keys that are changed without a loss", async () => {
  await withNodes(async (nodes) => {
    const { network } = nodes;
    const at = (side: Side, out: number, into: number[]) => tunnels(network, side, out, into);
    await Promise.all([nodes.start("a", at("a", 1, [1])), nodes.start("b", at("b", 1, [1]))]);
    assert.ok(!existsSync(nodes.of("a").charonSocket), "charon could connect");
    const told = readFileSync(join(Vita.runDirectory(nodes.lab), "gw-a", "config.json"), "utf8");
    assert.ok(told.includes('"outbound-sa"') && !told.includes(sa("a", 4096 + 256, "four").key));
    const capture = await captureEsp(nodes);
    const pings = (["a", "b"] as const).flatMap((from) =>
      ([4, 6] as const).map((family) =>
        ping(network.hosts[from], nodes.address(otherSide[from], family), 5, 0.05),
      ),
    );
    for (const { sent, received } of await Promise.all(pings)) assert.equal(received, sent);

    const flows = [
      await nodes.flow("a", 4),
      await nodes.flow("b", 4),
      await nodes.flow("a", 6),
      await nodes.flow("b", 6),
    ];
    await sleep(500);
    // Both understand the new keys, then both use them, then the old ones go.
    for (const [out, into] of [
      [1, [1, 2]],
      [2, [1, 2]],
      [2, [2]],
    ] as [number, number[]][]) {
      await Promise.all([nodes.succeed("a", at("a", out, into)), nodes.succeed("b", at("b", out, into))]);
      await sleep(200);
    }
    const used = nodes
      .of("a")
      .state()
      .sas.filter(({ state }) => state === "active")
      .map(({ spi, packets }) => [Number(`0x${spi}`) >> 12, packets > 0]);
    assert.deepEqual(used, Array(4).fill([2, true]));
    for (const flow of flows) {
      const { sent, received, duplicates, damaged } = await flow.stop();
      assert.ok(sent > RATE);
      assert.deepEqual({ received, duplicates, damaged }, { received: sent, duplicates: 0, damaged: 0 });
    }
    assert.deepEqual(nodes.of("a").drops(), {});
    assert.ok((await assertUnique(capture)) > 4 * RATE);
  });
});

test("ends of every kind: no sequence number is used twice, and what follows is accepted", async (t: TestContext) => {
  await withNodes(async (nodes) => {
    const { network } = nodes;
    const settings = { a: tunnels(network, "a", 1, [1]), b: tunnels(network, "b", 1, [1]) };
    await Promise.all([nodes.start("a", settings.a), nodes.start("b", settings.b)]);
    const capture = await captureEsp(nodes);
    const flows = [await nodes.flow("a", 4), await nodes.flow("b", 4)];
    const passes = () => until("traffic", () => pingOnce(network.hosts.a, network.sides.b.host), 5000);
    await passes();
    for (const side of ["a", "b"] as const) {
      await sleep(100 + Math.random() * 400);
      await nodes.lose(side);
      await nodes.start(side, settings[side]);
      await passes();
    }
    // Killed, with what is in memory kept.
    await sleep(Math.random() * 300);
    const pid = nodes.workerPid("a");
    await nodes.of("a").process.stop("SIGKILL");
    await sleep(Math.random() * 300);
    process.kill(pid, "SIGKILL");
    await nodes.start("a", settings.a);
    await passes();
    // In order: not a number is lost.
    const outbound = () =>
      nodes
        .of("a")
        .state()
        .sas.filter(({ direction }) => direction === "out")
        .map(({ sequence }) => Number(sequence));
    await flows[0].stop();
    const before = Math.max(...outbound());
    await nodes.of("a").process.stop();
    await nodes.start("a", settings.a);
    await passes();
    const after = Math.max(...outbound());
    assert.ok(after > before && after < before + 100_000, `${before} before, ${after} after`);
    assert.ok(before > 2 ** 24, "a loss costs what was set aside");
    await flows[1].stop();
    t.diagnostic(`${await assertUnique(capture)} ESP packets, the last number is ${after}`);
  });
});

test("what is not protected: routes without an SA drop, policies let pass or discard", async () => {
  await withNodes(async (nodes) => {
    const { lab, network } = nodes;
    const { a, b } = network.sides;
    // For what goes in the clear.
    await addRoute(network.gateways.a, b.lan, b.wan);
    const whole = tunnels(network, "a", 1, [1]);
    const clear = await Capture.start(lab, {
      name: "clear",
      namespace: network.wan,
      device: network.wanPort,
      filter: `net ${b.lan}`,
    });
    await nodes.start("a", { ...whole, "outbound-sa": [] });
    const send = () => ping(network.hosts.a, b.host, 3, 0.02);
    await send();
    assert.deepEqual(nodes.of("a").drops(), { "protect.drop.no_sa": 3 });
    assert.equal(clear.count, 0);

    const policy = { "if-id": 0, mark: 0, "local-ts": [a.lan], "remote-ts": [`${b.lan}[icmp]`] };
    await nodes.succeed("a", { ...whole, "security-policy": [{ ...policy, id: "p", action: "discard" }] });
    await send();
    assert.equal(nodes.of("a").drops()["protect.drop.policy"], 3);
    assert.equal(clear.count, 0);

    await nodes.succeed("a", { ...whole, "security-policy": [{ ...policy, id: "p", action: "bypass" }] });
    await send();
    await until("packets in the clear", () => clear.count >= 3, 2000);
    assert.equal(nodes.of("a").state().counters["protect.bypassed"], 3);
  });
});
