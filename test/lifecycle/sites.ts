// Two sites with a charon and a Vita each, for tests of what charon does with SAs: with counted traffic both ways while it
// happens, with a watch for packets that leave in the clear, and with means to make both charons act at one moment.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { TestContext } from "node:test";
import { Capture } from "../../src/lab/capture.js";
import { run, sleep, until } from "../../src/lab/command.js";
import { type Lab, withLab } from "../../src/lab/lab.js";
import {
  createNetwork,
  type Gateway,
  type Network,
  otherSide,
  type Side,
  type SitesOptions,
  startGateways,
} from "../../src/lab/sites.js";
import { Flow, type FlowTotals, receiveBufferErrors } from "../../src/lab/traffic.js";

export const SIDES = ["a", "b"] as const;

/** Datagrams a second, each way, and how many of them make a case. */
const RATE = 2500;
const ENOUGH = 10_000;

export class Sites {
  readonly #ports = { next: 7000 };

  constructor(
    readonly lab: Lab,
    readonly network: Network,
    readonly gateways: Record<Side, Gateway>,
    /** What crosses the WAN though it is neither ESP nor IKE. */
    readonly leaks: Capture,
  ) {}

  /** A counted flow from the host of a side to that of the other. */
  flow(from: Side, rate: number): Promise<Flow> {
    const to = otherSide[from];
    const port = this.#ports.next++;
    return Flow.start(this.lab, {
      name: `flow-${port}`,
      from: this.network.hosts[from],
      to: this.network.hosts[to],
      address: this.network.sides[to].host,
      port,
      rate,
    });
  }

  /**
   * Lets `act` happen under traffic both ways, and goes on until at least 10,000 datagrams were sent and `settle`
   * milliseconds have passed. Nothing may be lost, repeated or damaged.
   */
  async loseNothing(t: TestContext, name: string, settle: number, act: () => Promise<void>): Promise<void> {
    const flows = [await this.flow("a", RATE), await this.flow("b", RATE)];
    const marks = this.marks();
    await sleep(300);
    await act();
    await sleep(settle);
    await until(
      `${ENOUGH} datagrams`,
      () => flows.reduce((sum, flow) => sum + flow.totals().sent, 0) >= ENOUGH,
      10_000,
    );
    const totals = await Promise.all(flows.map((flow) => flow.stop()));
    t.diagnostic(
      `${name}: A to B ${totals[0].received} of ${totals[0].sent}, B to A ${totals[1].received} of ${totals[1].sent}`,
    );
    // What charon did meanwhile says whose loss it is.
    if (totals.some(({ sent, received }) => sent !== received))
      for (const side of SIDES)
        for (const line of this.log(side, marks[side]).split("\n"))
          if (/CHILD_SA|collision|retransmit|DELETE|TEMPORARY|NOT_FOUND/.test(line))
            t.diagnostic(`${side}: ${line}`);
    for (const { sent, received, duplicates, damaged } of totals)
      assert.deepEqual(
        { received, duplicates, damaged },
        { received: sent, duplicates: 0, damaged: 0 },
        `${name}: ${await this.#explain(totals)}`,
      );
  }

  async #explain(totals: FlowTotals[]): Promise<string> {
    return JSON.stringify({
      lost: totals.map(({ sent, received }) => sent - received),
      drops: SIDES.map((side) => this.gateways[side].vita?.drops()),
      receivers: await Promise.all(SIDES.map((side) => receiveBufferErrors(this.network.hosts[side]))),
    });
  }

  /** What charon of a side has logged since `log` was taken. */
  log(side: Side, from = 0): string {
    return readFileSync(this.gateways[side].charon.process.log, "utf8").slice(from);
  }

  /** The logs' lengths now, to see later what came after. */
  marks(): Record<Side, number> {
    return { a: this.log("a").length, b: this.log("b").length };
  }

  /** Waits until charon of a side has logged a line. @returns what matched */
  async logged(side: Side, pattern: RegExp, from = 0, timeout = 10_000): Promise<string> {
    return until(
      `${pattern} in charon's log of side ${side}`,
      () => pattern.exec(this.log(side, from))?.[0],
      timeout,
    );
  }

  /** Neither Vita has an SA or a policy any more; deleted inbound SAs may linger for a moment. */
  async assertEmpty(): Promise<void> {
    for (const side of SIDES)
      await until(
        `no SAs and no policies on side ${side}`,
        () => {
          const { sas, policies } = this.gateways[side].vita!.state();
          return sas.length === 0 && policies.length === 0;
        },
        3000,
      );
  }

  /**
   * Makes both charons send what `act` makes them send at one moment, so that the messages cross: their first attempts are
   * kept from the wire; then both are stopped until their retransmissions are due, and go on at once.
   * charon.retransmit_timeout must be 1 s.
   */
  async atOnce(act: (gateway: Gateway) => Promise<void>): Promise<void> {
    const { wan } = this.network;
    const pids = SIDES.map((side) => this.gateways[side].charon.process.pid);
    await run("nft", ["-f", "-"], { namespace: wan, input: NO_IKE });
    try {
      await Promise.all(SIDES.map((side) => act(this.gateways[side])));
      await sleep(200);
      for (const pid of pids) process.kill(pid, "SIGSTOP");
    } finally {
      await run("nft", ["delete", "table", "bridge", "vita"], { namespace: wan });
      await sleep(1200);
      for (const pid of pids) process.kill(pid, "SIGCONT");
    }
  }
}

const NO_IKE = `table bridge vita {
  chain forward {
    type filter hook forward priority 0;
    udp dport { 500, 4500 } drop
  }
}
`;

/** Both sites, charons connected to their Vitas, nothing initiated. */
export async function withSites(
  name: string,
  options: Partial<SitesOptions>,
  use: (sites: Sites) => Promise<void>,
): Promise<void> {
  await withLab(name, async (lab) => {
    const network = await createNetwork(lab, options.family ?? 4);
    const all: SitesOptions = {
      family: 4,
      systems: { a: "vita", b: "vita" },
      preSharedKey: "it comes and it goes",
      ...options,
    };
    const { a, b } = await startGateways(lab, network, all);
    const leaks = await Capture.start(lab, {
      name: "leaks",
      namespace: network.wan,
      device: network.wanPort,
      filter:
        "(ip and not esp and not udp port 500 and not udp port 4500) or (ip6 and net 2001:db8::/32 and not icmp6)",
    });
    await use(new Sites(lab, network, { a, b }, leaks));
  });
}
