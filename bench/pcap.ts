// pcap: what does a worker make of traffic that somebody else has captured, and how fast? The packets of capture files enter
// the private side, one file after the other, are encapsulated by one SA whose policy wants all of them, leave the public
// side, come in there again, are decapsulated, and leave by the private side. What is dropped is counted under its reason.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { AppContext } from "../src/engine/app.js";
import { Graph, type PortPlan } from "../src/gateway/graph.js";
import { IpsecMbEngine } from "../src/ipsec/aead-ipsec-mb.js";
import { PseudoKernel } from "../src/ipsec/pseudo-kernel.js";
import { Sad } from "../src/ipsec/sad.js";
import { Spd } from "../src/ipsec/spd.js";
import { address, policyRequest, saRequest } from "../src/ipsec/testing/requests.js";
import { Frames } from "../src/memory/frames.js";
import { PcapPort } from "../src/ports/pcap.js";
import { LoopPort } from "./loop-ports.js";
import { count, round3 } from "./rounds.js";

export interface PcapResult {
  bench: "pcap";
  file: string;
  /** Packets and bytes that came in, and packets that came back decapsulated. */
  packets: number;
  bytes: number;
  arrived: number;
  /** What the worker takes, without its capture port. */
  nsPerPacket: number;
  mpps: number;
  gbps: number;
  /** What it takes to copy a packet out of the capture, and to count or write it when it comes back. */
  portNsPerPacket: number;
  drops: Record<string, number>;
}

const FRAMES = 2048;
const ANY = ["0.0.0.0/0", "::/0"];
const NEAR = "192.0.2.1";
const FAR = "192.0.2.2";
const LAN_GATEWAY = { 4: "198.18.0.1", 6: "fd00::1" };
const WAN_GATEWAY = "192.0.2.254";

/** A worker with one SA each way for everything, whose private side is a capture file. */
class Replay {
  readonly #frames = new Frames(FRAMES);
  readonly #sad: Sad;
  readonly #spd: Spd;
  readonly #aead: IpsecMbEngine;
  readonly #graph: Graph;
  readonly #counters = new Map<string, { names: string[]; values: Float64Array }>();
  #port!: PcapPort;
  /** Milliseconds in the capture port. */
  #inPort = 0;

  /** @param repeat how often the file is replayed */
  constructor(input: string, repeat: number, transmit?: string) {
    const directory = mkdtempSync(join(process.platform === "linux" ? "/dev/shm" : tmpdir(), "vita-pcap-"));
    this.#sad = Sad.create(join(directory, "sad"), 16, IpsecMbEngine.id);
    this.#spd = Spd.create(join(directory, "spd"), 16);
    // Mapped, they need no names any more.
    rmSync(directory, { recursive: true });
    this.#aead = new IpsecMbEngine(this.#sad, this.#frames);
    this.#install();
    const context: AppContext = {
      frames: this.#frames,
      counters: (app, texts) => {
        const names = Object.keys(texts).map((name) => `${app}.${name}`);
        const values = new Float64Array(names.length);
        this.#counters.set(app, { names, values });
        return values;
      },
    };
    // Read once to know what kind of packets it holds, before the graph is made for them.
    const { kind } = PcapPort.probe(input);
    const plans: PortPlan[] = [
      {
        name: "private",
        kind,
        side: "private",
        open: (appContext, options) => {
          const files = transmit === undefined ? { input } : { input, transmit };
          this.#port = new PcapPort(appContext, { ...options, ...files, kind, repeat });
          this.#timePort();
          return this.#port;
        },
      },
      {
        name: "public",
        kind: "ethernet",
        side: "public",
        open: (appContext, options) => new LoopPort(appContext, options),
      },
    ];
    const parts = { context, sad: this.#sad, spd: this.#spd, aead: this.#aead, worker: 0 };
    this.#graph = new Graph({ ...parts, clock: { seconds: 1, milliseconds: 1000 } }, plans);
    this.#connect();
  }

  /** Two looks at the clock for a breath's packets. */
  #timePort(): void {
    const { source, sink } = this.#port;
    const pull = source.pull.bind(source);
    const push = sink.push.bind(sink);
    source.pull = (max) => {
      const begin = performance.now();
      const packets = pull(max);
      this.#inPort += performance.now() - begin;
      return packets;
    };
    sink.push = () => {
      const begin = performance.now();
      push();
      this.#inPort += performance.now() - begin;
    };
  }

