// The XDP port: an Ethernet device whose packets come and go through AF_XDP sockets, one a receive queue and worker, without
// the kernel's network stack. An XDP program on the device decides what comes, and to which worker (see xdp-program.ts); all
// else goes to the kernel as ever. Program and sockets go with the last worker, however it ends.

import { type App, type AppContext, type Counters, counterIndex, type Source } from "../engine/app.js";
import { Link } from "../engine/link.js";
import type { Frames } from "../memory/frames.js";
import { POLLIN, POLLOUT } from "../native/libc.js";
import type { IpAddress } from "../net/address.js";
import type { BpfMap } from "./bpf.js";
import { ChecksumFinisher } from "./checksum-finisher.js";
import { ethernetAddress } from "./device.js";
import { PacketPool } from "./packet-pool.js";
import type { DevicePort, DevicePortOptions, Waiting } from "./port.js";
import type { XdpMode } from "./xdp-attach.js";
import { u32, XdpDevice } from "./xdp-device.js";
import type { Role } from "./xdp-program.js";
import { XdpQueue, xdpCounters } from "./xdp-queue.js";
import type { XdpStatistics, ZeroCopy } from "./xdp-socket.js";

const c = counterIndex(xdpCounters);

export type { Role, XdpMode, ZeroCopy };

export interface XdpPortOptions extends DevicePortOptions {
  readonly role: Role;
  /** Default: auto. */
  readonly mode?: XdpMode;
  /** Default: auto. */
  readonly zeroCopy?: ZeroCopy;
  /** Receive queues to serve; default: all that the device has. What comes by others is dropped, see xdp-program.ts. */
  readonly queues?: readonly number[];
  /** Descriptors in each ring at most, a power of two; default: 2048. */
  readonly ringSize?: number;
  /** The most frames that may be with the kernel in each direction, over all queues; default: a quarter of all. */
  readonly share?: number;
  /** What this worker shares with others; default: nothing. */
  readonly pool?: PacketPool | undefined;
}

/** Breaths between two looks at the kernel's counters. */
const STATISTICS_INTERVAL = 1 << 14;

