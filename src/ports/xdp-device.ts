// What the workers of a node have together of a device that they use through AF_XDP: the XDP program with its maps, and a
// socket for each worker on each receive queue. The worker that begins first makes all of it, those that follow get
// descriptors of the same things from it (packet-pool.ts). So they outlive each worker as long as another one lives: what
// comes for a worker that was killed waits in its rings for the one that takes its place. With the last worker they go.

import type { Frames } from "../memory/frames.js";
import { close, interfaceIndex } from "../native/libc.js";
import { joinAllGroups } from "./all-multicast.js";
import { BpfMap, createMap, loadXdpProgram, MAP_TYPE_ARRAY, MAP_TYPE_HASH, MAP_TYPE_XSKMAP } from "./bpf.js";
import { ethernetAddress, receiveQueues, transmitQueues } from "./device.js";
import type { PacketPool } from "./packet-pool.js";
import { patiently } from "./patience.js";
import { attach, BUSY, type XdpMode } from "./xdp-attach.js";
import { type ProgramMaps, type Role, xdpProgram } from "./xdp-program.js";
import { bindXdpSocket, closeXdpSocket, type RingSizes, XdpSocket, type ZeroCopy } from "./xdp-socket.js";

const LOCAL_ADDRESSES = 16_384;
const REGULAR_RING = 2048;
const SMALLEST_RING = 64;

export interface XdpDeviceOptions {
  readonly device: string;
  readonly role: Role;
  readonly mode: XdpMode;
  readonly zeroCopy: ZeroCopy;
  /** Receive queues to serve. */
  readonly queues?: readonly number[] | undefined;
  /** Descriptors in a ring at most, a power of two. */
  readonly ringSize?: number | undefined;
  /** The most frames that may be with the kernel in each direction, for all workers and queues together. */
  readonly share: number;
  /** Fills the maps, before the program sees a packet. */
  fillMaps(local: BpfMap, mac: BpfMap): void;
}

export class XdpDevice {
  readonly local: BpfMap;
  readonly mac: BpfMap;
  readonly isNative: boolean;
  /** This worker's sockets, one a queue. One of them transmits. */
  readonly sockets: readonly XdpSocket[] = [];
  /** Frames that each fill ring is filled up to. */
  readonly level: number;
  /** Other workers have had it open: something may be in the rings already. */
  readonly isInherited: boolean;
  readonly #closers: (() => void)[] = [];