  #install(): void {
    const kernel = new PseudoKernel({
      sad: this.#sad,
      spd: this.#spd,
      engine: this.#aead,
      now: () => 1,
    });
    const check = ({ status, reason }: { status: number; reason?: string }) => {
      if (status !== 0) throw new Error(reason ?? `status ${status}`);
    };
    const sa = { spi: 0xc0000001, from: ANY, to: ANY };
    check(kernel.addSa(saRequest({ ...sa, inbound: false }), 0n));
    check(kernel.addSa(saRequest({ ...sa, inbound: true }), 0n));
    for (const any of ANY)
      check(kernel.addPolicy(policyRequest({ from: any, to: any, espSpi: 0xc0000001 }), 0n));
  }

  #connect(): void {
    const { fib } = this.#graph;
    const mac = (last: number) => Uint8Array.of(2, 0, 0, 0, 1, last);
    fib.link({ index: 1, name: "private", mac: mac(1), mtu: 1500, up: true }, true);
    fib.link({ index: 2, name: "public", mac: mac(2), mtu: 1700, up: true }, true);
    const route = (prefix: string, length: number, gateway: string, index: number) => {
      const to = { address: address(prefix), length };
      fib.route({ prefix: to, gateway: address(gateway), index, metric: 0, type: "unicast" }, true);
    };
    route("0.0.0.0", 0, LAN_GATEWAY[4], 1);
    route("::", 0, LAN_GATEWAY[6], 1);
    route(FAR, 32, WAN_GATEWAY, 2);
    for (const gateway of Object.values(LAN_GATEWAY)) fib.neighbour(1, address(gateway), mac(3));
    fib.neighbour(2, address(WAN_GATEWAY), mac(4));
    fib.address(2, address(NEAR), 32, true);
  }

  /** @returns nanoseconds, in the port and besides */
  run(): { port: number; worker: number } {
    const { engine } = this.#graph;
    const begin = process.hrtime.bigint();
    while (engine.breathe() > 0 || !this.#port.done);
    const nanoseconds = Number(process.hrtime.bigint() - begin);
    this.#graph.tick(0);
    const port = 1e6 * this.#inPort;
    return { port, worker: nanoseconds - port };
  }

  counter(name: string): number {
    for (const { names, values } of this.#counters.values()) {
      const i = names.indexOf(name);
      if (i >= 0) return values[i];
    }
    throw new Error(`no counter ${name}`);
  }

  /** Counts of reasons why packets ended on the way. */
  get drops(): Record<string, number> {
    const all = [...this.#counters.values()].flatMap(({ names, values }) =>
      names.map((name, i): [string, number] => [name, values[i]]),
    );
    return Object.fromEntries(all.filter(([name, value]) => name.includes("drop.") && value > 0));
  }

  close(): void {
    this.#graph.close();
    this.#aead.close();
    this.#sad.close();
    this.#spd.close();
    this.#frames.region.unmap();
  }
}

/**
 * Replays a capture file.
 * @param transmit a file for what comes back
 */
export function replay(file: string, repeat: number, transmit?: string): PcapResult {
  const worker = new Replay(file, repeat, transmit);
  try {
    const time = worker.run();
    const packets = worker.counter("private.rx.packets");
    const bytes = worker.counter("private.rx.bytes");
    return {
      bench: "pcap",
      file,
      packets,
      bytes,
      arrived: worker.counter("private.tx.packets"),
      nsPerPacket: packets === 0 ? 0 : round3(time.worker / packets),
      mpps: round3((1e3 * packets) / time.worker),
      gbps: round3((8 * bytes) / time.worker),
      portNsPerPacket: packets === 0 ? 0 : round3(time.port / packets),
      drops: worker.drops,
    };
  } finally {
    worker.close();
  }
}

export async function run(args: string[]): Promise<void> {
  const { values, positionals: files } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      repeat: { type: "string", default: "1" },
      transmit: { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  if (files.length === 0) throw new Error("give it a capture file (pcap, not pcapng) to replay");
  if (values.transmit !== undefined && files.length > 1)
    throw new Error("--transmit takes what comes back of one file; give one");
  const repeat = count(values.repeat, "repeat", 1e6);
  const results = files.map((file) => replay(file, repeat, values.transmit));
  if (values.json) console.log(JSON.stringify(results));
  else
    for (const { file, packets, arrived, nsPerPacket, mpps, gbps, portNsPerPacket, drops } of results) {
      console.log(
        `${file}: ${packets} packets, ${arrived} came back; ${nsPerPacket} ns each in the worker, ${mpps} Mpps, ` +
          `${gbps} Gbit/s; ${portNsPerPacket} ns each in the capture port`,
      );
      for (const [name, number] of Object.entries(drops)) console.log(`  ${name} ${number}`);
    }
}
