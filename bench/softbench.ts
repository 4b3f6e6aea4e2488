// softbench: one worker without a kernel. Synthetic Ethernet frames enter the private side, take the way that a real
// gateway's packets take, all apps included, leave the public side, come in again there, are decapsulated, and leave the
// private side to the meter. Every packet is encrypted once and decrypted once.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { AppContext } from "../src/engine/app.js";
import { Graph, type PortPlan } from "../src/gateway/graph.js";
import { IpsecMbEngine } from "../src/ipsec/aead-ipsec-mb.js";
import type { AddSaRequest, Selector } from "../src/ipsec/kernel.js";
import { PseudoKernel } from "../src/ipsec/pseudo-kernel.js";
import { Sad } from "../src/ipsec/sad.js";
import { Spd } from "../src/ipsec/spd.js";
import { Frames } from "../src/memory/frames.js";
import { parseAddress } from "../src/net/address.js";
import { aes128gcm16, type Cipher, parseCipher } from "./ciphers.js";
import { LoopPort, MeterPort } from "./loop-ports.js";
import { type FrameSize, frameSizes, parseSize } from "./sizes.js";

export interface SoftbenchOptions {
  size: FrameSize;
  /** Default: AES-128-GCM. */
  cipher?: Cipher;
  packets: number;
  routes: number;
  sas: number;
  /** Packets that one tunnel sends behind each other, as senders do: TCP's windows, and interrupts that collect. */
  train: number;
}

/** Several workers over one SAD and one SPD: where these are, which worker this is, and whether it makes them. */
export interface SharedTables {
  directory: string;
  worker: number;
  creates: boolean;
  /** Packets of the SAs' replay windows. */
  replayWindow: number;
}

/** What one round of a softbench that is asked for rounds answers. */
export interface Round {
  packets: number;
  nanoseconds: number;
  /** Since it began. */
  lost: number;
  verified: boolean;
}

export interface SoftbenchResult {
  bench: "softbench";
  size: FrameSize;
  packets: number;
  routes: number;
  sas: number;
  train: number;
  mpps: number;
  gbps: number;
  nsPerPacket: number;
  lost: number;
  verified: boolean;
  drops: Record<string, number>;
}

const FRAMES = 2048;
const TEMPORARY = process.platform === "linux" ? "/dev/shm" : tmpdir();
/**
 * Packets in a train, unless told otherwise: 24 KB of full packets, a third of what a TCP sender with segmentation offload
 * hands over at a time. docs/scale.md says what shorter trains cost.
 */
export const TRAIN = 16;

/** One SA, one route, and the usual trains, for whoever says himself how many packets he sends. */
export function oneFlow(size: FrameSize, cipher: Cipher = aes128gcm16): SoftbenchOptions {
  return { size, cipher, packets: 1, routes: 1, sas: 1, train: TRAIN };
}

/** Packets before `measure` looks at the clock. */
const WARM_UP = 400_000;

const NEAR = "192.0.2.1";
const FAR = "192.0.2.2";
const PUBLIC_GATEWAY = "192.0.2.254";
const PRIVATE_GATEWAY = "10.0.0.254";
const HOST = "10.0.0.1";

function address(text: string): Uint8Array {
  const parsed = parseAddress(text);
  if (!parsed) throw new Error(`${text} is not an address`);
  return parsed;
}

/** 172.16.0.0/12 and, when that is used up, 100.64.0.0/10 cut into /24s: room for 20,480 routes. */
function remotePrefix(route: number): Uint8Array {
  return route < 4096
    ? Uint8Array.of(172, 16 + (route >>> 8), route & 255, 0)
    : Uint8Array.of(100, 64 + ((route - 4096) >>> 8), (route - 4096) & 255, 0);
}

function selector(from: Uint8Array, length: number): Selector {
  const to = from.map((byte, i) => byte | (0xff >>> Math.min(8, Math.max(0, length - 8 * i))));
  return { from, to, protocol: 0, fromPort: 0, toPort: 0xffff };
}

const anywhere = selector(Uint8Array.of(0, 0, 0, 0), 0);

