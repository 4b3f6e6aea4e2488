// A whole gateway in this process: the worker's graph with two memory ports, its SAD and SPD in a scratch directory, and
// a pseudo-kernel that writes them. Private side 10.1.0.0/16 and 2001:db8:1::/48, tunnels from 192.0.2.1 or 2001:db8::1;
// with an uplink, a second public port, also from 198.51.100.1 or 2001:db8:5::1.

import assert from "node:assert/strict";
import type { AppContext } from "../../src/engine/app.js";
import { Graph, type PortPlan } from "../../src/gateway/graph.js";
import type { AeadEngine } from "../../src/ipsec/aead.js";
import { IpsecMbEngine } from "../../src/ipsec/aead-ipsec-mb.js";
import { NodeEngine } from "../../src/ipsec/aead-node.js";
import type { Binding } from "../../src/ipsec/binding.js";
import type { Answer } from "../../src/ipsec/kernel.js";
import { Lingering } from "../../src/ipsec/lingering.js";
import { PseudoKernel } from "../../src/ipsec/pseudo-kernel.js";
import { beginReplay } from "../../src/ipsec/replay.js";
import { Sad } from "../../src/ipsec/sad.js";
import { beginSequence } from "../../src/ipsec/sequence.js";
import { Spd } from "../../src/ipsec/spd.js";
import {
  address,
  type PolicyOptions,
  policyRequest,
  type SaOptions,
  saRequest,
} from "../../src/ipsec/testing/requests.js";
import { decodeWorkerEvent, EventWriter, type WorkerEvent } from "../../src/ipsec/worker-events.js";
import { Frames } from "../../src/memory/frames.js";
import { makeScratch } from "../../src/memory/testing/scratch.js";
import { parsePrefix } from "../../src/net/address.js";
import { MemoryPort } from "../../src/ports/memory.js";

export type EngineName = "ipsec-mb" | "node";

export const NEAR = "192.0.2.1";
export const FAR = "192.0.2.2";
export const NEAR6 = "2001:db8::1";
export const FAR6 = "2001:db8::2";
/** Of the uplink. */
export const UPLINK = "198.51.100.1";
export const FAR_UPLINK = "198.51.100.2";
export const UPLINK6 = "2001:db8:5::1";
export const FAR_UPLINK6 = "2001:db8:5::2";
/** Ethernet addresses: the gateway's own, those of its neighbours. */
const mac = (last: number) => Uint8Array.of(2, 0, 0, 0, 0, last);
const OWN = { private: 1, public: 2, red: 5, blue: 6, uplink: 9 };
const NEIGHBOUR = { private: 3, public: 4, red: 7, blue: 8, uplink: 10 };
const INDEX = { private: 1, public: 2, red: 3, blue: 4, uplink: 5 };
/** Red and blue are customers: private ports with bindings, and networks of the same addresses. */
export type Side = "private" | "public" | "red" | "blue" | "uplink";

export interface Result {
  /** IP packets that left, without their Ethernet headers. */
  public: Uint8Array[];
  private: Uint8Array[];
  red: Uint8Array[];
  blue: Uint8Array[];
  uplink: Uint8Array[];
  /** Counters of packets that ended, as far as this run changed them. */
  drops: Record<string, number>;
}

export interface GatewayOptions {
  frames?: number;
  publicMtu?: number;
  privateMtu?: number;
  /** Bytes of the largest packet that is put into a tunnel. */
  largest?: number;
  /** The private side is a TUN device; an Ethernet port otherwise. */
  tun?: boolean;
  /** What the ports of the customers are bound to; none without. */
  customers?: { red: Binding; blue: Binding };
  /** Without customers: red and blue are private ports all the same, bound to nothing, and no network lies behind them. */
  more?: boolean;
  /** There is a second public port, the way to the neighbours on its link. */
  uplink?: boolean;
  /** It is the far end: the public addresses of the two ends are the other way round. */
  isFar?: boolean;
  /** Deleted inbound SAs linger, as with the supervisor. */
  linger?: boolean;
  /** Takes packets to unresolved neighbours. */
  slowPath?: PortPlan["slowPath"];
}

