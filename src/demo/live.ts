// The running demo: two sites, their tunnel, traffic through it, and once a second a snapshot of all that, which the
// screen (or, without a terminal, a line of text) shows.

import { sleep } from "../lab/command.js";
import type { Lab } from "../lab/lab.js";
import { createNetwork, type Gateway, type Network, startGateway } from "../lab/sites.js";
import { Flow, pingOnce, startIperfServer, tcp } from "../lab/traffic.js";
import { dropsOf, Vita } from "../lab/vita.js";
import type { DemoOptions } from "./options.js";
import { RateMeter, type Rates, type SaSample } from "./rates.js";

export interface GatewayView {
  node: string;
  system: string;
  lanAddress: string;
  wanAddress: string;
  hostAddress: string;
  sas: SaSample[];
  rates: Rates;
  rekeys: number;
  drops: Record<string, number>;
  /** What is wrong with it; empty when nothing is. */
  trouble: string;
}

export interface Snapshot {
  /** Seconds since the tunnel was there. */
  seconds: number;
  gateways: GatewayView[];
  ping: { sent: number; received: number; milliseconds: number | undefined };
  /** The UDP flow; what was sent a moment ago is neither received nor missing. */
  flow: { received: number; missing: number };
  /** What iperf3 does or said last. */
  iperf: string;
  /** What the demo did last. */
  event: string;
}

/** Seconds between two rekeys, and between two runs of iperf3. */
const rekeyInterval = 15;
const iperfInterval = 10;
const iperfSeconds = 2;

async function sample(
  gateway: Gateway,
): Promise<{ sas: SaSample[]; drops: Record<string, number>; trouble: string }> {
  const { charon, vita } = gateway;
  const ended = [charon.process, ...(vita ? [vita.process] : [])].find((child) => !child.running);
  if (ended) return { sas: [], drops: {}, trouble: `${ended.name} ended (${ended.ended})` };
  if (vita) {
    const state = vita.state();
    const dead = state.workers.filter(({ alive }) => !alive).length;
    return { sas: state.sas, drops: dropsOf(state), trouble: dead > 0 ? `${dead} workers are down` : "" };
  }
  const sas = (await charon.childSas()).flatMap((child): SaSample[] => [
    { spi: child.spiIn, direction: "in", packets: child.packetsIn, bytes: child.bytesIn },
    { spi: child.spiOut, direction: "out", packets: child.packetsOut, bytes: child.bytesOut },
  ]);
  return { sas, drops: {}, trouble: "" };
}

export class LiveDemo {
  readonly #lab: Lab;
  readonly #network: Network;
  readonly #gateways: Gateway[];
  readonly #flow: Flow;
  readonly #begun = performance.now();
  readonly #meters = new Map<string, RateMeter>();
  readonly #ping = { sent: 0, received: 0, milliseconds: undefined as number | undefined };
  #iperf = "";
  #event = "the tunnel is up";
  #stopped = false;

  private constructor(lab: Lab, network: Network, gateways: Gateway[], flow: Flow) {
    this.#lab = lab;
    this.#network = network;
    this.#gateways = gateways;
    this.#flow = flow;
  }

  /** Builds the sites, sets the tunnel up and begins the traffic; `tell` gets a line for each step. */
  static async start(lab: Lab, options: DemoOptions, tell: (line: string) => void): Promise<LiveDemo> {
    tell("building LAN A – gateway A – WAN – gateway B – LAN B …");
    const network = await createNetwork(lab, options.family);
    const systems = { a: options.near, b: options.peer };
    const { family, modes } = options;
    const punt = "all" as const;
    const sites = {
      family,
      systems,
      modes,
      punt,
      preSharedKey: "two sites, one secret",
      connectionInModel: true,
    };
    const gateways: Gateway[] = [];
    for (const side of ["a", "b"] as const) {
      tell(`starting gateway ${side.toUpperCase()}: charon and ${systems[side]} …`);
      gateways.push(await startGateway(lab, network, side, sites));
    }
    tell("setting up the tunnel …");
    await gateways[0].charon.initiate();
    await startIperfServer(lab, network.hosts.b);
    const flow = await Flow.start(lab, {
      name: "flow",
      from: network.hosts.a,
      to: network.hosts.b,
      address: network.sides.b.host,
      port: 7000,
      rate: 1000,
    });
    const demo = new LiveDemo(lab, network, gateways, flow);
    demo.#repeat(1, () => demo.#pingOnce());
    demo.#repeat(rekeyInterval, (n) => demo.#rekey(n));
    demo.#repeat(iperfInterval, (n) => demo.#runIperf(n));
    return demo;
  }