/** A host behind a route, as a number. */
function remoteHost(route: number): number {
  const [a, b, c] = remotePrefix(route);
  return ((a << 24) | (b << 16) | (c << 8) | (1 + (route % 250))) >>> 0;
}

/** An Ethernet frame with UDP over IPv4, but for its destination and its IP checksum. */
function makePacket(frameLength: number): Uint8Array {
  const padded = Math.max(60, frameLength);
  const ipLength = frameLength - 14;
  const packet = new Uint8Array(padded);
  const view = new DataView(packet.buffer);
  for (let i = 42; i < padded; i++) packet[i] = (i * 7) & 0xff;
  packet.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0], 0);
  view.setUint32(14, (0x45000000 | ipLength) >>> 0);
  view.setUint32(22, (64 << 24) | (17 << 16));
  packet.set(address(HOST), 26);
  view.setUint16(34, 4000);
  view.setUint16(36, 4001);
  view.setUint16(38, ipLength - 20);
  return packet;
}

/** A worker with everything in it, ready to run. */
export class Softbench {
  readonly #sad: Sad;
  readonly #spd: Spd;
  readonly #aead: IpsecMbEngine;
  readonly graph: Graph;
  readonly #counters = new Map<string, number>();
  readonly #arrays: { names: string[]; values: Float64Array }[] = [];
  #meter!: MeterPort;
  readonly #frames: Frames;
  readonly options: SoftbenchOptions;