/** Every counter that any gateway of this process has had, with its value. */
export const everyCounter = new Map<string, number>();

export class TestGateway {
  readonly sad: Sad;
  readonly spd: Spd;
  readonly lingering: Lingering;
  readonly kernel: PseudoKernel;
  readonly graph: Graph;
  readonly frames: Frames;
  /** Seconds of the gateway's clock, for the kernel and for the worker. */
  readonly clock = {
    seconds: 1000,
    get milliseconds() {
      return this.seconds * 1000;
    },
  };
  readonly #events: WorkerEvent[] = [];
  readonly #scratch = makeScratch("esp");
  readonly #engine: AeadEngine;
  readonly #ports = new Map<Side, MemoryPort>();
  readonly #arrays: { names: string[]; values: Float64Array; seen: Float64Array }[] = [];
  readonly #options: GatewayOptions;

  constructor(engine: EngineName, options: GatewayOptions = {}) {
    this.#options = options;
    const id = engine === "node" ? NodeEngine.id : IpsecMbEngine.id;
    this.sad = Sad.create(this.#scratch.file("sad"), 64, id);
    this.spd = Spd.create(this.#scratch.file("spd"), 128);
    this.frames = new Frames(options.frames ?? 512);
    this.#engine =
      engine === "node" ? new NodeEngine(this.sad, this.frames) : new IpsecMbEngine(this.sad, this.frames);
    this.lingering = new Lingering(this.sad);
    this.kernel = new PseudoKernel({
      sad: this.sad,
      spd: this.spd,
      engine: this.#engine,
      now: () => this.clock.seconds,
      hasHost: options.tun ?? false,
      interfaces: ["public", "elsewhere"],
      ...(options.linger && { lingering: this.lingering }),
    });
    const context: AppContext = {
      frames: this.frames,
      counters: (app, texts) => {
        const names = Object.keys(texts).map((name) => `${app}.${name}`);
        const values = new Float64Array(names.length);
        this.#arrays.push({ names, values, seen: new Float64Array(names.length) });
        return values;
      },
    };
    const notifier = new EventWriter(this.clock, (record) => {
      this.#events.push(decodeWorkerEvent(record.slice())!);
    });
    this.graph = new Graph(
      {
        context,
        sad: this.sad,
        spd: this.spd,
        aead: this.#engine,
        clock: this.clock,
        worker: 0,
        notifier,
        largest: options.largest,
      },
      [
        this.#plan("private", options.tun ? "ip" : "ethernet"),
        this.#plan("public", "ethernet"),
        ...[...this.#customers(), ...this.#uplink()].map((side) => this.#plan(side, "ethernet")),
      ],
    );
    this.#connect();
  }

  #customers(): ("red" | "blue")[] {
    return this.#options.customers || this.#options.more ? ["red", "blue"] : [];
  }

  #uplink(): "uplink"[] {
    return this.#options.uplink ? ["uplink"] : [];
  }

  #plan(side: Side, kind: "ethernet" | "ip"): PortPlan {
    const customer = side === "red" || side === "blue";
    return {
      name: side,
      side: side === "public" || side === "uplink" ? "public" : "private",
      kind,
      binding: customer ? this.#options.customers?.[side] : undefined,
      slowPath: this.#options.slowPath,
      open: (context, options) => {
        const port = new MemoryPort(context, { ...options, kind });
        this.#ports.set(side, port);
        return port;
      },
    };
  }

