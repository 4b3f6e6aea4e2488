// `npm start -- --check`: everything that the demo shows, once, with a verdict. Each step adds to the report what it
// counted and to `problems` what did not hold; a step that cannot be carried out is a problem too, and the report is
// printed in any case.

import type { Charon } from "../lab/charon.js";
import { sleep, until } from "../lab/command.js";
import type { Lab } from "../lab/lab.js";
import {
  createNetwork,
  type Gateway,
  type Mode,
  type Network,
  otherSide,
  type Side,
  startGateways,
} from "../lab/sites.js";
import {
  type Counted,
  Flow,
  type FlowTotals,
  ping,
  receiveBufferErrors,
  startIperfServer,
  tcp,
  udp,
} from "../lab/traffic.js";
import { Eavesdropper } from "./eavesdropper.js";
import type { DemoOptions } from "./options.js";

export interface Report {
  peer: string;
  family: 4 | 6;
  modes: Record<Side, Mode>;
  established: boolean;
  /** Cipher, and whether in UDP, as charon has it. */
  sa: string;
  ping: Counted;
  /** Between the gateways' public addresses, outside of the tunnel, half of them each way. */
  publicPing: Counted;
  tcp: { mbps: number; reverseMbps: number };
  udp: Counted & { mbps: number };
  rekey: Counted & { count: number; duplicates: number };
  /** Packets with a LAN address on the WAN link. */
  cleartextOnWan: number;
  /** Dropped packets by gateway and name, where the gateway is Vita. */
  drops: Record<string, Record<string, number>>;
  problems: string[];
}

const pings = 20;
const publicPings = 10;
const rekeys = 3;
const flowRate = 1000;
const udpBits = 20e6;
const udpSize = 1200;
/** What must arrive of it; libipsec drops packets of its own when the machine has much else to do. */
const udpShare = 0.99;
const udpShareOfLibipsec = 0.75;
/** charon keeps a rekeyed inbound SA for so long (seconds), for what is still on its way; and then the flows go on for a while. */
const oldSaDelay = 2;

export function emptyReport(options: DemoOptions): Report {
  return {
    peer: options.peer,
    family: options.family,
    modes: options.modes,
    established: false,
    sa: "",
    ping: { sent: 0, received: 0 },
    publicPing: { sent: 0, received: 0 },
    tcp: { mbps: 0, reverseMbps: 0 },
    udp: { sent: 0, received: 0, mbps: 0 },
    rekey: { count: 0, sent: 0, received: 0, duplicates: 0 },
    cleartextOnWan: 0,
    drops: {},
    problems: [],
  };
}

function megabits(bitsPerSecond: number): number {
  return Math.round(bitsPerSecond / 1e5) / 10;
}

class Check {
  readonly report: Report;
  readonly #lab: Lab;
  readonly #options: DemoOptions;
  readonly #tell: (line: string) => void;

  constructor(lab: Lab, options: DemoOptions, tell: (line: string) => void) {
    this.report = emptyReport(options);
    this.#lab = lab;
    this.#options = options;
    this.#tell = tell;
  }