  constructor(options: SoftbenchOptions, shared?: SharedTables) {
    this.options = options;
    const { routes, sas } = options;
    const directory = shared?.directory ?? mkdtempSync(join(TEMPORARY, "vita-softbench-"));
    const worker = shared?.worker ?? 0;
    const creates = shared?.creates ?? true;
    const sad = join(directory, "sad");
    const spd = join(directory, "spd");
    this.#sad = creates ? Sad.create(sad, 3 * sas + 16, IpsecMbEngine.id) : Sad.open(sad, "write");
    this.#spd = creates ? Spd.create(spd, routes + 16) : Spd.open(spd, "write");
    // Mapped, they need no names any more: nothing stays if the run is killed.
    if (!shared) rmSync(directory, { recursive: true });
    this.#frames = new Frames(FRAMES);
    this.#aead = new IpsecMbEngine(this.#sad, this.#frames);
    if (creates) this.#install(routes, sas, shared?.replayWindow ?? 32);
    this.#sad.beginLife(worker);
    this.#sad.announceWorker(worker, process.pid);

    const templates = frameSizes(options.size).map(makePacket);
    const destinations = Uint32Array.from({ length: Math.max(1, routes) }, (_, i) =>
      remoteHost(scatter(i, routes)),
    );
    const context: AppContext = {
      frames: this.#frames,
      counters: (app, texts) => {
        const names = Object.keys(texts).map((name) => `${app}.${name}`);
        const values = new Float64Array(names.length);
        this.#arrays.push({ names, values });
        return values;
      },
    };
    const plans: PortPlan[] = [
      {
        name: "private",
        kind: "ethernet",
        side: "private",
        open: (appContext, portOptions) => {
          this.#meter = new MeterPort(appContext, {
            ...portOptions,
            templates,
            destinations,
            train: options.train,
            isLossy: shared !== undefined,
          });
          return this.#meter;
        },
      },
      {
        name: "public",
        kind: "ethernet",
        side: "public",
        open: (appContext, portOptions) => new LoopPort(appContext, portOptions),
      },
    ];
    this.graph = new Graph(
      {
        context,
        sad: this.#sad,
        spd: this.#spd,
        aead: this.#aead,
        clock: { seconds: 1, milliseconds: 1000 },
        worker,
      },
      plans,
    );
    this.#connect(routes);
  }

  /** SAs and policies, as a key manager would install them. */
  #install(routes: number, sas: number, replayWindow: number): void {
    const kernel = new PseudoKernel({ sad: this.#sad, spd: this.#spd, engine: this.#aead, now: () => 1 });
    const { cipher = aes128gcm16 } = this.options;
    const key = (length: number, seed: number) =>
      Uint8Array.from({ length }, (_, k) => (seed + k * 7) & 0xff);
    const none = { value: 0, mask: 0 };
    const host = (text: string) => ({ address: address(text), port: 4500 });
    const check = ({ status, reason }: { status: number; reason?: string }) => {
      if (status !== 0) throw new Error(reason ?? `status ${status}`);
    };
    for (let i = 0; i < sas; i++) {
      const common = {
        id: {
          src: host(NEAR),
          dst: host(FAR),
          spi: 0xc0000000 + i,
          protocol: 50,
          mark: none,
          interfaceId: 0,
        },
        update: false,
        initiator: true,
        reqid: 1 + i,
        mode: 2,
        srcSelectors: [selector(Uint8Array.of(10, 0, 0, 0), 24)],
        dstSelectors: sas >= routes ? [selector(remotePrefix(i), 24)] : [anywhere],
        encryption: cipher.encryption,
        encryptionKey: key(cipher.encryptionKey, i * 31),
        integrity: cipher.integrity,
        integrityKey: key(cipher.integrityKey, i * 37),
        extendedSequenceNumbers: true,
        replayWindow,
        udpEncapsulation: false,
        lifetime: {
          time: { rekey: 0n, life: 0n },
          bytes: { rekey: 0n, life: 0n },
          packets: { rekey: 0n, life: 0n },
        },
        tfc: 0,
        ipcomp: 0,
        cpi: 0,
        copyDf: true,
        copyEcn: true,
        copyDscp: 0,
        hardwareOffload: "no",
        setMark: none,
        interface: "",
        labelled: false,
      } satisfies Omit<AddSaRequest, "inbound">;
      check(kernel.addSa({ ...common, inbound: false }, 0n));
      check(kernel.addSa({ ...common, inbound: true }, 0n));
    }
    for (let i = 0; i < routes; i++)
      check(
        kernel.addPolicy(
          {
            id: {
              direction: 1,
              srcSelector: selector(Uint8Array.of(10, 0, 0, 0), 24),
              dstSelector: selector(remotePrefix(i), 24),
              mark: none,
              interfaceId: 0,
              interface: "",
              labelled: false,
            },
            type: 1,
            priorityClass: 1,
            manualPriority: 0,
            src: host(NEAR),
            dst: host(FAR),
            mode: 2,
            reqid: 1 + (i % sas),
            espSpi: 0xc0000000 + (i % sas),
            usesEsp: true,
            usesAh: false,
            ipcomp: 0,
          },
          0n,
        ),
      );
  }

  /** Routes and neighbours, as the kernel would tell them. */
  #connect(routes: number): void {
    const { fib } = this.graph;
    const mac = (last: number) => Uint8Array.of(2, 0, 0, 0, 1, last);
    fib.link({ index: 1, name: "private", mac: mac(1), mtu: 1500, up: true }, true);
    fib.link({ index: 2, name: "public", mac: mac(2), mtu: 1600, up: true }, true);
    fib.address(1, address("10.0.0.253"), 24, true);
    fib.address(2, address(NEAR), 24, true);
    const route = (prefix: Uint8Array, length: number, gateway: string, index: number) =>
      fib.route(
        { prefix: { address: prefix, length }, gateway: address(gateway), index, metric: 0, type: "unicast" },
        true,
      );
    for (let i = 0; i < routes; i++) route(remotePrefix(i), 24, PRIVATE_GATEWAY, 1);
    route(address(FAR), 32, PUBLIC_GATEWAY, 2);
    fib.neighbour(1, address(PRIVATE_GATEWAY), mac(3));
    fib.neighbour(2, address(PUBLIC_GATEWAY), mac(4));
  }

  /** Sends so many packets and waits for them to arrive. @param engine whoever draws the breaths */
  drive(packets: number, engine: { breathe(): number } = this.graph.engine): void {
    this.#meter.toSend = packets;
    while (engine.breathe() > 0);
  }

  /** The same; @returns nanoseconds */
  send(packets: number, engine: { breathe(): number } = this.graph.engine): number {
    const begin = process.hrtime.bigint();
    this.drive(packets, engine);
    return Number(process.hrtime.bigint() - begin);
  }

  /** Sends so many packets, of which nothing but the time is of interest, or what was lost and changed since the beginning. */
  round(packets: number): Round {
    const before = this.#meter.sent;
    const nanoseconds = this.send(packets);
    const meter = this.#meter;
    return {
      packets: meter.sent - before,
      nanoseconds,
      lost: this.lost,
      // What was lost cannot be compared.
      verified: meter.samples - meter.compared <= this.lost && meter.compared > 0 && meter.different === 0,
    };
  }

  /** Bytes sent since the beginning. */
  get sentBytes(): number {
    return this.#meter.sentBytes;
  }

  /** Packets lost since the beginning. */
  get lost(): number {
    return this.#meter.sent - this.#meter.arrived;
  }

  /** Runs once, after a warm-up. */
  measure(): SoftbenchResult {
    const { packets, size, routes, sas, train } = this.options;
    this.send(Math.min(packets, WARM_UP));
    const meter = this.#meter;
    const before = { sent: meter.sent, arrived: meter.arrived, bytes: meter.sentBytes };
    const nanoseconds = this.send(packets);
    const sent = meter.sent - before.sent;
    const bits = (meter.sentBytes - before.bytes) * 8;
    this.graph.tick(0);
    for (const { names, values } of this.#arrays)
      names.forEach((name, i) => {
        this.#counters.set(name, values[i]);
      });
    const drops = Object.fromEntries(
      [...this.#counters].filter(([name, value]) => name.includes("drop.") && value > 0),
    );
    return {
      bench: "softbench",
      size,
      packets: sent,
      routes,
      sas,
      train,
      mpps: round((sent / nanoseconds) * 1e3),
      gbps: round(bits / nanoseconds),
      nsPerPacket: round(nanoseconds / sent),
      lost: meter.sent - meter.arrived,
      verified: meter.compared === meter.samples && meter.compared > 0 && meter.different === 0,
      drops,
    };
  }

  close(): void {
    this.graph.close();
    this.#aead.close();
    this.#sad.close();
    this.#spd.close();
    this.#frames.region.unmap();
  }
}

/** Spreads consecutive trains over the routes, so that they have nothing in common. */
function scatter(i: number, routes: number): number {
  return (Math.imul(i, 7919) >>> 0) % routes;
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      size: { type: "string", default: "IMIX" },
      packets: { type: "string", default: "5000000" },
      routes: { type: "string", default: "1" },
      sas: { type: "string" },
      train: { type: "string", default: String(TRAIN) },
      cipher: { type: "string", default: aes128gcm16.name },
      json: { type: "boolean", default: false },
      asked: { type: "boolean", default: false },
    },
  });
  const count = (text: string, name: string, max: number) => {
    const number = Number(text);
    if (!Number.isInteger(number) || number < 1 || number > max)
      throw new Error(`--${name} "${text}" is not a number from 1 to ${max}`);
    return number;
  };
  const routes = count(values.routes, "routes", 20_480);
  const sas = values.sas ? count(values.sas, "sas", 20_480) : Math.min(routes, 1);
  const bench = new Softbench({
    size: parseSize(values.size),
    cipher: parseCipher(values.cipher),
    packets: count(values.packets, "packets", 1e9),
    routes: Math.max(routes, sas),
    sas,
    train: count(values.train, "train", 128),
  });
  if (values.asked) {
    // For bench/sas.ts: warm up, then one round for each number that the parent sends.
    process.on("message", (packets: number) => process.send?.(bench.round(packets)));
    process.send?.(bench.round(WARM_UP));
    return;
  }
  try {
    const result = bench.measure();
    if (values.json) console.log(JSON.stringify(result));
    else
      console.log(
        `softbench ${result.size}: ${result.mpps} Mpps, ${result.gbps} Gbit/s, ${result.nsPerPacket} ns a packet, ` +
          `${result.lost} lost, contents ${result.verified ? "verified" : "DIFFER"}`,
      );
    if (result.lost !== 0 || !result.verified) process.exitCode = 1;
  } finally {
    bench.close();
  }
}