  /** Does something again and again, never twice at a time. What fails is told and does not end the demo. */
  async #repeat(seconds: number, action: (n: number) => Promise<void>): Promise<void> {
    for (let n = 0; !this.#stopped; n++) {
      await sleep(seconds * 1000);
      if (this.#stopped) return;
      try {
        await action(n);
      } catch (error) {
        this.#event = error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error);
      }
    }
  }

  async #pingOnce(): Promise<void> {
    const milliseconds = await pingOnce(this.#network.hosts.a, this.#network.sides.b.host);
    this.#ping.sent++;
    if (milliseconds !== undefined) this.#ping.received++;
    this.#ping.milliseconds = milliseconds;
  }

  async #rekey(n: number): Promise<void> {
    const gateway = this.#gateways[n % 2] as Gateway;
    this.#event = `${gateway.node} rekeys the CHILD_SA …`;
    await gateway.charon.rekeyChild();
    const sa = await gateway.charon.installed();
    this.#event = `${gateway.node} rekeyed: ${sa?.algorithm}, SPIs ${sa?.spiIn} and ${sa?.spiOut}`;
  }

  async #runIperf(n: number): Promise<void> {
    const reverse = n % 2 === 1;
    const way = reverse ? "B → A" : "A → B";
    this.#iperf = `TCP ${way} …`;
    const { hosts, sides } = this.#network;
    const bits = await tcp(hosts.a, sides.b.host, { seconds: iperfSeconds, reverse });
    this.#iperf = `TCP ${way} ${(bits / 1e6).toFixed(0)} Mbit/s`;
  }

  async snapshot(): Promise<Snapshot> {
    const gateways = await Promise.all(this.#gateways.map((gateway) => this.#view(gateway)));
    const { received, missing } = this.#flow.totals();
    return {
      seconds: Math.round((performance.now() - this.#begun) / 1000),
      gateways,
      ping: { ...this.#ping },
      flow: { received, missing },
      iperf: this.#iperf,
      event: this.#event,
    };
  }

  async #view(gateway: Gateway): Promise<GatewayView> {
    const addresses = this.#network.sides[gateway.side];
    let meter = this.#meters.get(gateway.node);
    if (!meter) {
      meter = new RateMeter();
      this.#meters.set(gateway.node, meter);
    }
    const failed = (error: Error) => ({ sas: [], drops: {}, trouble: error.message.split("\n")[0] ?? "" });
    const { sas, drops, trouble } = await sample(gateway).catch(failed);
    return {
      node: gateway.node,
      system: gateway.system,
      lanAddress: addresses.gateway,
      wanAddress: addresses.wan,
      hostAddress: addresses.host,
      sas,
      rates: meter.update(performance.now(), sas),
      rekeys: meter.rekeys,
      drops,
      trouble,
    };
  }

  /** What to try in another shell, as `command — what it shows`. */
  hints(): [string, string][] {
    const { hosts, sides, wan, wanPort } = this.#network;
    const hints: [string, string][] = [
      [`ip netns exec ${hosts.a} ping ${sides.b.host}`, "through the tunnel"],
      [`ip netns exec ${wan} tcpdump -c 20 -ni ${wanPort}`, "what an eavesdropper sees"],
    ];
    const first = this.#gateways[0] as Gateway;
    if (first.vita) {
      const environment = `VITA_RUN_DIR=${Vita.runDirectory(this.#lab)}`;
      hints.push([`${environment} npx vita config get ${first.node}`, "all that gateway A was told"]);
      hints.push([`${environment} npx vita sa ${first.node}`, "its SAs"]);
      hints.push([`${environment} npx vita policy ${first.node}`, "its policies"]);
    }
    hints.push([`swanctl --uri ${first.charon.uri} --list-sas`, "what charon says"]);
    return hints;
  }

  /** Begins nothing new; the lab stops what runs. */
  stop(): void {
    this.#stopped = true;
  }
}