  #connect(): void {
    const { fib } = this.graph;
    const { publicMtu = 1500, privateMtu = 1500, tun, isFar } = this.#options;
    const [own, other, own6, other6] = isFar ? [FAR, NEAR, FAR6, NEAR6] : [NEAR, FAR, NEAR6, FAR6];
    this.link("private", privateMtu, tun);
    this.link("public", publicMtu);
    fib.address(1, address("10.1.0.1"), 16, true);
    fib.address(1, address("2001:db8:1::1"), 48, true);
    fib.address(2, address(own), 24, true);
    fib.address(2, address(own6), 64, true);
    this.route("private", "10.1.0.0/16", "10.1.0.254");
    this.route("private", "2001:db8:1::/48", "2001:db8:1::fe");
    this.route("public", "192.0.2.0/24");
    this.route("public", "2001:db8::/64");
    this.route("public", "0.0.0.0/0", other);
    for (const [side, text] of [
      ["private", "10.1.0.254"],
      ["private", "2001:db8:1::fe"],
      ["public", other],
      ["public", other6],
    ] as const)
      fib.neighbour(INDEX[side], address(text), mac(NEIGHBOUR[side]));
    for (const side of this.#customers()) {
      this.link(side, privateMtu);
      if (this.#options.more) continue;
      fib.address(INDEX[side], address("10.1.0.1"), 16, true);
      this.route(side, "10.1.0.0/16");
      for (const last of [5, 7]) fib.neighbour(INDEX[side], address(`10.1.0.${last}`), mac(NEIGHBOUR[side]));
    }
    for (const text of ["10.1.0.1", own]) this.#local(text, 32);
    if (this.#options.uplink) this.#connectUplink();
  }

  #connectUplink(): void {
    const { fib } = this.graph;
    const { publicMtu = 1500, isFar } = this.#options;
    this.link("uplink", publicMtu);
    for (const [near, far, bits, network] of [
      [UPLINK, FAR_UPLINK, 32, "198.51.100.0/24"],
      [UPLINK6, FAR_UPLINK6, 128, "2001:db8:5::/64"],
    ] as const) {
      const [own, other] = isFar ? [far, near] : [near, far];
      fib.address(INDEX.uplink, address(own), parsePrefix(network)!.length, true);
      this.route("uplink", network);
      fib.neighbour(INDEX.uplink, address(other), mac(NEIGHBOUR.uplink));
      this.#local(own, bits);
    }
    this.#local(isFar ? FAR6 : NEAR6, 128);
  }

