// The XDP port: an Ethernet device whose packets come and go through AF_XDP sockets, one a receive queue, without the
// kernel's network stack. An XDP program on the device decides what comes (see xdp-program.ts); all else goes to the
// kernel as ever. Program and sockets go with this process, however it ends.

import { type App, type AppContext, type Counters, counterIndex, type Source } from "../engine/app.js";
import { Link } from "../engine/link.js";
import { close, interfaceIndex, POLLIN, POLLOUT } from "../native/libc.js";
import type { IpAddress } from "../net/address.js";
import { joinAllGroups } from "./all-multicast.js";
import { BpfMap, loadXdpProgram, MAP_TYPE_ARRAY, MAP_TYPE_HASH, MAP_TYPE_XSKMAP } from "./bpf.js";
import { ethernetAddress, receiveQueues } from "./device.js";
import { patiently } from "./patience.js";
import type { DevicePort, DevicePortOptions, Waiting } from "./port.js";
import { attach, BUSY, type XdpMode } from "./xdp-attach.js";
import { type Role, xdpProgram } from "./xdp-program.js";
import { XdpQueue, xdpCounters } from "./xdp-queue.js";
import { XdpSocket, type XdpStatistics, type ZeroCopy } from "./xdp-socket.js";

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
  /** Descriptors in each ring, a power of two; default: 2048. */
  readonly ringSize?: number;
  /** The most frames that may be with the kernel in each direction, over all queues; default: a quarter of all. */
  readonly share?: number;
}

const LOCAL_ADDRESSES = 16384;
/** Breaths between two looks at the kernel's counters. */
const STATISTICS_INTERVAL = 1 << 14;

export class XdpPort implements DevicePort {
  readonly name: string;
  readonly kind = "ethernet";
  readonly device: string;
  readonly source: Source = { pull: (max) => this.#pull(max) };
  readonly sink: App & { readonly input: Link };
  /** How the program was attached. */
  readonly mode: "native" | "generic";

  readonly #counters: Counters;
  readonly #output: Link;
  readonly #queues: XdpQueue[] = [];
  readonly #sender: XdpQueue;
  readonly #waiting: Waiting[];
  readonly #local: BpfMap;
  readonly #mac: BpfMap;
  readonly #seen: XdpStatistics[] = [];
  readonly #closers: (() => void)[] = [];
  #breaths = 0;
  #turn = 0;

  /** @throws Error that says what was refused for which device, and what to do about it; nothing stays open then */
  constructor(context: AppContext, options: XdpPortOptions) {
    this.name = options.name;
    this.device = options.device ?? options.name;
    this.#output = options.output;
    const { frames } = context;
    const index = interfaceIndex(this.device);
    const queues = options.queues ?? Array.from({ length: receiveQueues(this.device) }, (_, i) => i);
    const ringSize = options.ringSize ?? 2048;
    const share = options.share ?? frames.capacity >>> 2;
    this.#counters = context.counters(this.name, xdpCounters);
    try {
      const sockets = this.#map("sockets", MAP_TYPE_XSKMAP, 4, 4, Math.max(...queues) + 1);
      this.#local = this.#map("local", MAP_TYPE_HASH, 16, 4, LOCAL_ADDRESSES);
      this.#mac = this.#map("mac", MAP_TYPE_ARRAY, 4, 8, 1);
      this.setMac(ethernetAddress(this.device));
      for (const address of options.local ?? []) this.setLocal(address, true);
      const maps = { sockets: sockets.fd, local: this.#local.fd, mac: this.#mac.fd };
      if (options.role === "owned") {
        const membership = joinAllGroups(this.device, index);
        this.#closers.unshift(() => close(membership));
      }
      const program = loadXdpProgram(`vita_${options.role}`, xdpProgram(options.role, maps));
      this.#closers.unshift(() => close(program));
      const zeroCopy = options.zeroCopy ?? "auto";
      const mode = options.mode ?? (zeroCopy === "on" ? "native" : "auto");
      const attached = attach(program, this.device, index, mode);
      this.#closers.unshift(() => close(attached.link));
      this.mode = attached.mode;
      if (this.mode === "generic" && zeroCopy === "on")
        throw new Error(
          `${this.device}: zero-copy needs the XDP program in the driver; set xdp-mode to native`,
        );

      const open = queues.map((queue, i) => {
        const socket = patiently(BUSY, () =>
          XdpSocket.open(frames, {
            device: this.device,
            interfaceIndex: index,
            queue,
            ringSize,
            // One queue is enough to send by: the device takes as much from it as from many.
            transmits: i === 0,
            zeroCopy: this.mode === "generic" ? "off" : zeroCopy,
          }),
        );
        this.#closers.unshift(() => socket.close());
        return socket;
      });
      const limit = Math.max(1, Math.floor(share / queues.length));
      for (const [i, socket] of open.entries()) {
        const sendLimit = i === 0 ? share : 0;
        this.#queues.push(new XdpQueue(frames, socket, this.#counters, options.number, limit, sendLimit));
        this.#seen.push({ dropped: 0, ringFull: 0, fillEmpty: 0 });
        sockets.set(u32(socket.queue), u32(socket.fd));
      }
    } catch (error) {
      this.close();
      throw error;
    }
    this.#sender = this.#queues[0];
    this.#waiting = this.#queues.map(({ socket }) => ({ fd: socket.fd, events: POLLIN }));
    this.sink = { input: new Link(frames), push: () => this.#sender.send(this.sink.input) };
  }

  #map(name: string, type: number, keySize: number, valueSize: number, entries: number): BpfMap {
    const map = new BpfMap(name, type, keySize, valueSize, entries);
    this.#closers.unshift(() => map.close());
    return map;
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
    const key = new Uint8Array(16);
    if (address.length === 4) key.set([0xff, 0xff, ...address], 10);
    else key.set(address);
    if (present) this.#local.set(key, u32(1));
    else this.#local.delete(key);
  }

  setMac(mac: Uint8Array): void {
    const value = new Uint8Array(8);
    value.set(mac);
    this.#mac.set(u32(0), value);
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
      this.#counters[c["kernel.fill_empty"]] += now.fillEmpty - before.fillEmpty;
      this.#seen[i] = now;
    }
  }

  close(): void {
    for (const closer of this.#closers.splice(0)) closer();
  }
}

/**
 * Does once, without a trace, what opening a port does before it touches the device: the kernel compiles the program, V8 our
 * code. For processes that want to be quick later.
 */
export function rehearseXdp(role: Role, device: string): void {
  const maps = [
    new BpfMap("sockets", MAP_TYPE_XSKMAP, 4, 4, 1),
    new BpfMap("local", MAP_TYPE_HASH, 16, 4, LOCAL_ADDRESSES),
    new BpfMap("mac", MAP_TYPE_ARRAY, 4, 8, 1),
  ];
  try {
    ethernetAddress(device);
    receiveQueues(device);
    maps[1].set(new Uint8Array(16), u32(1));
    const [sockets, local, mac] = maps.map(({ fd }) => fd);
    close(loadXdpProgram(`vita_${role}`, xdpProgram(role, { sockets, local, mac })));
  } finally {
    for (const map of maps) map.close();
  }
}

function u32(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}