  #expect(holds: boolean, problem: string): void {
    if (!holds) this.report.problems.push(problem);
  }

  /** Carries a step out; what it throws becomes a problem, and the steps after it still run. */
  async #step(name: string, step: () => Promise<string>): Promise<boolean> {
    try {
      this.#tell(`${name}: ${await step()}`);
      return true;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.report.problems.push(`${name}: ${message}`);
      this.#tell(`${name}: failed`);
      return false;
    }
  }

  async run(): Promise<void> {
    let network: Network | undefined;
    let eavesdropper: Eavesdropper | undefined;
    const gateways: Gateway[] = [];
    const begun = await this.#step("network", async () => {
      network = await createNetwork(this.#lab, this.#options.family);
      const owned = this.#options.modes.a === "owned";
      eavesdropper = await Eavesdropper.start(this.#lab, network, owned ? "wan" : "gateway");
      return `LAN A – gateway A – WAN – gateway B – LAN B over IPv${network.family}`;
    });
    if (!begun || !network) return;
    const { sides, hosts } = network;
    const established = await this.#step("tunnel", () => this.#establish(network as Network, gateways));
    if (established) {
      await this.#step("ping", async () => {
        const counted = await ping(hosts.a, sides.b.host, pings, 0.05);
        this.report.ping = counted;
        this.#expect(counted.received === pings, `ping: ${counted.received} of ${counted.sent} came back`);
        return `${counted.received} of ${counted.sent}`;
      });
      await this.#step("public ping", () => this.#publicPing(network as Network));
      await this.#step("iperf3", () => this.#iperf(network as Network));
      await this.#step("rekey", () => this.#rekey(network as Network, gateways));
      await this.#step("drops", () => this.#drops(gateways));
    }
    if (eavesdropper) await this.#step("eavesdropper", () => this.#eavesdrop(eavesdropper as Eavesdropper));
    for (const { node, charon, vita } of gateways) {
      for (const child of [charon.process, ...(vita ? [vita.process] : [])]) {
        this.#expect(child.running, `${node}: ${child.name} ended (${child.ended})`);
        if (this.report.problems.length > 0) this.#tell(`--- end of ${child.name}'s log\n${child.tail(25)}`);
      }
    }
  }

  async #establish(network: Network, gateways: Gateway[]): Promise<string> {
    const systems = { a: this.#options.near, b: this.#options.peer };
    const { modes } = this.#options;
    const options = {
      family: network.family,
      systems,
      modes,
      punt: "all" as const,
      preSharedKey: "two sites, one secret",
      connectionInModel: true,
      settings: [`delete_rekeyed_delay = ${oldSaDelay}`],
    };
    const { a, b } = await startGateways(this.#lab, network, options);
    gateways.push(a, b);
    await a.charon.initiate();
    const sa = await until("an installed CHILD_SA on both gateways", () => agreed(a.charon, b.charon), 5000);
    this.report.established = true;
    this.report.sa = sa;
    return `${systems.a} and ${systems.b} established ${sa}`;
  }

  /** From each gateway's own system to the public address of the other. */
  async #publicPing({ sides, gateways }: Network): Promise<string> {
    const [a, b] = await Promise.all(
      (["a", "b"] as const).map((side) =>
        ping(gateways[side], sides[otherSide[side]].wan, publicPings, 0.05),
      ),
    );
    const sent = a.sent + b.sent;
    const received = a.received + b.received;
    this.report.publicPing = { sent, received };
    this.#expect(
      received === 2 * publicPings,
      `ping between the public addresses: ${received} of ${sent} came back`,
    );
    return `${received} of ${sent}`;
  }

  async #iperf({ sides, hosts }: Network): Promise<string> {
    const { seconds } = this.#options;
    const server = await startIperfServer(this.#lab, hosts.b);
    const target = sides.b.host;
    const mbps = megabits(await tcp(hosts.a, target, { seconds }));
    const reverseMbps = megabits(await tcp(hosts.a, target, { seconds, reverse: true }));
    this.report.tcp = { mbps, reverseMbps };
    this.#expect(mbps > 0 && reverseMbps > 0, "TCP: nothing arrived");
    const flow = { bitsPerSecond: udpBits, size: udpSize, seconds, isPatient: true };
    const counted = await udp(hosts.a, target, flow);
    this.report.udp = { ...counted, mbps: megabits(udpBits) };
    const { sent, received } = counted;
    const { near, peer } = this.#options;
    const share = near === "vita" && peer === "vita" ? udpShare : udpShareOfLibipsec;
    this.#expect(sent > 0 && received >= share * sent, `UDP: ${received} of ${sent} datagrams arrived`);
    await server.stop();
    return `TCP ${mbps} Mbit/s, back ${reverseMbps} Mbit/s, UDP ${received} of ${sent}`;
  }

  /** Two flows, one each way, while the CHILD_SA is rekeyed by A, by B, and by A again. */
  async #rekey({ sides, hosts }: Network, gateways: Gateway[]): Promise<string> {
    const [a, b] = gateways.map(({ charon }) => charon) as [Charon, Charon];
    const overflowBefore = (await receiveBufferErrors(hosts.a)) + (await receiveBufferErrors(hosts.b));
    const flow = (name: string, from: "a" | "b", to: "a" | "b") =>
      Flow.start(this.#lab, {
        name,
        from: hosts[from],
        to: hosts[to],
        address: sides[to].host,
        port: 7000,
        rate: flowRate,
      });
    const flows = [await flow("flow-ab", "a", "b"), await flow("flow-ba", "b", "a")];
    await sleep(500);
    for (let n = 0; n < rekeys; n++) {
      const before = await agreed(a, b);
      await (n % 2 === 0 ? a : b).rekeyChild();
      await until(
        "both gateways to use the new CHILD_SA",
        async () => {
          const now = await agreed(a, b);
          return now !== undefined && now !== before;
        },
        10_000,
      );
      this.report.rekey.count++;
      await sleep(500);
    }
    // The last old SAs must be gone, and the flow must have outlived them.
    await until(
      "the old CHILD_SAs to be deleted",
      async () => (await a.childSas()).length === 1 && (await b.childSas()).length === 1,
      (oldSaDelay + 10) * 1000,
    );
    await sleep(500);
    const totals = await Promise.all(flows.map((each) => each.stop()));
    const sum = (field: keyof FlowTotals) => totals.reduce((all, each) => all + each[field], 0);
    const { rekey } = this.report;
    rekey.sent = sum("sent");
    rekey.received = sum("received");
    rekey.duplicates = sum("duplicates");
    const overflow =
      (await receiveBufferErrors(hosts.a)) + (await receiveBufferErrors(hosts.b)) - overflowBefore;
    const lost = rekey.sent - rekey.received;
    const why = overflow > 0 ? ` (${overflow} of them in the receiving host's socket buffer)` : "";
    this.#expect(rekey.sent > flowRate, `rekey: the flow sent only ${rekey.sent} datagrams`);
    this.#expect(lost === 0, `rekey: ${lost} of ${rekey.sent} datagrams were lost${why}`);
    this.#expect(rekey.duplicates === 0, `rekey: ${rekey.duplicates} datagrams arrived twice`);
    this.#expect(sum("damaged") === 0, `rekey: ${sum("damaged")} datagrams arrived damaged`);
    return `${rekey.count} times, ${rekey.received} of ${rekey.sent} datagrams arrived`;
  }

  async #drops(gateways: Gateway[]): Promise<string> {
    for (const { node, vita } of gateways) {
      if (vita) this.report.drops[node] = vita.drops();
    }
    return JSON.stringify(this.report.drops);
  }

  async #eavesdrop(eavesdropper: Eavesdropper): Promise<string> {
    const heard = await eavesdropper.stop();
    this.report.cleartextOnWan = heard.clearText;
    this.#expect(heard.clearText === 0, `${heard.clearText} packets crossed the WAN in the clear`);
    // Without a tunnel there is no ESP to hear, and that is told already.
    if (this.report.established) this.report.problems.push(...heard.problems);
    return `${heard.clearText} packets in the clear on the WAN link`;
  }
}

/** The CHILD_SA in words when both sides have exactly one in use, and the same one; undefined otherwise. */
async function agreed(a: Charon, b: Charon): Promise<string | undefined> {
  const [near, far] = await Promise.all([a.installed(), b.installed()]);
  if (!near || !far || near.spiIn !== far.spiOut || near.spiOut !== far.spiIn) return undefined;
  const esn = near.esn ? " with ESN" : "";
  return `${near.algorithm}${esn}${near.encapsulated ? " in UDP" : ""}, SPIs ${near.spiIn} and ${near.spiOut}`;
}

/** Runs the check in `lab`; `tell` gets a line of progress now and then. */
export async function check(lab: Lab, options: DemoOptions, tell: (line: string) => void): Promise<Report> {
  const run = new Check(lab, options, tell);
  await run.run();
  return run.report;
}