  /** A route to this machine itself. */
  #local(text: string, bits: number): void {
    const prefix = parsePrefix(`${text}/${bits}`)!;
    this.graph.fib.route({ prefix, gateway: undefined, index: 1, metric: 0, type: "local" }, true);
  }

  link(side: Side, mtu: number, tun = false): void {
    const own = tun ? undefined : mac(OWN[side]);
    this.graph.fib.link({ index: INDEX[side], name: side, mac: own, mtu, up: true }, true);
  }

  route(side: Side, prefix: string, gateway?: string, present = true): void {
    this.graph.fib.route(
      {
        prefix: parsePrefix(prefix)!,
        gateway: gateway === undefined ? undefined : address(gateway),
        index: INDEX[side],
        metric: 0,
        type: "unicast",
      },
      present,
    );
  }

  /** Where in the SAD an SA is. */
  slotOf(spi: number): number {
    const { sad } = this;
    for (let slot = 0; slot < sad.slotCount; slot++) if (sad.spi(slot) === spi) return slot;
    throw new Error(`no SA with the SPI ${spi.toString(16)}`);
  }

  /** Has the numbers of an SA, or its window, go on where they were. */
  goOn(spi: number, last: number): void {
    const { sad } = this;
    const slot = this.slotOf(spi);
    const begin = sad.isInbound(slot) ? beginReplay : beginSequence;
    begin(sad.words, sad.offset(slot) >>> 2, last);
  }

  sa(options: SaOptions): void {
    succeed(this.kernel.addSa(saRequest({ src: NEAR, dst: FAR, ...options }), 1n));
  }

  policy(options: PolicyOptions): void {
    succeed(this.kernel.addPolicy(policyRequest({ src: NEAR, dst: FAR, ...options }), 1n));
  }

  /** Sends IP packets in by one side and lets the worker breathe until all is quiet. */
  send(side: Side, packets: readonly Uint8Array[]): Result {
    const framed = packets.map((packet) => this.#frame(side, packet));
    return this.sendFrames(side, framed);
  }

  /** The same with frames as they are on the wire. A worker refreshes its index of policies first; a test may not. */
  sendFrames(side: Side, frames: readonly Uint8Array[], refresh = true): Result {
    if (refresh) this.graph.index.refresh();
    this.#ports.get(side)!.receive(...frames);
    return this.#settle();
  }

  /** Sends IP packets in by several sides at once: those of each side in one breath, if there are no more than it takes. */
  sendTogether(packets: readonly { side: Side; packet: Uint8Array }[]): Result {
    this.graph.index.refresh();
    for (const { side, packet } of packets) this.#ports.get(side)!.receive(this.#frame(side, packet));
    return this.#settle();
  }

  #settle(): Result {
    for (let breath = 0; this.graph.engine.breathe() > 0 || this.graph.pending; breath++)
      assert.ok(breath < 10_000, "packets go round for ever");
    this.graph.tick(0);
    const owned = this.frames.capacity - this.frames.available;
    const waiting = this.graph.held + this.graph.queue.count;
    assert.equal(owned, waiting, "every frame has been freed, but for those that wait for an SA");
    const [red, blue] = (["red", "blue"] as const).map((side) =>
      this.#customers().includes(side) ? this.#take(side) : [],
    );
    return {
      public: this.#take("public"),
      private: this.#take("private"),
      red,
      blue,
      uplink: this.#options.uplink ? this.#take("uplink") : [],
      drops: this.#drops(),
    };
  }

  /** What the worker would have told the supervisor since the last call. */
  takeEvents(): WorkerEvent[] {
    return this.#events.splice(0);
  }

  #hasEthernet(side: Side): boolean {
    return !(side === "private" && this.#options.tun);
  }

  #frame(side: Side, packet: Uint8Array): Uint8Array {
    if (!this.#hasEthernet(side)) return packet;
    return ethernet(packet, side);
  }

  #take(side: Side): Uint8Array[] {
    return this.#ports
      .get(side)!
      .take()
      .map((frame) => {
        if (!this.#hasEthernet(side)) return frame;
        assert.deepEqual(frame.slice(0, 6), mac(NEIGHBOUR[side]), "destination on the wire");
        assert.deepEqual(frame.slice(6, 12), mac(OWN[side]), "source on the wire");
        const type = (frame[12] << 8) | frame[13];
        assert.equal(type, frame[14] >>> 4 === 4 ? 0x0800 : 0x86dd);
        return frame.slice(14);
      });
  }

  #drops(): Record<string, number> {
    const drops: Record<string, number> = {};
    for (const { names, values, seen } of this.#arrays)
      names.forEach((name, i) => {
        const change = values[i] - seen[i];
        seen[i] = values[i];
        if (change !== 0 && /\.(drop\.\w+|dummies|keepalives|unprotected)$/.test(name))
          drops[name] = (drops[name] ?? 0) + change;
      });
    return drops;
  }

  close(): void {
    for (const { names, values } of this.#arrays)
      names.forEach((name, i) => {
        everyCounter.set(name, (everyCounter.get(name) ?? 0) + values[i]);
      });
    this.graph.close();
    this.#engine.close();
    this.sad.close();
    this.spd.close();
    this.frames.region.unmap();
    this.#scratch.remove();
  }
}

/** An Ethernet frame to the gateway's port, padded as the wire does. */
export function ethernet(packet: Uint8Array, side: Side, type?: number): Uint8Array {
  const frame = new Uint8Array(Math.max(60, 14 + packet.length)).fill(0xee);
  frame.set(mac(OWN[side]), 0);
  frame.set(mac(NEIGHBOUR[side]), 6);
  const own = type ?? (packet[0] >>> 4 === 4 ? 0x0800 : 0x86dd);
  frame.set([own >>> 8, own & 0xff], 12);
  frame.set(packet, 14);
  return frame;
}

export function succeed({ status, reason }: Answer): void {
  assert.equal(status, 0, reason);
}