  /** @throws Error that says what was refused for which device, and what to do about it; nothing stays open then */
  constructor(frames: Frames, pool: PacketPool, options: XdpDeviceOptions) {
    const { device, share } = options;
    const { workers, worker } = pool;
    const index = interfaceIndex(device);
    const inherited = pool.nextInherited();
    this.isInherited = inherited !== undefined;
    for (const fd of inherited?.descriptors ?? []) this.#closers.unshift(() => close(fd));
    try {
      if (inherited && inherited.index !== index)
        throw new Error(`${device} was made anew, and another worker still has the old one`);
      const queues =
        inherited?.queues ?? options.queues ?? Array.from({ length: receiveQueues(device) }, (_, i) => i);
      const most = options.ringSize ?? REGULAR_RING;
      // With the kernel can be what is in all transmit rings and the completion ring; what is in the fill ring, and half as much
      // in the receive rings of workers that have no time for it.
      const rings: RingSizes = {
        receive: ringOf(Math.min(most, share / (2 * queues.length * workers))),
        others: ringOf(Math.min(most, share / (workers + 1))),
      };
      this.level = Math.max(1, Math.min(rings.others, Math.floor(share / queues.length)));
      // A device takes as much from one queue as from many, but workers get in each other's way there.
      const sendQueues = Math.min(queues.length, transmitQueues(device));
      const sends = (i: number, by: number) => i === by % sendQueues;
      const made = inherited ?? this.#make(frames, options, { index, queues, rings, workers, sends });
      this.isNative = made.isNative;
      const [, local, mac, ...sockets] = made.descriptors;
      this.local = new BpfMap("local", local);
      this.mac = new BpfMap("mac", mac);
      if (inherited) options.fillMaps(this.local, this.mac);
      this.sockets = queues.map((queue, i) => {
        const parts = { device, queue, rings, transmits: sends(i, worker) };
        const socket = new XdpSocket(sockets[i * workers + worker], parts);
        this.#closers.unshift(() => socket.unmap());
        return socket;
      });
      pool.publish({ index, isNative: made.isNative, queues, descriptors: made.descriptors });
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** @returns descriptors: link, maps of addresses, sockets queue by queue */
  #make(
    frames: Frames,
    options: XdpDeviceOptions,
    parts: {
      index: number;
      queues: readonly number[];
      rings: RingSizes;
      workers: number;
      sends: (queue: number, worker: number) => boolean;
    },
  ): { isNative: boolean; descriptors: number[] } {
    const { device, role, mode, zeroCopy } = options;
    const { index, queues, rings, workers, sends } = parts;
    const maps = makeMaps((Math.max(...queues) + 1) * workers);
    this.#closers.unshift(() => closeMaps(maps));
    options.fillMaps(new BpfMap("local", maps.local), new BpfMap("mac", maps.mac));
    if (role === "owned") {
      const membership = joinAllGroups(device, index);
      this.#closers.unshift(() => close(membership));
    }
    const program = loadXdpProgram(`vita_${role}`, xdpProgram(role, maps, workers));
    this.#closers.unshift(() => close(program));
    const attached = attach(program, device, index, mode);
    this.#closers.unshift(() => close(attached.link));
    const isNative = attached.mode === "native";
    if (!isNative && zeroCopy === "on")
      throw new Error(`${device}: zero-copy needs the XDP program in the driver; set xdp-mode to native`);
    const map = new BpfMap("sockets", maps.sockets);
    const sockets = queues.flatMap((queue, i) => {
      let first: number | undefined;
      return Array.from({ length: workers }, (_, worker) => {
        const bindOptions = {
          ...{ device, interfaceIndex: index, queue, rings, first },
          transmits: sends(i, worker),
          zeroCopy: isNative ? zeroCopy : "off",
        } as const;
        const fd = patiently(BUSY, () => bindXdpSocket(frames, bindOptions));
        this.#closers.unshift(() => closeXdpSocket(frames, fd));
        first ??= fd;
        map.set(u32(queue * workers + worker), u32(fd));
        return fd;
      });
    });
    return { isNative, descriptors: [attached.link, maps.local, maps.mac, ...sockets] };
  }

  close(): void {
    for (const closer of this.#closers.splice(0)) closer();
  }
}

/** The largest power of two up to a number, but never too small to be of use. */
function ringOf(descriptors: number): number {
  let size = SMALLEST_RING;
  while (2 * size <= descriptors) size *= 2;
  return size;
}

function makeMaps(sockets: number): ProgramMaps {
  return {
    sockets: createMap("sockets", MAP_TYPE_XSKMAP, 4, 4, sockets),
    local: createMap("local", MAP_TYPE_HASH, 16, 4, LOCAL_ADDRESSES),
    mac: createMap("mac", MAP_TYPE_ARRAY, 4, 8, 1),
  };
}

function closeMaps(maps: ProgramMaps): void {
  for (const fd of [maps.sockets, maps.local, maps.mac]) close(fd);
}

/**
 * Does once, without a trace, what opening a device does before it touches it: the kernel compiles the program, V8 our
 * code. For processes that want to be quick later.
 */
export function rehearseXdp(role: Role, device: string, workers: number): void {
  const maps = makeMaps(1);
  try {
    ethernetAddress(device);
    receiveQueues(device);
    new BpfMap("local", maps.local).set(new Uint8Array(16), u32(1));
    close(loadXdpProgram(`vita_${role}`, xdpProgram(role, maps, workers)));
  } finally {
    closeMaps(maps);
  }
}

export function u32(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}