export class XdpPort implements DevicePort {
  readonly name: string;
  readonly kind = "ethernet";
  readonly device: string;
  readonly source: Source = { pull: (max) => this.#pullFinished(max) };
  readonly sink: App & { readonly input: Link };
  /** How the program was attached. */
  readonly mode: "native" | "generic";

  readonly #counters: Counters;
  readonly #output: Link;
  /** For private devices: ESP needs no checksum, and an owned device's packets for the kernel get theirs in apps/punt.ts. */
  readonly #finisher: ChecksumFinisher | undefined;
  readonly #queues: XdpQueue[] = [];
  readonly #sender: XdpQueue;
  readonly #waiting: Waiting[];
  readonly #xdp: XdpDevice;
  readonly #isFirst: boolean;
  readonly #seen: XdpStatistics[] = [];
  #breaths = 0;
  #turn = 0;

  /** @throws Error that says what was refused for which device, and what to do about it; nothing stays open then */
  constructor(context: AppContext, options: XdpPortOptions) {
    this.name = options.name;
    this.device = options.device ?? options.name;
    this.#output = options.output;
    if (options.role === "private") this.#finisher = new ChecksumFinisher(context.frames, this.device);
    const { frames } = context;
    const { role, queues, ringSize, zeroCopy = "auto" } = options;
    const pool = options.pool ?? poolOf(frames);
    this.#counters = context.counters(this.name, xdpCounters);
    const mac = ethernetAddress(this.device);
    this.#xdp = new XdpDevice(frames, pool, {
      ...{ device: this.device, role, queues, ringSize, zeroCopy },
      mode: options.mode ?? (zeroCopy === "on" ? "native" : "auto"),
      share: options.share ?? frames.capacity >>> 2,
      fillMaps: (localMap, macMap) => {
        writeMac(macMap, mac);
        for (const address of options.local ?? []) writeLocal(localMap, address, true);
      },
    });
    this.#isFirst = pool.worker === 0;
    this.mode = this.#xdp.isNative ? "native" : "generic";
    for (const socket of this.#xdp.sockets) {
      const queue = new XdpQueue(frames, pool, socket, this.#counters, this.#xdp.level);
      if (this.#xdp.isInherited) queue.recover();
      if (pool.isReady) queue.serve();
      this.#queues.push(queue);
      this.#seen.push(
        this.#xdp.isInherited ? socket.statistics() : { dropped: 0, ringFull: 0, fillEmpty: 0 },
      );
    }
    this.#sender = this.#queues.find(({ socket }) => socket.transmit) ?? this.#queues[0];
    this.#waiting = this.#queues.map(({ socket }) => ({ fd: socket.fd, events: POLLIN }));
    this.sink = { input: new Link(frames), push: () => this.#sender.send(this.sink.input) };
  }

  /** Whether packets go between device and frames without a copy. */
  get zeroCopy(): boolean {
    return this.#sender.socket.zeroCopy;
  }

  /** Frames that are with the kernel. */
  get inFlight(): number {
    return this.#queues.reduce((sum, queue) => sum + queue.filled + queue.sending, 0);
  }

  /** @throws SystemError E2BIG beyond 16,384 addresses */
  setLocal(address: IpAddress, present: boolean): void {
    writeLocal(this.#xdp.local, address, present);
  }

  setMac(mac: Uint8Array): void {
    writeMac(this.#xdp.mac, mac);
  }

  #pullFinished(max: number): number {
    const before = this.#output.readable;
    const moved = this.#pull(max);
    if (moved > 0 && this.#finisher)
      this.#counters[c["rx.checksums"]] += this.#finisher.finish(this.#output, before);
    return moved;
  }

  /** Starts with another queue each time, so that a busy one does not keep the others waiting. */
  #pull(max: number): number {
    const queues = this.#queues;
    const count = queues.length;
    this.#breaths = (this.#breaths + 1) | 0;
    if ((this.#breaths & (STATISTICS_INTERVAL - 1)) === 0) this.#statistics();
    if (count === 1) return queues[0].receive(max, this.#output);
    this.#turn = this.#turn + 1 >= count ? 0 : this.#turn + 1;
    let moved = 0;
    for (let i = 0; i < count; i++) {
      const n = this.#turn + i;
      moved += queues[n >= count ? n - count : n].receive(max - moved, this.#output);
    }
    return moved;
  }

  waiting(): readonly Waiting[] {
    for (let i = 0; i < this.#queues.length; i++) {
      const queue = this.#queues[i];
      // In copy mode poll() itself sends what stands in the transmit ring.
      this.#waiting[i].events = queue.backlog || queue.starved ? POLLIN | POLLOUT : POLLIN;
    }
    this.#statistics();
    return this.#waiting;
  }

  /** Adds what the kernel counted since the last look. */
  #statistics(): void {
    for (let i = 0; i < this.#queues.length; i++) {
      const now = this.#queues[i].socket.statistics();
      const before = this.#seen[i];
      this.#counters[c["kernel.dropped"]] += now.dropped - before.dropped;
      this.#counters[c["kernel.ring_full"]] += now.ringFull - before.ringFull;
      // The fill ring is that of all workers.
      if (this.#isFirst) this.#counters[c["kernel.fill_empty"]] += now.fillEmpty - before.fillEmpty;
      this.#seen[i] = now;
    }
  }

  close(): void {
    this.#xdp.close();
  }
}

function writeLocal(map: BpfMap, address: IpAddress, present: boolean): void {
  const key = new Uint8Array(16);
  if (address.length === 4) key.set([0xff, 0xff, ...address], 10);
  else key.set(address);
  if (present) map.set(key, u32(1));
  else map.delete(key);
}

function writeMac(map: BpfMap, mac: Uint8Array): void {
  const value = new Uint8Array(8);
  value.set(mac);
  map.set(u32(0), value);
}

/** Of processes without siblings: one for each frame memory. */
const pools = new WeakMap<Frames, PacketPool>();

function poolOf(frames: Frames): PacketPool {
  const known = pools.get(frames) ?? PacketPool.alone(frames);
  pools.set(frames, known);
  return known;
}
